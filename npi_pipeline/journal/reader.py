"""Reading the journal: what is known of each NPI, for a run that resumes, and the compacted rows, for later steps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

import polars as pl

from npi_pipeline.days.shard import Shard
from npi_pipeline.journal.rows import NO_ROWS, SCHEMA, WITHOUT_BODY, latest
from npi_pipeline.journal.segments import (
    CompactedJournal,
    JournalError,
    contents,
    is_whole,
    load_compacted_journal,
    part_paths,
    read_parts,
    rows_in,
)
from npi_pipeline.journal.snapshot_rows import with_bodies
from npi_pipeline.storage.data_root import DataRoot


def read_outcomes(root: DataRoot, day: dt.date, registry: str = "", shard: Shard | None = None) -> pl.DataFrame:
    """What is known of each NPI of ``day``, compacted or not: SCHEMA without ``body``, one row per NPI, sorted by npi.

    With a ``registry``, only what that one answered; with a ``shard``, only of its NPIs. A part that is damaged is set
    aside with a warning; its NPIs are then as good as never asked, so the caller holds the day's lock, or the shard's.
    Raises StorageError, JournalError.
    """
    parts = read_parts(root, day, part_paths(root, day, registry, shard), WITHOUT_BODY)
    rows = (part if shard is None else shard.of(part) for part in parts)
    return latest(pl.concat([NO_ROWS.select(WITHOUT_BODY), *rows]))


def read_compacted_journal(root: DataRoot, day: dt.date) -> CompactedJournal:
    """The compacted journal of ``day``: counts and parts. Raises JournalError when it is not, StorageError."""
    compacted = load_compacted_journal(root, day)
    if compacted is None:
        raise JournalError(f"the journal of {day} is not compacted: materialise npi_records for that day")
    return compacted


def compacted_parts(root: DataRoot, day: dt.date, columns: Sequence[str] = tuple(SCHEMA)) -> Iterator[pl.DataFrame]:
    """The compacted rows of ``day``, with some ``columns`` of SCHEMA or all, in the order of their NPIs.

    They come COMPACTED_PART_ROWS at a time at most. The bodies are read only when they are asked for.

    Raises JournalError when the journal is not compacted, or a part of it is damaged or missing, and StorageError.
    """
    yield from rows_of(root, read_compacted_journal(root, day), columns)


def rows_of(
    root: DataRoot, compacted: CompactedJournal, columns: Sequence[str] = tuple(SCHEMA)
) -> Iterator[pl.DataFrame]:
    """The rows of this very journal, as ``compacted_parts`` gives them; of one compacted since, none.

    Raises JournalError when a part is damaged or missing, as once the journal was compacted anew, and StorageError.
    """
    if "body" in columns and compacted.is_of_snapshot:
        others = [name for name in WITHOUT_BODY if name in {*columns, "npi", "outcome"}]
        for frame in with_bodies(root, compacted, rows_of(root, compacted, others)):
            yield frame.select(columns)
        return
    for path, content in contents(root, compacted.paths if "body" in columns else compacted.outcome_paths):
        if content is None or not is_whole(path, content):
            raise JournalError(
                f"{root.uri(path)} is {'missing' if content is None else 'damaged'}: "
                f"materialise npi_records for {compacted.day} again, it asks for the lost NPIs"
            )
        yield rows_in(content, list(columns))
