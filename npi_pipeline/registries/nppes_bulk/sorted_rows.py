"""Rows in the order of their NPIs, taken range by range; and how rows in any order become such, with little memory.

Not here: what the rows are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

LAST_NPI = 2**32 - 1

# As polars counts them: the memory that is taken is three times as much.
_RUN_BYTES = 24 << 20
_CHUNK_BYTES = 384 << 10


class SortedRows:
    """Frames whose rows go on in the order of the column ``npi``, taken up to one NPI after another."""

    def __init__(self, frames: Iterator[pl.DataFrame]) -> None:
        self._frames = frames
        self._left: pl.DataFrame | None = None

    def up_to(self, last: int) -> Iterator[pl.DataFrame]:
        """What was not taken yet of the rows whose NPI is ``last`` or lower."""
        while True:
            frame = self._left if self._left is not None else next(self._frames, None)
            self._left = None
            if frame is None:
                return
            cut = int(frame["npi"].search_sorted(last, side="right"))
            if cut:
                yield frame.head(cut)
            if cut < frame.height:
                self._left = frame.slice(cut)
                return


class Sorter:
    """Takes rows in any order and gives them by NPI; those of one NPI stay in the order in which they came.

    What is more than a run's worth of memory goes into ``folder``, as sorted runs, until it is asked for.
    """

    def __init__(self, folder: Path, schema: pl.Schema, run_bytes: int = _RUN_BYTES) -> None:
        self._folder, self._schema, self._run_bytes = folder, schema, run_bytes
        self._waiting: list[pl.DataFrame] = []
        self._bytes = 0
        self._runs: list[SortedRows] = []
        self.npis: list[pl.Series] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows."""
        if rows.is_empty():
            return
        self._waiting.append(rows)
        self.npis.append(rows["npi"])
        self._bytes += int(rows.estimated_size())
        if self._bytes > self._run_bytes:
            self._runs.append(SortedRows(self._kept(self._run())))

    def finish(self) -> None:
        """Say that all rows are there. The last run stays in memory."""
        if self._waiting:
            self._runs.append(SortedRows(iter([self._run()])))

    def up_to(self, last: int) -> pl.DataFrame:
        """What was not taken yet of the rows whose NPI is ``last`` or lower."""
        found = [frame for run in self._runs for frame in run.up_to(last)]
        if not found:
            return self._schema.to_frame()
        return pl.concat(found).sort("npi", maintain_order=True)

    def _run(self) -> pl.DataFrame:
        run = pl.concat(self._waiting).sort("npi", maintain_order=True)
        self._waiting, self._bytes = [], 0
        return run

    def _kept(self, run: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Write a run in chunks, which are small since one of each run is in memory when they are merged."""
        chunks = max(int(run.estimated_size()) // _CHUNK_BYTES, 1)
        rows = -(-run.height // chunks)
        paths: list[Path] = []
        for start in range(0, run.height, rows):
            path = self._folder / f"{len(self._runs)}-{len(paths)}.arrow"
            run.slice(start, rows).write_ipc(path, compression="lz4")
            paths.append(path)
        return map(_read, paths)


def _read(path: Path) -> pl.DataFrame:
    frame = pl.read_ipc(path)
    path.unlink()
    return frame
