"""Which of the snapshots and prepared files no day needs any more. Not here: how long a day is kept (``retention``)."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection

from npi_pipeline.registries.nppes_bulk.prepared import PREPARED_FILES
from npi_pipeline.registries.nppes_bulk.snapshot import SNAPSHOTS, load_snapshot, snapshot_path
from npi_pipeline.storage.data_root import DataRoot, StoredFile


def has_files(root: DataRoot) -> bool:
    """Whether anything is prepared of the registry's own files. Raises StorageError."""
    return bool(root.folders(PREPARED_FILES) or root.list(SNAPSHOTS))


def unused_files(root: DataRoot, kept: Collection[str], before: dt.datetime) -> list[StoredFile]:
    """What was written before that moment and belongs to none of the snapshots ``kept``, by their identities.

    A prepared file is there or not as a whole: one of which anything is younger may be in the making, and stays.
    Raises BulkFileError when a kept snapshot cannot be read, StorageError.
    """
    prepared = {file.prepared for identity in kept for file in load_snapshot(root, identity).files}
    named = {snapshot_path(identity) for identity in kept}
    folders: dict[str, list[StoredFile]] = defaultdict(list)
    for file in root.list(PREPARED_FILES):
        folders[file.path.split("/")[1]].append(file)
    of_no_snapshot = (files for name, files in folders.items() if name not in prepared)
    return [
        *(file for file in root.list(SNAPSHOTS) if file.path not in named and file.modified < before),
        *(file for files in of_no_snapshot if all(each.modified < before for each in files) for file in files),
    ]
