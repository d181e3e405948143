"""Both kinds of data root, as fixtures, for tests of what is promised of either."""

from __future__ import annotations

from pathlib import Path

import pytest

from npi_pipeline.storage import s3_lease
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.open_root import open_data_root


@pytest.fixture(params=["local", "s3"])
def data_root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh root's address, as the setting has it. On S3 a living holder of a lock is known at once."""
    if request.param == "local":
        return str(tmp_path / "root")
    monkeypatch.setattr(s3_lease, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(s3_lease, "LOOK_SECONDS", 0.05)
    return f"s3://{request.getfixturevalue('bucket')}/some/prefix"


@pytest.fixture
def root(data_root: str) -> DataRoot:
    """A fresh root of either kind."""
    return open_data_root(data_root)
