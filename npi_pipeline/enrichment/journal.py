"""The journal of a day: every outcome, durable a second after it arrives, and sealed to one row an NPI at the end.

Two folders of whole Parquet files, on either kind of data root:

- ``arrivals/`` holds small parts in the order of arrival, written while a run fetches; an NPI may be in several.
- ``sealed/`` holds the rows of the day's list, one each, sorted by NPI, a part for every 5,000 NPIs of the list.

``journal.json`` names the sealed parts and is written after them: its presence says that the journal is sealed.
A part's name ends in a digest of its bytes, so that a damaged part is recognised for certain.

Whoever writes here holds the day's lock (``storage.day_lock``). Not here: fetching, and what a body means.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import io
import json
import logging
import secrets
import tempfile
import threading
import time
import typing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import polars as pl

from npi_pipeline.enrichment.outcomes import NpiOutcome, Outcome
from npi_pipeline.storage.data_root import DataRoot, HeldLock
from npi_pipeline.storage.days import journal_folder

logger = logging.getLogger(__name__)

SCHEMA = pl.Schema(
    [
        ("npi", pl.String),
        ("outcome", pl.String),
        ("reason", pl.String),
        ("passing", pl.Boolean),
        ("status", pl.UInt16),
        ("attempts", pl.UInt32),
        ("fetched_at", pl.Datetime("ms", "UTC")),
        ("body", pl.String),
    ]
)
WITHOUT_BODY = [name for name in SCHEMA if name != "body"]

# Of a row of the journal: whether a later run of the day in mode `missing` leaves this NPI alone.
IS_FINAL = (pl.col("outcome") != Outcome.failed.value) | ~pl.col("passing")

SEALED_PART_ROWS = 5_000
# An arrivals part is written when its first row has waited this long, or when it is as large as this.
ARRIVAL_SECONDS = 1.0
ARRIVAL_BYTES = 8 << 20
# When the root is slower than the registry, the fetch is held up rather than the memory filled.
WAITING_BYTES = 32 << 20
# After an interrupt the last part has this long to be written.
INTERRUPTED_CLOSE_SECONDS = 5.0

_ZSTD_LEVEL = 1
_SPILL_BYTES = 32 << 20
_READ_AHEAD = 8
_JOURNAL_NAME = "journal.json"
_VERSION = 1


class JournalError(Exception):
    """The journal cannot serve. One line names the day, what is wrong and the remedy."""


@dataclasses.dataclass(frozen=True)
class SealedPart:
    """One sealed part: its name below ``sealed/``, how many rows, and its first and last NPI."""

    name: str
    rows: int
    first: str
    last: str


@dataclasses.dataclass(frozen=True)
class SealedJournal:
    """A sealed journal: its parts in the order of their NPIs, and how many NPIs have which outcome."""

    day: dt.date
    sealed_at: dt.datetime
    outcomes: dict[str, int]
    parts: tuple[SealedPart, ...]

    @property
    def rows(self) -> int:
        """Rows, which are distinct NPIs."""
        return sum(part.rows for part in self.parts)


@typing.final
class JournalWriter:
    """Appends outcomes to the journal of a day. A context manager; ``append`` may be called from any thread.

    With ``async_writes`` the parts are written while the fetch goes on, else ``append`` waits while one is written.
    When a part cannot be written (a full disk, S3 down), the next ``append``, or the end, raises the StorageError.
    """

    def __init__(self, root: DataRoot, day: dt.date, *, async_writes: bool = True) -> None:
        self._root = root
        self._folder = f"{journal_folder(day)}/arrivals"
        self._async_writes = async_writes
        self._run = f"{dt.datetime.now(dt.timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self._changed = threading.Condition()
        self._waiting: list[NpiOutcome] = []
        self._waiting_bytes = 0
        self._first_waits_since = 0.0
        self._is_writing = False
        self._is_closing = False
        self._error: Exception | None = None
        self._parts = 0
        self._thread = threading.Thread(target=self._write_parts, name=f"journal {day}", daemon=True)

    def __enter__(self) -> JournalWriter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close(timeout=None if kind is None else INTERRUPTED_CLOSE_SECONDS)
        if self._error is None:
            return
        if kind is None:
            raise self._error
        if error is not self._error:
            logger.warning("the journal could not be written: %s", self._error)

    def append(self, outcome: NpiOutcome) -> None:
        """Take an outcome; it is durable about a second later. Raises StorageError."""
        with self._changed:
            self._changed.wait_for(self._may_append)
            if self._error:
                raise self._error
            if not self._waiting:
                self._first_waits_since = time.monotonic()
                self._changed.notify_all()
            self._waiting.append(outcome)
            self._waiting_bytes += len(outcome.body or "")
            if self._waiting_bytes >= ARRIVAL_BYTES:
                self._changed.notify_all()

    def _may_append(self) -> bool:
        if self._error:
            return True
        return self._waiting_bytes < WAITING_BYTES and (self._async_writes or not self._is_writing)

    def _close(self, timeout: float | None) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        if self._thread.is_alive():
            logger.warning("the journal did not take the last outcomes within %.0f s of the interrupt", timeout)

    def _write_parts(self) -> None:
        try:
            while rows := self._take():
                self._write(rows)
        except Exception as error:  # noqa: BLE001 - handed to whoever appends
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _take(self) -> list[NpiOutcome]:
        """Wait for the next part's rows; none when the journal is closed."""
        with self._changed:
            self._is_writing = False
            self._changed.notify_all()
            while not self._is_due():
                left = self._first_waits_since + ARRIVAL_SECONDS - time.monotonic()
                self._changed.wait(max(left, 0) if self._waiting else None)
            rows, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._is_writing = True
            return rows

    def _is_due(self) -> bool:
        if self._is_closing:
            return True
        if not self._waiting:
            return False
        return self._waiting_bytes >= ARRIVAL_BYTES or time.monotonic() >= self._first_waits_since + ARRIVAL_SECONDS

    def _write(self, rows: list[NpiOutcome]) -> None:
        self._parts += 1
        _write_part(self._root, self._folder, f"{self._run}-{self._parts:06}", frame_of(rows))


def frame_of(outcomes: list[NpiOutcome]) -> pl.DataFrame:
    """Outcomes as rows of the journal."""
    return pl.DataFrame(
        {
            "npi": [outcome.npi for outcome in outcomes],
            "outcome": [outcome.verdict.outcome.value for outcome in outcomes],
            "reason": [outcome.verdict.reason for outcome in outcomes],
            "passing": [outcome.verdict.passing for outcome in outcomes],
            "status": [outcome.status for outcome in outcomes],
            "attempts": [outcome.attempts for outcome in outcomes],
            "fetched_at": [outcome.fetched_at for outcome in outcomes],
            "body": [outcome.body for outcome in outcomes],
        },
        schema=SCHEMA,
    )


def read_outcomes(root: DataRoot, day: dt.date) -> pl.DataFrame:
    """What is known of each NPI of ``day``, sealed or not: SCHEMA without ``body``, one row an NPI, sorted by npi.

    A part that is damaged is set aside with a warning; its NPIs are then as good as never asked.
    """
    frames = [frame for _, frame in _read_parts(root, day, _part_paths(root, day), WITHOUT_BODY)]
    return _latest(pl.concat([pl.DataFrame(schema=SCHEMA).select(WITHOUT_BODY), *frames]))


def read_sealed_journal(root: DataRoot, day: dt.date) -> SealedJournal:
    """The sealed journal of ``day``. Raises JournalError when it is not sealed."""
    sealed = _sealed_journal(root, day)
    if sealed is None:
        raise JournalError(f"the journal of {day} is not sealed: materialise npi_records for that day")
    return sealed


def sealed_parts(root: DataRoot, day: dt.date) -> Iterator[pl.DataFrame]:
    """The sealed rows of ``day``, SCHEMA, at most SEALED_PART_ROWS at a time, in the order of their NPIs.

    Raises JournalError when the journal is not sealed, or a part of it is damaged or missing.
    """
    paths = [f"{_sealed_folder(day)}/{part.name}" for part in read_sealed_journal(root, day).parts]
    for path, content in _contents(root, paths):
        if content is None or not _is_whole(path, content):
            raise JournalError(
                f"{root.uri(path)} is {'missing' if content is None else 'damaged'}: "
                f"materialise npi_records for {day} again, it asks for the lost NPIs"
            )
        yield pl.read_parquet(io.BytesIO(content))


def seal_journal(root: DataRoot, day: dt.date, npis: pl.Series, held: HeldLock) -> SealedJournal:
    """Merge everything that arrived for ``day`` into sealed parts: one row for each of ``npis``, the day's list.

    Of several rows of an NPI the one fetched last stands. Rows of NPIs that are not on the list are dropped.
    Killed at any point it loses nothing, and the next call completes it. Memory does not grow with the list.
    Raises JournalError when an NPI has no outcome, StorageError, LockedError when ``held`` (the day's lock) was lost.
    """
    npis = npis.unique().sort()
    merged = _part_paths(root, day)
    generation = f"{dt.datetime.now(dt.timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    parts: list[SealedPart] = []
    counts: dict[str, int] = {outcome.value: 0 for outcome in Outcome}
    with tempfile.TemporaryDirectory(prefix="npi-journal-") as scratch:
        frames = (frame for _, frame in _read_parts(root, day, merged, list(SCHEMA)))
        for number, (wanted, rows) in enumerate(_by_slice(frames, npis, Path(scratch))):
            part = _latest(rows.join(wanted.to_frame("npi"), on="npi", how="semi"))
            if part.height != wanted.len():
                raise _missing(day, wanted, part)
            name = _write_part(root, _sealed_folder(day), f"{generation}-{number:05}", part)
            parts.append(SealedPart(name, part.height, wanted[0], wanted[-1]))
            for outcome, count in part["outcome"].value_counts().iter_rows():
                counts[outcome] += count
    sealed = SealedJournal(day, dt.datetime.now(dt.timezone.utc), counts, tuple(parts))
    held.ensure_held()
    root.write(f"{journal_folder(day)}/{_JOURNAL_NAME}", _to_json(sealed))
    named = {f"{_sealed_folder(day)}/{part.name}" for part in parts}
    stray = {file.path for file in root.list(_sealed_folder(day))} - named
    root.delete(*sorted(stray | (set(merged) - named)))
    return sealed


def _by_slice(
    frames: Iterable[pl.DataFrame], npis: pl.Series, scratch: Path
) -> Iterator[tuple[pl.Series, pl.DataFrame]]:
    """For each run of SEALED_PART_ROWS of the sorted ``npis``: those NPIs, and all rows between them.

    Rows that do not fit in memory wait in ``scratch``, a file for each slice and filling of the memory.
    """
    slices = [npis.slice(start, SEALED_PART_ROWS) for start in range(0, npis.len(), SEALED_PART_ROWS)]
    starts = pl.Series("npi", [wanted[0] for wanted in slices[1:]], dtype=pl.String)
    held: list[pl.DataFrame] = []
    held_bytes = 0
    for filling, frame in enumerate(frames):
        held.append(frame)
        held_bytes += int(frame.estimated_size())
        if held_bytes > _SPILL_BYTES:
            for number, rows in _split(held, starts).items():
                rows.write_parquet(scratch / f"{number}-{filling}.parquet", compression_level=1, statistics=False)
            held, held_bytes = [], 0
    remaining = _split(held, starts)
    nothing = pl.DataFrame(schema=SCHEMA)
    for number, wanted in enumerate(slices):
        spilled = sorted(scratch.glob(f"{number}-*.parquet"))
        yield wanted, pl.concat([*map(pl.read_parquet, spilled), remaining.pop(number, nothing)])


def _split(frames: list[pl.DataFrame], starts: pl.Series) -> dict[int, pl.DataFrame]:
    """The rows by the number of their slice; ``starts`` are the first NPIs of all slices but the first."""
    rows = pl.concat([pl.DataFrame(schema=SCHEMA), *frames])
    numbered = rows.with_columns(slice=starts.search_sorted(rows["npi"], side="right"))
    parts = numbered.partition_by("slice", as_dict=True, include_key=False)
    return {int(key[0]): part for key, part in parts.items()}


def _latest(rows: pl.DataFrame) -> pl.DataFrame:
    """One row an NPI, sorted by npi: the one fetched last; of two of the same moment rather an answer than a failure.

    What else tells two rows apart decides after that, so that the order of arrival never does.
    """
    is_answer = pl.col("outcome") != Outcome.failed.value
    others = [name for name in rows.columns if name not in {"npi", "fetched_at"}]
    latest_first = rows.sort(
        "npi", "fetched_at", is_answer, *others, descending=[False, True, True, *[False] * len(others)]
    )
    return latest_first.unique("npi", keep="first", maintain_order=True)


def _missing(day: dt.date, wanted: pl.Series, part: pl.DataFrame) -> JournalError:
    missing = wanted.filter(~wanted.is_in(part["npi"].implode()))
    return JournalError(
        f"the journal of {day} has no outcome for {missing.len()} or more NPIs of the list, such as {missing[0]}: "
        "materialise npi_records for that day again, it asks for them"
    )


def _write_part(root: DataRoot, folder: str, stem: str, rows: pl.DataFrame) -> str:
    """Write a part whole; its name, which ends in the digest of its bytes."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd", compression_level=_ZSTD_LEVEL, statistics=False)
    content = buffer.getvalue()
    name = f"{stem}-{_digest(content)}.parquet"
    root.write(f"{folder}/{name}", content)
    return name


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _is_whole(path: str, content: bytes) -> bool:
    return path.endswith(f"-{_digest(content)}.parquet")


def _sealed_folder(day: dt.date) -> str:
    return f"{journal_folder(day)}/sealed"


def _part_paths(root: DataRoot, day: dt.date) -> list[str]:
    """All parts that count: those that ``journal.json`` names, and the arrivals since."""
    sealed = _sealed_journal(root, day)
    named = [f"{_sealed_folder(day)}/{part.name}" for part in sealed.parts] if sealed else []
    return named + [file.path for file in root.list(f"{journal_folder(day)}/arrivals")]


def _read_parts(
    root: DataRoot, day: dt.date, paths: list[str], columns: list[str]
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of each part that is there and whole. One that is damaged is set aside."""
    for path, content in _contents(root, paths):
        if content is None:
            logger.warning("the journal's part %s is missing; its NPIs are asked again", root.uri(path))
        elif not _is_whole(path, content):
            aside = f"{journal_folder(day)}/damaged/{path.rpartition('/')[2]}"
            root.write(aside, content)
            root.delete(path)
            logger.warning("the journal's part %s is damaged; it is now %s", root.uri(path), root.uri(aside))
        else:
            yield path, pl.read_parquet(io.BytesIO(content), columns=columns)


def _contents(root: DataRoot, paths: list[str]) -> Iterator[tuple[str, bytes | None]]:
    """The bytes of each file, None for one that is not there; read a few ahead, which S3 needs to be quick."""

    def read(path: str) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return root.read(path)
        return None

    ahead: deque[tuple[str, Future[bytes | None]]] = deque()
    with ThreadPoolExecutor(_READ_AHEAD) as pool:
        try:
            for path in paths:
                ahead.append((path, pool.submit(read, path)))
                if len(ahead) > _READ_AHEAD:
                    first, content = ahead.popleft()
                    yield first, content.result()
            while ahead:
                first, content = ahead.popleft()
                yield first, content.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _sealed_journal(root: DataRoot, day: dt.date) -> SealedJournal | None:
    path = f"{journal_folder(day)}/{_JOURNAL_NAME}"
    try:
        content = json.loads(root.read(path))
    except FileNotFoundError:
        return None
    if content["version"] != _VERSION:
        raise JournalError(f"{root.uri(path)} has version {content['version']}, this release reads {_VERSION}")
    return SealedJournal(
        day=dt.date.fromisoformat(content["day"]),
        sealed_at=dt.datetime.fromisoformat(content["sealed_at"]),
        outcomes=content["outcomes"],
        parts=tuple(SealedPart(**part) for part in content["parts"]),
    )


def _to_json(sealed: SealedJournal) -> bytes:
    content = {
        "version": _VERSION,
        "day": sealed.day.isoformat(),
        "sealed_at": sealed.sealed_at.isoformat(timespec="seconds"),
        "rows": sealed.rows,
        "outcomes": sealed.outcomes,
        "parts": [dataclasses.asdict(part) for part in sealed.parts],
    }
    return (json.dumps(content, indent=2) + "\n").encode()
