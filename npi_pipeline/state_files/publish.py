"""Publishing a day's state files so that a reader never sees half a day, and finding what is published.

Not here: how a folder is replaced on each kind of root (``local``, ``s3``), what the files hold
(``write_state_files``), and whether they are as they were published (``verification``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Iterable
from pathlib import Path

from npi_pipeline.days.paths import MANIFEST_NAME, days_with_folder, state_files_folder
from npi_pipeline.state_files.manifest import Manifest, ManifestError, StateFile
from npi_pipeline.storage.data_root import DataRoot, HeldLock


def publish(root: DataRoot, state_files_dir: str, source: Path, manifest: Manifest, held: HeldLock) -> Manifest:
    """Make the finished state files in the local folder ``source`` the day's; the manifest as it is published.

    What was published for the day before is replaced whole. ``source`` must hold the manifest's files and nothing
    else, and may be emptied. ``held`` is the day's lock on its state files, taken before anything was read that they
    are made of. Raises ValueError when manifest and files differ, StorageError, LockedError when the lock was lost.
    """
    named, there = {file.name for file in manifest.files}, {file.name for file in source.iterdir()}
    if named != there:
        raise ValueError(f"manifest and files of {manifest.day} differ: {', '.join(sorted(named ^ there))}")
    folder = root.replace_folder(
        state_files_folder(state_files_dir, manifest.day),
        source,
        MANIFEST_NAME,
        lambda folder: dataclasses.replace(manifest, folder=folder).to_json(),
        held,
    )
    return dataclasses.replace(manifest, folder=folder)


def path_of_state_file(state_files_dir: str, manifest: Manifest, file: StateFile) -> str:
    """Where a state file lies below the data root."""
    return f"{state_files_folder(state_files_dir, manifest.day)}/{manifest.path_of(file)}"


def read_manifest(root: DataRoot, state_files_dir: str, day: dt.date) -> Manifest:
    """The manifest of ``day``. Raises FileNotFoundError when the day is not published, ManifestError."""
    path = f"{state_files_folder(state_files_dir, day)}/{MANIFEST_NAME}"
    try:
        return Manifest.from_json(root.read(path))
    except ManifestError as error:
        raise ManifestError(f"{root.uri(path)}: {error}; materialise state_files for {day} again") from error


def is_published(root: DataRoot, state_files_dir: str, day: dt.date) -> bool:
    """Whether the day's manifest is there and can be understood; one request, however many days there are."""
    try:
        return read_manifest(root, state_files_dir, day).day == day
    except (FileNotFoundError, ManifestError):
        return False


def published_before(root: DataRoot, state_files_dir: str, day: dt.date) -> Manifest | None:
    """The manifest of the last published day before ``day``; None when there is none. Raises ManifestError."""
    return _first_published(root, state_files_dir, days_before(root, state_files_dir, day))


def days_before(root: DataRoot, state_files_dir: str, day: dt.date) -> list[dt.date]:
    """The days before ``day`` that have a folder of state files, published or not, the last first."""
    return [other for other in reversed(days_with_folder(root, state_files_dir)) if other < day]


def published_after(root: DataRoot, state_files_dir: str, day: dt.date) -> Manifest | None:
    """The manifest of the first published day after ``day``; None when there is none. Raises ManifestError."""
    later = [other for other in days_with_folder(root, state_files_dir) if other > day]
    return _first_published(root, state_files_dir, later)


def _first_published(root: DataRoot, state_files_dir: str, days: Iterable[dt.date]) -> Manifest | None:
    for day in days:
        with contextlib.suppress(FileNotFoundError):
            return read_manifest(root, state_files_dir, day)
    return None
