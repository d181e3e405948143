"""Dagster homes for tests of the shell: copies of one, since making its databases takes much longer than copying."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from npi_pipeline.orchestration.dagster_home import make_home
from npi_pipeline_tests.seeded_home import SeededHome


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which nothing has happened; ``dagster_home`` is a test's own."""
    folder = tmp_path_factory.mktemp("empty") / "home"
    make_home(folder)
    return folder


@pytest.fixture
def dagster_home(empty_home: Path, tmp_path: Path) -> Path:
    """A fresh home of this test's own."""
    return Path(shutil.copytree(empty_home, tmp_path / "home"))


@pytest.fixture
def home(dagster_home: Path, tmp_path: Path) -> Iterator[SeededHome]:
    """An instance and a data root to be seeded."""
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        yield SeededHome(instance, tmp_path / "npi-data")
