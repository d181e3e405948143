"""Rows in the order of their NPIs, taken range by range. Not here: how rows in any order become such (``sorter``)."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

LAST_NPI = 2**32 - 1


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
