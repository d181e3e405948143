"""A prepared file as it is kept below the data root: parts in the order of the NPIs, and an index that is written last.

A part is an Arrow file (zstd): of what polars reads, it costs the least to write (Parquet: twice to thrice as much) and
as little to read. It has few rows, so that whoever wants one NPI reads little.

Not here: how the rows come about (``prepare``), and what several files say together (``snapshot``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import io
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
import polars as pl

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.child_files import LIST_OF
from npi_pipeline.registries.nppes_bulk.files import CSV_NAME, DOWNLOADS, FileKind
from npi_pipeline.registries.nppes_bulk.store_schema import STORE_SCHEMA
from npi_pipeline.storage.data_root import DataRoot

PREPARED_FILES = "registry_files"
DIGEST = "digest"
PART_SCHEMA = pl.Schema({**STORE_SCHEMA, DIGEST: pl.UInt64()})
"""What is in a part: a row as it is read, and a hash of all but its NPI, by which rows that differ are found."""

# 1,000 NPIs of nine million lie in 900 of 4,600 parts, each read in 5 ms.
PART_ROWS = 2048

_INDEX_NAME = "index.json"
_READ_AHEAD = 8


@dataclasses.dataclass(frozen=True)
class Part:
    """A part: its name, its first and last NPI, how many rows, and the digest of its bytes."""

    name: str
    first: int
    last: int
    rows: int
    digest: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedFile:
    """What ``index.json`` says of a prepared file.

    ``prepared`` is the name of its folder. ``sha256`` and ``size`` are of the dissemination file. Of its rows,
    ``problems`` cannot be read and ``deactivated`` are out of service. ``repeated`` rows were of an NPI that came again
    further down, ``strays`` of no NPI at all, and ``without_provider`` rows of the files of other names, practice
    locations and endpoints belong to no NPI of the main one.
    """

    prepared: str
    name: str
    kind: FileKind
    first: dt.date
    date: dt.date
    size: int
    sha256: str
    rows: int
    problems: int
    deactivated: int
    repeated: int = 0
    strays: int = 0
    without_provider: dict[str, int] = dataclasses.field(default_factory=dict)
    contents: dict[str, int] = dataclasses.field(default_factory=dict)
    parts: tuple[Part, ...]

    @property
    def lacking(self) -> list[str]:
        """Lines about what is not in the dissemination file and should be, or cannot be told."""
        there = {named[1].lower() for name in self.contents if (named := CSV_NAME.fullmatch(name))}
        lines = [
            f"{self.name} holds no {kind}_pfile_*.csv: the {list_name} of its records are not known"
            for kind, list_name in LIST_OF.items()
            if self.kind is not FileKind.deactivations and kind not in there
        ]
        if self.strays:
            lines.append(f"{self.strays} lines of {self.name} belong to no NPI: download it again from {DOWNLOADS}")
        return lines


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(PreparedFile)
_ENCODER = msgspec.json.Encoder()


def folder_of(prepared: str) -> str:
    """Where the parts of a prepared file are, and its index."""
    return f"{PREPARED_FILES}/{prepared}"


def digests(rows: pl.DataFrame) -> pl.Series:
    """The DIGEST of each of ``rows``, which are in STORE_SCHEMA."""
    return rows.drop("npi").hash_rows().alias(DIGEST)


def load_prepared(root: DataRoot, prepared: str) -> PreparedFile | None:
    """What is prepared under that name; None when it is not, or not whole. Raises BulkFileError, StorageError."""
    path = f"{folder_of(prepared)}/{_INDEX_NAME}"
    try:
        return _DECODER.decode(root.read(path))
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise BulkFileError(
            f"{root.uri(path)} cannot be understood ({error}): remove it, and materialise registry_snapshot again"
        ) from error


def save_prepared(root: DataRoot, prepared: PreparedFile) -> None:
    """Write the index: from now on it is prepared. What else lies in its folder is removed."""
    folder = folder_of(prepared.prepared)
    root.write(f"{folder}/{_INDEX_NAME}", json.dumps(msgspec.to_builtins(prepared), indent=1).encode() + b"\n")
    known = {f"{folder}/{name}" for name in (_INDEX_NAME, *(part.name for part in prepared.parts))}
    root.delete(*(file.path for file in root.list(folder) if file.path not in known))


def write_part(root: DataRoot, prepared: str, rows: pl.DataFrame) -> Part:
    """Write rows, which are sorted by NPI, as a part that is named by its content."""
    buffer = io.BytesIO()
    rows.write_ipc(buffer, compression="zstd")
    content = buffer.getvalue()
    digest = _digest(content)
    first, last = int(rows["npi"][0]), int(rows["npi"][-1])
    part = Part(f"{first}-{digest[:16]}.arrow", first, last, rows.height, digest)
    root.write(f"{folder_of(prepared)}/{part.name}", content)
    return part


def read_parts(root: DataRoot, prepared: str, parts: Iterable[Part], columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The rows of each part, with ``columns`` of ``PART_SCHEMA``. A few are read ahead, for S3's latency.

    Raises BulkFileError when one is damaged or gone.
    """
    ahead: deque[Future[pl.DataFrame]] = deque()
    pool = ThreadPoolExecutor(_READ_AHEAD, thread_name_prefix="registry-read")
    try:
        for part in parts:
            ahead.append(pool.submit(_read_part, root, prepared, part, columns))
            if len(ahead) >= _READ_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        # Not waited for: an interrupted run need not hear what S3 says.
        pool.shutdown(wait=False, cancel_futures=True)


def _read_part(root: DataRoot, prepared: str, part: Part, columns: Sequence[str]) -> pl.DataFrame:
    path = f"{folder_of(prepared)}/{part.name}"
    try:
        content = root.read(path)
    except FileNotFoundError:
        content = b""
    if _digest(content) != part.digest:
        index = root.uri(f"{folder_of(prepared)}/{_INDEX_NAME}")
        raise BulkFileError(
            f"{root.uri(path)} is {'damaged' if content else 'gone'}: remove {index}, and materialise "
            "registry_snapshot again"
        )
    return pl.read_ipc(io.BytesIO(content), columns=list(columns)).select(columns)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
