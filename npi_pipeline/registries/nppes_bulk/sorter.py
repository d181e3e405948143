"""Rows in any order made into rows in the order of their NPIs, by way of sorted runs in a folder of this machine.

The runs outlive their process: a sorter of the same folder goes on after the last run that was kept whole.
Not here: what the rows are, and who may use the folder (``scratch``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from pathlib import Path

import msgspec
import polars as pl

from npi_pipeline.registries.nppes_bulk.sorted_rows import SortedRows

# As polars counts them: the memory that is taken is three times as much.
_RUN_BYTES = 32 << 20
_CHUNK_BYTES = 512 << 10


class _Chunk(msgspec.Struct, frozen=True):
    name: str
    size: int


class _Run(msgspec.Struct, frozen=True):
    """A run that was kept whole: its chunks in the order of their NPIs, and the note that was kept with it."""

    chunks: list[_Chunk]
    note: str


_DECODER = msgspec.json.Decoder(_Run)
_ENCODER = msgspec.json.Encoder()


class Sorter:
    """Takes rows in any order and gives them by NPI; those of one NPI stay in the order in which they came.

    Rows are in memory until ``keep`` writes them into ``folder`` as a sorted run, in a thread of ``writer``. What
    a run is kept with, its ``note``, is how its caller knows where to go on after a kill.
    """

    def __init__(self, folder: Path, schema: pl.Schema, writer: Executor) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._schema, self._writer = folder, schema, writer
        self._waiting: list[pl.DataFrame] = []
        self._bytes = 0
        self._runs = _runs_in(folder)
        for left in folder.glob("*.json"):
            if int(left.stem) >= len(self._runs):
                left.unlink()
        self._writing: Future[_Run] | None = None
        self._sorted: list[SortedRows] = []
        self._npis = [_read(folder / chunk.name, ["npi"])["npi"] for run in self._runs for chunk in run.chunks]

    @property
    def note(self) -> str | None:
        """What was said with the newest run that is kept; None before the first one."""
        return self._runs[-1].note if self._runs else None

    @property
    def is_full(self) -> bool:
        """Whether so much waits in memory that it is to be kept as a run."""
        return self._bytes > _RUN_BYTES

    @property
    def npis(self) -> pl.Series:
        """The NPIs of all rows that were taken, in no order."""
        return pl.concat(self._npis) if self._npis else pl.Series("npi", [], pl.UInt32)

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows."""
        if rows.is_empty():
            return
        self._waiting.append(rows)
        self._npis.append(rows["npi"])
        self._bytes += int(rows.estimated_size())

    def keep(self, note: str) -> None:
        """Begin to write what waits in memory as a run, together with ``note``, once the run before is written."""
        self._wait()
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        self._writing = self._writer.submit(self._write, len(self._runs), waiting, note)

    def finish(self) -> None:
        """Wait until all that was taken is kept. From now on rows are given."""
        self._wait()
        self._sorted = [SortedRows(_read(self._folder / chunk.name) for chunk in run.chunks) for run in self._runs]

    def up_to(self, last: int) -> pl.DataFrame:
        """What was not given yet of the rows whose NPI is ``last`` or lower."""
        found = [frame for run in self._sorted for frame in run.up_to(last)]
        if not found:
            return self._schema.to_frame()
        return pl.concat(found).sort("npi", maintain_order=True)

    def skip(self, last: int) -> None:
        """Leave out what was not given yet of the rows whose NPI is ``last`` or lower."""
        for run in self._sorted:
            for _ in run.up_to(last):
                pass

    def _wait(self) -> None:
        if self._writing:
            self._runs.append(self._writing.result())
            self._writing = None

    def _write(self, number: int, waiting: list[pl.DataFrame], note: str) -> _Run:
        """Write a run in chunks, which are small since one of each run is in memory when they are merged."""
        rows = pl.concat(waiting or [self._schema.to_frame()]).sort("npi", maintain_order=True)
        waiting.clear()
        count = max(int(rows.estimated_size()) // _CHUNK_BYTES, 1)
        chunks: list[_Chunk] = []
        for chunk in rows.iter_slices(max(-(-rows.height // count), 1)):
            path = self._folder / f"{number}-{len(chunks)}.arrow"
            chunk.write_ipc(path, compression="lz4")
            chunks.append(_Chunk(path.name, path.stat().st_size))
        run = _Run(chunks, note)
        begun = self._folder / f"{number}.begun"
        begun.write_bytes(_ENCODER.encode(run))
        begun.rename(self._folder / f"{number}.json")
        return run


def _runs_in(folder: Path) -> list[_Run]:
    """The runs that were kept, from the first on, until one is not there or lacks something."""
    runs: list[_Run] = []
    with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
        while True:
            run = _DECODER.decode((folder / f"{len(runs)}.json").read_bytes())
            if not _is_whole(folder, run.chunks):
                break
            runs.append(run)
    return runs


def _is_whole(folder: Path, chunks: Iterable[_Chunk]) -> bool:
    return all((folder / chunk.name).stat().st_size == chunk.size for chunk in chunks)


def _read(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    return pl.read_ipc(path, columns=columns)
