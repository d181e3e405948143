"""The files of the journal: writing a part, reading parts, and the ``journal.json`` that names the compacted ones.

Not here: what the rows mean (``rows``), when parts are written (``writer``) and merged (``compaction``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import io
import itertools
import json
import logging
import re
import secrets
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
import polars as pl

from npi_pipeline import clock
from npi_pipeline.days.paths import JOURNAL_NAME, compaction_mark, journal_folder
from npi_pipeline.days.shard import Shard
from npi_pipeline.errors import PipelineError
from npi_pipeline.storage.data_root import DataRoot

logger = logging.getLogger(__name__)

# By measurement (benchmarks/journal.py): higher levels cost three times the time and win a tenth of the size.
_ZSTD_LEVEL = 1
# So many parts are read ahead at most, and no more than so many bytes of them.
_READ_AHEAD = 8
_READ_AHEAD_BYTES = 12 << 20
_DAY_OF_PART = re.compile(r"(\d{4}-\d\d-\d\d)-", re.ASCII)
_VERSION = 1


class JournalError(PipelineError):
    """The journal cannot serve: the day, what is wrong and the remedy. Another run may be making it anew right now."""

    retryable = True


class JournalDamagedError(JournalError):
    """What was recorded cannot be understood. It is the same when tried again."""

    retryable = False


class ForeignJournalError(JournalError):
    """What lies in a day's folder was written for another day. It is the same when tried again."""

    retryable = False


@dataclasses.dataclass(frozen=True)
class CompactedPart:
    """One compacted part: its name below ``compacted/``, how many rows, and its first and last NPI.

    ``outcomes`` is the name below ``outcomes/`` of the same rows without the bodies, which are nearly all of the bytes.
    ``name`` is None where no bodies are kept: what was found stands in the registry's own files (``snapshot_rows``).
    """

    name: str | None
    outcomes: str
    rows: int
    first: str
    last: str


@dataclasses.dataclass(frozen=True)
class CompactedJournal:
    """A compacted journal: its parts in the order of their NPIs, and how many NPIs have which outcome.

    ``registry`` names whom the answers came from, in the words of whoever compacted it.
    """

    day: dt.date
    compacted_at: dt.datetime
    registry: str
    outcomes: dict[str, int]
    parts: tuple[CompactedPart, ...]

    @property
    def rows(self) -> int:
        """Rows, which are distinct NPIs."""
        return sum(part.rows for part in self.parts)

    @property
    def digest(self) -> str:
        """Tells the rows from any others: the same rows have the same digest, however often they are compacted."""
        of_parts = "".join((part.name or part.outcomes).rpartition("-")[2] for part in self.parts)
        # Of rows without bodies the registry tells which they are.
        return _digest((self.registry + of_parts if self.is_of_snapshot else of_parts).encode())

    @property
    def is_of_snapshot(self) -> bool:
        """Whether the bodies stand in a snapshot of the registry, which ``registry`` names, and not here."""
        return any(part.name is None for part in self.parts)

    @property
    def paths(self) -> list[str]:
        """The paths of the parts below the data root; of a snapshot's, those without the bodies."""
        folder, without_bodies = compacted_folder(self.day), outcomes_folder(self.day)
        return [f"{folder}/{part.name}" if part.name else f"{without_bodies}/{part.outcomes}" for part in self.parts]

    @property
    def outcome_paths(self) -> list[str]:
        """The paths of the same rows without the bodies."""
        return [f"{outcomes_folder(self.day)}/{part.outcomes}" for part in self.parts]


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(CompactedJournal)


def segments_folder(day: dt.date, registry: str = "", shard: Shard | None = None) -> str:
    """Where outcomes of ``registry`` go as they arrive, or those of a ``shard``; without one, that of all segments."""
    folder = f"{journal_folder(day)}/segments"
    if not registry:
        return folder
    folder = f"{folder}/{_digest(registry.encode())}"
    return f"{folder}/{shard.name}" if shard else folder


def compacted_folder(day: dt.date) -> str:
    """Where the merged rows are."""
    return f"{journal_folder(day)}/compacted"


def outcomes_folder(day: dt.date) -> str:
    """Where the merged rows are without the bodies."""
    return f"{journal_folder(day)}/outcomes"


def new_stem(day: dt.date) -> str:
    """The first part of the names of one writer's parts of ``day``, which no other writer has."""
    return f"{day}-{clock.utc_now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def write_part(root: DataRoot, folder: str, stem: str, rows: pl.DataFrame) -> str:
    """Write a part whole; its name, which ends in the digest of its bytes. Raises StorageError."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd", compression_level=_ZSTD_LEVEL, statistics=False)
    content = buffer.getvalue()
    name = f"{stem}-{_digest(content)}.parquet"
    root.write(f"{folder}/{name}", content)
    return name


def add_rows(root: DataRoot, day: dt.date, registry: str, rows: pl.DataFrame) -> None:
    """Add rows (SCHEMA) to those that arrived for ``day`` from ``registry``. Raises StorageError."""
    write_part(root, segments_folder(day, registry), new_stem(day), rows)


def part_paths(root: DataRoot, day: dt.date, registry: str = "", shard: Shard | None = None) -> list[str]:
    """All parts that count: those that ``journal.json`` names, and the segments since.

    With a ``registry``, only what it answered: each registry's segments are in a folder of their own. With a ``shard``,
    only those in which an NPI of it may be.
    Raises ForeignJournalError when an arrival is another day's.
    """
    compacted = load_compacted_journal(root, day)
    arrived = [file.path for file in root.list(segments_folder(day))]
    _refuse_parts_of_another_day(root, day, arrived)
    compacted_paths = []
    if compacted is not None:
        may_be_in = (shard is None or shard.overlaps(part.first, part.last) for part in compacted.parts)
        compacted_paths = list(itertools.compress(compacted.paths, may_be_in))
    arrived = [path for path in arrived if _may_hold(path, shard)]
    if not registry:
        return compacted_paths + arrived
    own = [path for path in arrived if path.startswith(f"{segments_folder(day, registry)}/")]
    return own if compacted is not None and compacted.registry != registry else compacted_paths + own


def _may_hold(path: str, shard: Shard | None) -> bool:
    """Whether an NPI of ``shard`` may be in a segment: by its folder, where that is another shard's."""
    of_segment = Shard.called(path.split("/")[-2])
    return shard is None or of_segment is None or shard.overlaps(of_segment.first, of_segment.last)


def read_parts(root: DataRoot, day: dt.date, paths: list[str], columns: list[str]) -> Iterator[pl.DataFrame]:
    """The rows of each part. One that is missing or damaged is left out with a warning, and set aside."""
    for path, content in contents(root, paths):
        if content is None:
            logger.warning("the journal's part %s is missing: its NPIs will be asked for again", root.uri(path))
        elif not is_whole(path, content):
            aside = f"{journal_folder(day)}/damaged/{path.rpartition('/')[2]}"
            root.write(aside, content)
            root.delete(path)
            logger.warning(
                "the journal's part %s is damaged and now %s: its NPIs will be asked for again",
                root.uri(path),
                root.uri(aside),
            )
        else:
            yield rows_in(content, columns)


def rows_in(content: bytes, columns: list[str]) -> pl.DataFrame:
    """The ``columns`` of a whole part."""
    return pl.read_parquet(io.BytesIO(content), columns=columns).select(columns)


def contents(root: DataRoot, paths: list[str]) -> Iterator[tuple[str, bytes | None]]:
    """The bytes of each file, None for one that is not there. A few are read ahead, for S3's latency.

    The files of a journal are of about the same size: by the last one it is judged how many fit in memory.
    """
    left = deque(paths)
    most_ahead = 2
    ahead: deque[tuple[str, Future[bytes | None]]] = deque()
    pool = ThreadPoolExecutor(_READ_AHEAD, thread_name_prefix="journal-read")
    try:
        while left or ahead:
            while left and len(ahead) < most_ahead:
                path = left.popleft()
                ahead.append((path, pool.submit(_content, root, path)))
            path, future = ahead.popleft()
            content = future.result()
            most_ahead = max(1, min(_READ_AHEAD, _READ_AHEAD_BYTES // max(len(content or b""), 1)))
            yield path, content
    finally:
        # Not waited for: an interrupted run need not hear what S3 says.
        pool.shutdown(wait=False, cancel_futures=True)


def is_whole(path: str, content: bytes) -> bool:
    """Whether these are the bytes that were written under that name."""
    return path.endswith(f"-{_digest(content)}.parquet")


def load_compacted_journal(root: DataRoot, day: dt.date) -> CompactedJournal | None:
    """What ``journal.json`` says; None when there is none.

    Raises JournalError when it is not to be understood, ForeignJournalError when it is another day's.
    """
    path = _index_path(day)
    try:
        data = root.read(path)
        content = json.loads(data)
        if content["version"] == _VERSION:
            if content["day"] != day.isoformat():
                raise _foreign(root, day, path, content["day"])
            return _DECODER.decode(data)
        problem = f"it has version {content['version']}, this release reads version {_VERSION}"
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__} {error}"
    raise JournalDamagedError(
        f"{root.uri(path)} cannot be understood ({problem}): move it away and materialise {day} again"
    )


def tag_of_compacted_journal(root: DataRoot, day: dt.date) -> str | None:
    """What ``save_compacted_journal`` is given by whoever compacts: read before anything else. Raises StorageError."""
    with contextlib.suppress(FileNotFoundError):
        return root.read_tagged(_index_path(day))[1]
    return None


def save_compacted_journal(root: DataRoot, compacted: CompactedJournal, tag: str | None) -> bool:
    """Write ``journal.json``, if it is still the one of ``tag``: whether it was written. This is the commit.

    Before it the mark by which other days find it: one that leads to nothing harms nobody.
    """
    root.write(compaction_mark(compacted.day, compacted.compacted_at.date()), b"")
    content = {
        "version": _VERSION,
        "day": compacted.day.isoformat(),
        "compacted_at": compacted.compacted_at.isoformat(),
        "registry": compacted.registry,
        "rows": compacted.rows,
        "outcomes": compacted.outcomes,
        "parts": [dataclasses.asdict(part) for part in compacted.parts],
    }
    return root.write_if(_index_path(compacted.day), (json.dumps(content, indent=2) + "\n").encode(), tag) is not None


def _index_path(day: dt.date) -> str:
    return f"{journal_folder(day)}/{JOURNAL_NAME}"


def _refuse_parts_of_another_day(root: DataRoot, day: dt.date, paths: list[str]) -> None:
    """Raise ForeignJournalError for the first part whose name has another day. A name without a day is no part's."""
    for path in paths:
        named = _DAY_OF_PART.match(path.rpartition("/")[2])
        if named and named[1] != day.isoformat():
            raise _foreign(root, day, path, named[1])


def _foreign(root: DataRoot, day: dt.date, path: str, other: str) -> ForeignJournalError:
    return ForeignJournalError(
        f"{root.uri(path)} is of {other} and not of {day}: a copy of that day's journal lies in the place of this one; "
        f"move {root.uri(journal_folder(day))} away and materialise npi_records of {day} again"
    )


def _content(root: DataRoot, path: str) -> bytes | None:
    with contextlib.suppress(FileNotFoundError):
        return root.read(path)
    return None


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
