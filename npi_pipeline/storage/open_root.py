"""From the address that a setting gives to the DataRoot there. Not here: the two kinds of root themselves."""

from __future__ import annotations

from pathlib import Path

from npi_pipeline.settings import SettingsError
from npi_pipeline.storage.data_root import DATA_ROOT, DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.storage.s3 import PERMISSIONS, READ_PERMISSIONS, S3Root


def open_data_root(data_root: str, setting: str = DATA_ROOT, *, is_written: bool = True) -> DataRoot:
    """The root at ``data_root``: an ``s3://bucket/prefix``, or else a local folder (made when first written to).

    ``setting`` is what its errors say is to be corrected, and ``is_written`` which permissions they name.
    Raises SettingsError for another kind of address or an ``s3://`` without a bucket. Reads no network.
    """
    if data_root.startswith("s3://"):
        bucket, _, prefix = data_root.removeprefix("s3://").partition("/")
        return S3Root(bucket, prefix, setting, PERMISSIONS if is_written else READ_PERMISSIONS)
    if "://" in data_root:
        raise SettingsError(f"{setting}={data_root!r} cannot be used: give a folder or s3://bucket/prefix")
    return LocalRoot(Path(data_root), setting)
