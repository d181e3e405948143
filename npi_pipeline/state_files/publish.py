"""Publishing a day's state files so that a reader never sees half a day, and proving that what lies there is it.

Not here: how a folder is replaced on each kind of root (``local``, ``s3``), nor what the files hold
(``write_state_files``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from npi_pipeline.days.paths import MANIFEST_NAME, days_with_folder, state_files_folder
from npi_pipeline.state_files.manifest import Manifest, ManifestError, StateFile
from npi_pipeline.storage.data_root import DataRoot, HeldLock, is_unique_name


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


def verify_published(root: DataRoot, state_files_dir: str, day: dt.date) -> Iterator[str]:
    """What is wrong with a published day, one line each: the files are read again and held against the manifest.

    A day that is published anew meanwhile is read from the beginning.
    """
    while True:
        manifest, problems = _problems(root, state_files_dir, day)
        if not problems or manifest == _manifest_as_it_is(root, state_files_dir, day):
            break
    yield from problems


def _problems(root: DataRoot, state_files_dir: str, day: dt.date) -> tuple[Manifest | None, list[str]]:
    """The manifest and what is wrong with the files that it names; without one, that."""
    folder = state_files_folder(state_files_dir, day)
    try:
        manifest = read_manifest(root, state_files_dir, day)
    except FileNotFoundError:
        return None, [f"{day} is not published: there is no {root.uri(folder)}/{MANIFEST_NAME}"]
    except ManifestError as error:
        return None, [str(error)]
    problems = []
    if manifest.day != day:
        problems.append(f"{root.uri(folder)}/{MANIFEST_NAME} is the manifest of {manifest.day}")
    named = {manifest.path_of(file) for file in manifest.files} | {MANIFEST_NAME}
    for stored in root.list(folder):
        path = stored.path.removeprefix(f"{folder}/")
        top = path.partition("/")[0]
        # Whoever goes by the manifest does not see another publication's: superseded, on its way, or given up.
        is_of_another = is_unique_name(top) and top != manifest.folder
        if path not in named and not is_of_another:
            problems.append(f"{root.uri(stored.path)} is not in the manifest")
    for file in manifest.files:
        problems += _verify_file(root, f"{folder}/{manifest.path_of(file)}", file)
    return manifest, problems


def _manifest_as_it_is(root: DataRoot, state_files_dir: str, day: dt.date) -> Manifest | None:
    with contextlib.suppress(FileNotFoundError, ManifestError):
        return read_manifest(root, state_files_dir, day)
    return None


def _verify_file(root: DataRoot, path: str, file: StateFile) -> Iterator[str]:
    digest, size, rows = hashlib.sha256(), 0, RowCounter()
    try:
        for chunk in root.chunks(path):
            digest.update(chunk)
            size += len(chunk)
            rows.feed(chunk)
    except FileNotFoundError:
        yield f"{root.uri(path)} is in the manifest and not there"
        return
    found = {"rows": rows.rows, "bytes": size, "sha256": digest.hexdigest()}
    for what, value in found.items():
        expected = getattr(file, what)
        if value != expected:
            yield f"{root.uri(path)} has {what} {value}, the manifest says {expected}"


class RowCounter:
    """Counts the rows of an RFC 4180 CSV file, without its header, from its bytes piece by piece."""

    def __init__(self) -> None:
        self._lines = 0
        self._in_quotes = False
        self._ends_open = False

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        # A quote inside a quoted cell is doubled: two turns, which leave the parity as it was.
        parts = chunk.split(b'"')
        self._lines += sum(part.count(b"\n") for part in parts[self._in_quotes :: 2])
        self._in_quotes ^= len(parts) % 2 == 0
        self._ends_open = not chunk.endswith(b"\n") if chunk else self._ends_open

    @property
    def rows(self) -> int:
        """Rows so far; a last line without a line feed counts."""
        return max(self._lines + self._ends_open - 1, 0)
