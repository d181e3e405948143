"""Which snapshot of the registry a day is looked up in: kept with the day, so that all of its steps use that one.

Not here: what a snapshot is made of (``snapshot``).
"""

from __future__ import annotations

import datetime as dt
import json

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot, keep_snapshot, load_snapshot
from npi_pipeline.storage.data_root import DataRoot


def keep_snapshot_of_day(root: DataRoot, day: dt.date, snapshot: Snapshot) -> None:
    """Keep ``snapshot``, and that it is the one of ``day``. Raises StorageError."""
    keep_snapshot(root, snapshot)
    root.write(_path(day), (json.dumps({"snapshot": snapshot.identity}) + "\n").encode())


def snapshot_of_day(root: DataRoot, day: dt.date) -> Snapshot:
    """The snapshot that ``day`` is looked up in.

    Raises FileNotFoundError when ``registry_snapshot`` has not run for that day, BulkFileError, StorageError.
    """
    path = _path(day)
    content = root.read(path)
    try:
        identity = str(json.loads(content)["snapshot"])
    except (ValueError, KeyError, TypeError) as error:
        raise BulkFileError(
            f"{root.uri(path)} cannot be understood ({error}): materialise registry_snapshot of that day again"
        ) from error
    return load_snapshot(root, identity)


def _path(day: dt.date) -> str:
    return f"registry_snapshot/{day}.json"
