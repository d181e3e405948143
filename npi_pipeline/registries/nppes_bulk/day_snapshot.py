"""Which snapshot of the registry a day is looked up in: kept with the day, so that all of its steps use that one.

Not here: what a snapshot is made of (``snapshot``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot, keep_snapshot, load_snapshot
from npi_pipeline.storage.data_root import DataRoot, StoredFile

_FOLDER = "registry_snapshot"
_SNAPSHOT_OF_DAY = re.compile(rf"{_FOLDER}/(\d{{4}}-\d\d-\d\d)\.json", re.ASCII)


def keep_snapshot_of_day(root: DataRoot, day: dt.date, snapshot: Snapshot) -> None:
    """Keep ``snapshot``, and that it is the one of ``day``. Raises StorageError."""
    keep_snapshot(root, snapshot)
    # What is missing is the day's own: days with the same files may differ in what lies behind a gap.
    kept = {"snapshot": snapshot.identity, "missing": snapshot.missing}
    root.write(snapshot_of_day_path(day), (json.dumps(kept) + "\n").encode())


def snapshot_of_day(root: DataRoot, day: dt.date) -> Snapshot:
    """The snapshot that ``day`` is looked up in.

    Raises FileNotFoundError when ``registry_snapshot`` has not run for that day, BulkFileError, StorageError.
    """
    identity, missing = _kept(root, day)
    snapshot = load_snapshot(root, identity)
    return snapshot if missing is None else dataclasses.replace(snapshot, missing=tuple(missing))


def _kept(root: DataRoot, day: dt.date) -> tuple[str, list[str] | None]:
    """The identity of the day's snapshot, and the lines about what is missing."""
    path = snapshot_of_day_path(day)
    content = root.read(path)
    try:
        kept = json.loads(content)
        return str(kept["snapshot"]), kept.get("missing")
    except (ValueError, KeyError, TypeError) as error:
        raise BulkFileError(
            f"{root.uri(path)} cannot be understood ({error}): materialise registry_snapshot of that day again"
        ) from error


def newest_snapshot(root: DataRoot) -> Snapshot:
    """The snapshot of the newest day that has one. Raises BulkFileError, also when there is none, StorageError."""
    newest = max(snapshot_files(root), default=None)
    if newest is None:
        raise BulkFileError(
            f"no snapshot of the registry is prepared in {root.uri()}: materialise registry_snapshot of a day first"
        )
    return snapshot_of_day(root, newest)


def identities_by_day(root: DataRoot) -> dict[dt.date, str]:
    """The identity of each day's snapshot. Raises BulkFileError when one cannot be understood, StorageError."""
    return {day: identity_of_day(root, day) for day in snapshot_files(root)}


def identity_of_day(root: DataRoot, day: dt.date) -> str:
    """The identity of the day's snapshot. Raises as ``snapshot_of_day`` does."""
    return _kept(root, day)[0]


def snapshot_files(root: DataRoot) -> dict[dt.date, StoredFile]:
    """The file of each day that says which snapshot is the day's. Raises StorageError."""
    named = ((_SNAPSHOT_OF_DAY.fullmatch(file.path), file) for file in root.list(_FOLDER))
    return {dt.date.fromisoformat(match[1]): file for match, file in named if match}


def snapshot_of_day_path(day: dt.date) -> str:
    """Where it is kept which snapshot is the day's."""
    return f"{_FOLDER}/{day}.json"
