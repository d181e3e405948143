"""Published state files read again, each once: whether they are as the manifest says, and whose rows they hold.

Not here: how they are published (``publish``), and what is claimed of them (``proofs``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from npi_pipeline.days.paths import MANIFEST_NAME, state_files_folder
from npi_pipeline.findings import Npis
from npi_pipeline.state_files.manifest import Manifest, ManifestError, StateFile
from npi_pipeline.state_files.publish import read_manifest
from npi_pipeline.state_files.published import rows_in
from npi_pipeline.storage.data_root import DataRoot, is_unique_name


@dataclasses.dataclass(frozen=True)
class PublishedFiles:
    """What was read of a published day. ``problems`` say what is wrong with it, one line each.

    ``manifest`` is None when there is none that can be understood. ``npis`` has the NPIs of each file,
    by its name; of a file that cannot be read, nothing.
    """

    manifest: Manifest | None
    problems: tuple[str, ...]
    npis: Mapping[str, Npis]


def read_published(root: DataRoot, state_files_dir: str, day: dt.date, *, with_npis: bool = True) -> PublishedFiles:
    """Read the files of ``day``, each once, and hold them against the manifest; without their NPIs it takes less time.

    A day that is published anew meanwhile is read from the beginning. Raises StorageError.
    """
    while True:
        published = _read(root, state_files_dir, day, with_npis=with_npis)
        if not published.problems or published.manifest == _manifest_as_it_is(root, state_files_dir, day):
            return published


def verify_published(root: DataRoot, state_files_dir: str, day: dt.date) -> tuple[str, ...]:
    """What is wrong with a published day, one line each, as ``read_published`` finds it."""
    return read_published(root, state_files_dir, day, with_npis=False).problems


def _read(root: DataRoot, state_files_dir: str, day: dt.date, *, with_npis: bool) -> PublishedFiles:
    folder = state_files_folder(state_files_dir, day)
    try:
        manifest = read_manifest(root, state_files_dir, day)
    except FileNotFoundError:
        return PublishedFiles(None, (f"{day} is not published: there is no {root.uri(folder)}/{MANIFEST_NAME}",), {})
    except ManifestError as error:
        return PublishedFiles(None, (str(error),), {})
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
    npis: dict[str, Npis] = {}
    for file in manifest.files:
        path = f"{folder}/{manifest.path_of(file)}"
        problems += _read_file(root, path, file, npis if with_npis else None)
    return PublishedFiles(manifest, tuple(problems), npis)


def _read_file(root: DataRoot, path: str, file: StateFile, npis: dict[str, Npis] | None) -> Iterator[str]:
    """What is wrong with one file; its NPIs are put into ``npis`` in the same pass."""
    measured = _Measured()
    chunks = measured.passing(root.chunks(path))
    try:
        if npis is not None:
            try:
                npis[file.name] = Npis.of([rows_in(chunks, "npi")["npi"]])
            except (ValueError, pl.exceptions.PolarsError) as error:
                yield f"{root.uri(path)} cannot be read: {error}"
        for _ in chunks:
            pass
    except FileNotFoundError:
        yield f"{root.uri(path)} is in the manifest and not there"
        return
    for what, value in measured.found().items():
        expected = getattr(file, what)
        if value != expected:
            yield f"{root.uri(path)} has {what} {value}, the manifest says {expected}"


def _manifest_as_it_is(root: DataRoot, state_files_dir: str, day: dt.date) -> Manifest | None:
    with contextlib.suppress(FileNotFoundError, ManifestError):
        return read_manifest(root, state_files_dir, day)
    return None


class _Measured:
    """What the manifest says of a file, from its bytes as they pass."""

    def __init__(self) -> None:
        self._digest, self._size, self._rows = hashlib.sha256(), 0, RowCounter()

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks."""
        for chunk in chunks:
            self._digest.update(chunk)
            self._size += len(chunk)
            self._rows.feed(chunk)
            yield chunk

    def found(self) -> dict[str, int | str]:
        """By the names of ``StateFile``."""
        return {"rows": self._rows.rows, "bytes": self._size, "sha256": self._digest.hexdigest()}


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
