"""Days that are made once, and copied for each test that delivers them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.delivery.days_to_deliver import HALF_A_MONTH, World, make_day
from npi_pipeline_tests.delivery.mariadb import is_installed, mariadb_server
from npi_pipeline_tests.delivery.postgresql import postgresql_server


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest) -> World:
    """So many days as the test says (see NUMBERS_OF_DAYS), by default half a month."""
    return World(days=getattr(request, "param", HALF_A_MONTH))


@pytest.fixture(scope="session")
def made_days(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with all days of ``world``, complete. Not to be written to: see ``days_root``."""
    folder = tmp_path_factory.mktemp("made_days") / "root"
    root = LocalRoot(folder)
    for day in world.days:
        make_day(root, day, world.of_day[day])
    return folder


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL server's first database."""
    with postgresql_server() as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """A MariaDB server's first database; skips where there is none."""
    if not is_installed():
        pytest.skip("mariadbd is not installed (Debian: mariadb-server), so nothing is tried on it")
    with mariadb_server() as url:
        yield url


@pytest.fixture
def days_root(made_days: Path, tmp_path: Path) -> LocalRoot:
    """A data root of one's own with all days of ``world``."""
    return LocalRoot(Path(shutil.copytree(made_days, tmp_path / "root")))
