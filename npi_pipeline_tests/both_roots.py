"""Both kinds of data root, as fixtures, for tests of what is promised of either."""

from __future__ import annotations

from pathlib import Path

import pytest

from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.open_root import open_data_root


@pytest.fixture(params=["local", "s3"])
def data_root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh root's address, as the setting has it."""
    if request.param == "local":
        return str(tmp_path / "root")
    return f"s3://{request.getfixturevalue('bucket')}/some/prefix"


@pytest.fixture
def root(data_root: str) -> DataRoot:
    """A fresh root of either kind."""
    return open_data_root(data_root)
