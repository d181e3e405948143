"""Writing outcomes down as they arrive, in parts of about a second. Not here: merging the parts (``compaction``)."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
import typing
from types import TracebackType

import polars as pl

from npi_pipeline.days.shard import Shard
from npi_pipeline.journal.rows import frame_of
from npi_pipeline.journal.segments import new_stem, segments_folder, write_part
from npi_pipeline.outcomes import NpiOutcome
from npi_pipeline.storage.data_root import DataRoot, HeldLock

logger = logging.getLogger(__name__)

# A part is written when its first outcome has waited this long, or when its bodies are as large as this.
_PART_SECONDS = 1.0
_PART_BYTES = 8 << 20
# When the root is slower than the registry, the fetch is held up rather than the memory filled.
_WAITING_BYTES = 16 << 20
# After an interrupt the last part has this long to be written.
_INTERRUPTED_SECONDS = 5.0
# So many small parts become one, else a slow registry leaves thousands an hour to be read again.
_GATHERED_PARTS = 60
_SMALL_BYTES = 256 << 10


@typing.final
class JournalWriter:
    """Appends outcomes to the journal of a day. A context manager; ``append`` may be called from any thread.

    ``run`` is the number of this run among those of the day (``rows.next_run``): its rows stand before earlier ones.
    ``registry`` names whom the outcomes come from; none of another's are read or compacted with them.
    What is written of a ``shard`` has a folder of its own; where its lock is given as ``held``, whoever has lost it
    writes nothing more.
    With ``async_writes`` parts are written while the fetch goes on, else ``append`` waits while one is written.
    When a part cannot be written (a full disk, S3 down), the next ``append``, or the end, raises the StorageError.
    """

    def __init__(
        self,
        root: DataRoot,
        day: dt.date,
        *,
        run: int,
        registry: str = "",
        async_writes: bool = True,
        shard: Shard | None = None,
        held: HeldLock | None = None,
    ) -> None:
        self._root = root
        self._folder = segments_folder(day, registry, shard)
        self._held = held
        self._async_writes = async_writes
        self._run = run
        self._stem = new_stem(day)
        self._parts_written = 0
        self._gathered: dict[str, pl.DataFrame] = {}
        # Guards all that follows, and tells of every change to it.
        self._changed = threading.Condition()
        self._waiting: list[NpiOutcome] = []
        self._waiting_bytes = 0
        self._due = 0.0
        self._is_writing = False
        self._is_closing = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write_parts, name=f"journal {day}", daemon=True)

    def __enter__(self) -> JournalWriter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        try:
            self._thread.join(None if error is None else _INTERRUPTED_SECONDS)
        except BaseException:
            self._thread.join(_INTERRUPTED_SECONDS)
            raise
        if self._thread.is_alive():
            logger.warning("the last outcomes could not be written within %.0f s of the end", _INTERRUPTED_SECONDS)
        if self._error is None or self._error is error:
            return
        if error is None:
            raise self._error
        logger.warning("the journal could not be written: %s", self._error)

    def append(self, outcome: NpiOutcome) -> None:
        """Take an outcome; it is durable about a second later. Raises StorageError when an earlier one was not."""
        with self._changed:
            self._changed.wait_for(self._may_append)
            if self._error:
                raise self._error
            if not self._waiting:
                self._due = time.monotonic() + _PART_SECONDS
            self._waiting.append(outcome)
            self._waiting_bytes += outcome.body_bytes
            if len(self._waiting) == 1 or self._waiting_bytes >= _PART_BYTES:
                self._changed.notify_all()

    def _may_append(self) -> bool:
        if self._error:
            return True
        return self._waiting_bytes < _WAITING_BYTES and (self._async_writes or not self._is_writing)

    def _write_parts(self) -> None:
        """The writing thread."""
        try:
            while outcomes := self._next_part():
                rows = frame_of(outcomes, self._run)
                self._gather(self._write(rows), rows)
        except Exception as error:  # noqa: BLE001 - handed to whoever appends
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _next_part(self) -> list[NpiOutcome]:
        """Wait for the outcomes of the next part; none when the journal is closed."""
        with self._changed:
            self._is_writing = False
            self._changed.notify_all()
            while not (self._is_closing or self._is_due()):
                self._changed.wait(max(self._due - time.monotonic(), 0) if self._waiting else None)
            outcomes = self._take()
            self._is_writing = True
            return outcomes

    def _take(self) -> list[NpiOutcome]:
        """Those that have waited longest, up to the size of a part; what is left stays due."""
        count = size = 0
        while count < len(self._waiting) and size < _PART_BYTES:
            size += self._waiting[count].body_bytes
            count += 1
        outcomes, self._waiting = self._waiting[:count], self._waiting[count:]
        self._waiting_bytes -= size
        return outcomes

    def _is_due(self) -> bool:
        return bool(self._waiting) and (self._waiting_bytes >= _PART_BYTES or time.monotonic() >= self._due)

    def _write(self, rows: pl.DataFrame) -> str:
        if self._held is not None:
            self._held.ensure_held()
        self._parts_written += 1
        return write_part(self._root, self._folder, f"{self._stem}-{self._parts_written:06}", rows)

    def _gather(self, name: str, rows: pl.DataFrame) -> None:
        """Keep a small part's rows until there are many; then write them again as one part, and remove the small."""
        if rows.estimated_size() >= _SMALL_BYTES:
            return
        self._gathered[f"{self._folder}/{name}"] = rows
        if len(self._gathered) >= _GATHERED_PARTS:
            self._write(pl.concat(self._gathered.values()))
            self._root.delete(*self._gathered)
            self._gathered = {}
