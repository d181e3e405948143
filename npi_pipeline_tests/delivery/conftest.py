"""Days that are made once, and copied for each test that delivers them."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.delivery.days_to_deliver import A_WEEK, World, make_day
from npi_pipeline_tests.delivery.mariadb import is_installed, mariadb_server
from npi_pipeline_tests.delivery.postgresql import postgresql_server


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest) -> World:
    """So many days as the test says (see NUMBERS_OF_DAYS), by default a week."""
    return World(days=getattr(request, "param", A_WEEK))


@pytest.fixture(scope="session")
def made_days(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with all days of ``world``, complete. Not to be written to: see ``days_root``.

    The first worker that needs it makes it, the others wait for it.
    """
    own = tmp_path_factory.getbasetemp()
    of_all_workers = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = of_all_workers / f"made_days_{len(world.days)}"
    with (of_all_workers / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            being_made = Path(tempfile.mkdtemp(dir=of_all_workers)) / "root"
            root = LocalRoot(being_made)
            for day in world.days:
                make_day(root, day, world.of_day[day])
            being_made.rename(folder)
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
