"""A shard: a contiguous range of a day's NPIs, which one worker handles.

Not here: who is at work on which shard and when all are whole (``npi_records.shards``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import re
from contextlib import AbstractContextManager

import polars as pl

from npi_pipeline.days.lock import day_lock
from npi_pipeline.storage.data_root import DataRoot, HeldLock

_NAME = re.compile(r"(\d{10})-(\d{10})", re.ASCII)


@dataclasses.dataclass(frozen=True, order=True)
class Shard:
    """The valid NPIs from ``first`` to ``last``, both of them included."""

    first: str
    last: str

    @property
    def name(self) -> str:
        """Names its lock and the folder of its segments."""
        return f"{self.first}-{self.last}"

    @classmethod
    def called(cls, name: str) -> Shard | None:
        """The shard of that name; None when it is no shard's."""
        named = _NAME.fullmatch(name)
        return cls(*named.groups()) if named else None

    def overlaps(self, first: str, last: str) -> bool:
        """Whether an NPI from ``first`` to ``last`` may be in it."""
        return first <= self.last and self.first <= last

    def of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of ``frame`` whose ``npi`` is in it."""
        return frame.filter(pl.col("npi").is_between(pl.lit(self.first), pl.lit(self.last)))


def cut_in_shards(npis: pl.Series, number: int) -> list[Shard]:
    """The valid NPIs ``npis`` in at most ``number`` shards, in order, of one size but for one NPI; none of no NPIs."""
    ordered = npis.unique().sort()
    number = min(number, ordered.len())
    bounds = [ordered.len() * place // number for place in range(number + 1)] if number else []
    return [Shard(ordered[start], ordered[end - 1]) for start, end in itertools.pairwise(bounds)]


def shard_lock(root: DataRoot, day: dt.date, shard: Shard) -> AbstractContextManager[HeldLock]:
    """Be the only one at work on ``shard`` of ``day``. Raises DayLockedError as ``day_lock`` does, and StorageError."""
    return day_lock(root, day, f"shard_{shard.name}")
