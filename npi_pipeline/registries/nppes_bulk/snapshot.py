"""The registry as of a day: prepared files on top of each other, of which the later one wins row by row.

Nothing is made anew when a weekly file comes: its rows take the place of others as they are read.
Not here: which files make a day's snapshot (``files``), and how one is prepared (``prepare``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import io
import json
from collections.abc import Iterator, Sequence

import msgspec
import polars as pl

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.contents import dated
from npi_pipeline.registries.nppes_bulk.files import FileKind, dissemination_files, files_of_day, open_bulk_files
from npi_pipeline.registries.nppes_bulk.prepare import prepare_file
from npi_pipeline.registries.nppes_bulk.prepared import PART_SCHEMA, Part, PreparedFile, load_prepared, read_parts
from npi_pipeline.registries.nppes_bulk.read_contents import OnProgress
from npi_pipeline.registries.nppes_bulk.sorted_rows import LAST_NPI, SortedRows
from npi_pipeline.registries.nppes_bulk.store_schema import STORE_SCHEMA
from npi_pipeline.storage.data_root import DataRoot

SNAPSHOTS = "registry_snapshots"
FILE = "file"
"""The column that says which file of the snapshot a row is from: its place in ``Snapshot.files``."""
FILE_TYPE = pl.UInt16()

SLICE_ROWS = 50_000
_PARTS_AT_ONCE = 16
_MANY = 0.25
_NAME = "nppes_bulk"


@dataclasses.dataclass(frozen=True)
class SnapshotFile:
    """A dissemination file of a snapshot: ``date`` is the last day it tells of, ``prepared`` where it is prepared.

    ``size`` in bytes and ``sha256`` are of the file as it was downloaded.
    """

    name: str
    kind: FileKind
    date: dt.date
    size: int
    sha256: str
    prepared: str


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The registry as of a day: its files in the order in which they are laid on top of each other.

    ``as_of`` is the last day that they tell of. ``missing`` are lines about what should be in them, or about files
    that should be there, and is not. ``identity`` tells it from any other, in one line.
    """

    files: tuple[SnapshotFile, ...]
    as_of: dt.date
    missing: tuple[str, ...]
    identity: str


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(Snapshot)


def prepare_snapshot(
    root: DataRoot, day: dt.date, files: str, on_progress: OnProgress = lambda _line: None
) -> Snapshot:
    """The registry as of ``day`` from what lies in ``files`` (NPI_BULK_FILES), with each of its files prepared.

    It is kept (``load_snapshot``). ``on_progress`` is told a line now and then. Raises BulkFileError, SettingsError and
    StorageError.
    """
    bulk = open_bulk_files(files)
    found = dissemination_files(bulk.list(""))
    chosen = files_of_day(found, day, lambda file: dated(bulk, file), place=bulk.uri())
    prepared = [prepare_file(root, bulk, file, on_progress) for file in chosen.files]
    lacking = [line for file in prepared for line in file.lacking]
    snapshot = _snapshot(prepared, chosen.as_of, (*chosen.missing, *lacking))
    keep_snapshot(root, snapshot)
    return snapshot


def _snapshot(prepared: Sequence[PreparedFile], as_of: dt.date, missing: tuple[str, ...]) -> Snapshot:
    files = tuple(
        SnapshotFile(file.name, file.kind, file.date, file.size, file.sha256, file.prepared) for file in prepared
    )
    digest = hashlib.sha256("\n".join([as_of.isoformat(), *(file.prepared for file in files)]).encode()).hexdigest()
    return Snapshot(files, as_of, missing, f"{_NAME} {as_of} {digest[:16]}")


def keep_snapshot(root: DataRoot, snapshot: Snapshot) -> None:
    """Let it be found by its identity."""
    root.write(snapshot_path(snapshot.identity), json.dumps(msgspec.to_builtins(snapshot), indent=2).encode() + b"\n")


def load_snapshot(root: DataRoot, identity: str) -> Snapshot:
    """The snapshot that was kept with that identity. Raises BulkFileError."""
    path = snapshot_path(identity)
    try:
        return _DECODER.decode(root.read(path))
    except FileNotFoundError as error:
        problem = "is not there"
        cause: Exception = error
    except msgspec.DecodeError as error:
        problem, cause = f"cannot be understood ({error})", error
    raise BulkFileError(f"{root.uri(path)} {problem}: materialise registry_snapshot of the day again") from cause


def snapshot_path(identity: str) -> str:
    """Where the snapshot of that identity is kept."""
    return f"{SNAPSHOTS}/{identity.rpartition(' ')[2]}.json"


def slices(root: DataRoot, snapshot: Snapshot, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """All rows by NPI, about SLICE_ROWS at a time: ``npi``, the ``columns`` asked for, and ``file``.

    ``columns`` are of STORE_SCHEMA, all of them by default, or ``digest``: a hash of all but the NPI, by which rows of
    two snapshots are compared without reading them. ``file`` is a row's file, as its place in
    ``snapshot.files``: rows of two snapshots that are of one file are the same. Raises BulkFileError, StorageError.
    """
    wanted = _wanted(columns)
    prepared = _prepared_files(root, snapshot)
    sources = [SortedRows(read_parts(root, file.prepared, file.parts, wanted)) for file in prepared]
    for last in _slice_ends(prepared):
        rows = [
            frame.with_columns(pl.lit(number, FILE_TYPE).alias(FILE))
            for number, source in enumerate(sources)
            for frame in source.up_to(last)
        ]
        if rows:
            yield _latest(rows)


def rows_for(
    root: DataRoot, snapshot: Snapshot, npis: pl.Series, columns: Sequence[str] | None = None
) -> Iterator[pl.DataFrame]:
    """As ``slices``, of ``npis`` alone, which are sorted and distinct; those that are not in the snapshot are left out.

    Only the parts are read that such an NPI may be in, of each file those that no later file has told of.
    """
    wanted = _wanted(columns)
    prepared = _prepared_files(root, snapshot)
    sought = npis.cast(pl.UInt32)
    for start in range(0, len(sought), SLICE_ROWS):
        left = sought.slice(start, SLICE_ROWS)
        rows: list[pl.DataFrame] = []
        for number in reversed(range(len(prepared))):
            rows += [
                frame.with_columns(pl.lit(number, FILE_TYPE).alias(FILE))
                for frame in _rows_of(root, prepared[number], left, wanted)
            ]
            found = pl.concat([frame["npi"] for frame in rows]) if rows else left.clear()
            left = left.filter(~left.is_in(found.implode()))
        if rows:
            yield pl.concat(rows).sort("npi")


def _wanted(columns: Sequence[str] | None) -> list[str]:
    asked = list(STORE_SCHEMA) if columns is None else list(columns)
    unknown = [name for name in asked if name not in PART_SCHEMA]
    if unknown:
        raise ValueError(f"a snapshot has no column {unknown[0]!r}")
    return ["npi", *(name for name in asked if name != "npi")]


def _prepared_files(root: DataRoot, snapshot: Snapshot) -> list[PreparedFile]:
    return [_prepared_file(root, file) for file in snapshot.files]


def _prepared_file(root: DataRoot, file: SnapshotFile) -> PreparedFile:
    found = load_prepared(root, file.prepared)
    if found is None:
        raise BulkFileError(
            f"what was prepared of {file.name} is not in {root.uri()} any more: materialise registry_snapshot of the "
            "day again"
        )
    return found


def _slice_ends(prepared: Sequence[PreparedFile]) -> Iterator[int]:
    """The last NPI of each slice: at ends of parts of the largest file, so that each part is read at once."""
    largest = max(prepared, key=lambda file: file.rows)
    rows = 0
    for part in largest.parts:
        rows += part.rows
        if rows >= SLICE_ROWS:
            yield part.last
            rows = 0
    yield LAST_NPI


def _latest(rows: list[pl.DataFrame]) -> pl.DataFrame:
    """One row for each NPI, of the last file that has one. Each frame is sorted and of one file, later files last."""
    together = pl.concat(rows)
    if together[FILE].n_unique() == 1:
        return together
    return together.sort("npi", FILE).unique("npi", keep="last", maintain_order=True)


def _rows_of(root: DataRoot, file: PreparedFile, sought: pl.Series, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The rows of ``file`` that are of NPIs sought, which are sorted."""
    waiting: list[pl.DataFrame] = []
    for frame in read_parts(root, file.prepared, _parts_with(file.parts, sought), columns):
        first, last = frame["npi"][0], frame["npi"][-1]
        start, end = int(sought.search_sorted(first)), int(sought.search_sorted(last, side="right"))
        here = frame.filter(pl.col("npi").is_in(sought.slice(start, end - start).implode()))
        if here.height > frame.height * _MANY:
            yield here
            continue
        waiting.append(here)
        if len(waiting) == _PARTS_AT_ONCE:
            yield _freed(pl.concat(waiting))
            waiting = []
    if waiting:
        yield _freed(pl.concat(waiting))


def _freed(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows in memory of their own: rows that polars filters out of a part keep all of it in memory."""
    buffer = io.BytesIO()
    rows.write_ipc(buffer)
    buffer.seek(0)
    return pl.read_ipc(buffer)


def _parts_with(parts: Sequence[Part], sought: pl.Series) -> list[Part]:
    """The parts in whose range an NPI is that is sought."""
    if not parts or sought.is_empty():
        return []
    firsts = pl.Series([part.first for part in parts], dtype=pl.UInt32)
    lasts = pl.Series([part.last for part in parts], dtype=pl.UInt32)
    begin, end = sought.search_sorted(firsts), sought.search_sorted(lasts, side="right")
    return [part for part, has in zip(parts, (begin < end).to_list(), strict=True) if has]
