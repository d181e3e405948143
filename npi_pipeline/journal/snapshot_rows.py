"""The rows of a journal whose bodies stand in a snapshot of the registry: outcomes and records side by side.

A day of a bulk registry keeps outcomes alone, for nine million bodies a day would be kept twice. ``journal.json`` names
the snapshot, and what is read here is proven against that one. Not here: the snapshot (``registries.nppes_bulk``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from npi_pipeline.journal.segments import CompactedJournal, JournalError
from npi_pipeline.outcomes import Outcome
from npi_pipeline.registries.nppes_bulk.bodies import record_bodies
from npi_pipeline.registries.nppes_bulk.prepared import DIGEST
from npi_pipeline.registries.nppes_bulk.snapshot import load_snapshot, rows_for
from npi_pipeline.registries.nppes_bulk.store_schema import RECORD_COLUMNS
from npi_pipeline.storage.data_root import DataRoot

_IS_FOUND = pl.col("outcome") == Outcome.found.value
_NO_BODIES = pl.DataFrame(schema={"npi": pl.String, "body": pl.String})


def found_records(
    root: DataRoot, compacted: CompactedJournal, outcomes: Iterable[pl.DataFrame], columns: Sequence[str]
) -> Iterator[pl.DataFrame]:
    """The found rows of ``outcomes``, and beside them some ``columns`` of their records, in order.

    ``outcomes`` are rows of ``compacted``, with npi and outcome. Raises JournalError when the snapshot lacks one of
    them, BulkFileError when the snapshot is gone or damaged, StorageError.
    """
    for frame in outcomes:
        found = frame.filter(_IS_FOUND)
        start = 0
        for records in _records_of(root, compacted, found["npi"], columns):
            yield pl.concat([found.slice(start, records.height), records.select(columns)], how="horizontal")
            start += records.height


def with_bodies(
    root: DataRoot, compacted: CompactedJournal, outcomes: Iterable[pl.DataFrame]
) -> Iterator[pl.DataFrame]:
    """The rows of ``outcomes`` with the column ``body``: the records as the registry's API would give them.

    Raises as ``found_records`` does.
    """
    for frame in outcomes:
        found = frame.filter(_IS_FOUND)["npi"]
        start = 0
        for records in _records_of(root, compacted, found, RECORD_COLUMNS):
            bodies = pl.DataFrame([found.slice(start, records.height), record_bodies(records).alias("body")])
            # With those that were not found before them.
            first = frame["npi"].search_sorted(bodies["npi"][0]) if start else 0
            start += records.height
            last = frame["npi"].search_sorted(found[start]) if start < found.len() else frame.height
            yield frame[first:last].join(bodies, on="npi", how="left", maintain_order="left")
        if found.is_empty():
            yield frame.join(_NO_BODIES, on="npi", how="left", maintain_order="left")


def bodies_of(root: DataRoot, compacted: CompactedJournal, npis: pl.Series) -> pl.Series:
    """The bodies of some found ``npis``, sorted; raises as ``found_records`` does."""
    bodies = [record_bodies(records) for records in _records_of(root, compacted, npis, RECORD_COLUMNS)]
    return pl.concat([_NO_BODIES["body"], *bodies])


def with_digests(
    root: DataRoot, compacted: CompactedJournal, outcomes: Iterable[pl.DataFrame]
) -> Iterator[pl.DataFrame]:
    """As ``with_bodies``, but the column ``body`` has what tells a body from another, at a fraction of the cost."""
    for frame in outcomes:
        found = frame.filter(_IS_FOUND)["npi"]
        digests = [records[DIGEST].cast(pl.String) for records in _records_of(root, compacted, found, (DIGEST,))]
        bodies = pl.DataFrame([found, pl.concat([_NO_BODIES["body"], *digests]).alias("body")])
        yield frame.join(bodies, on="npi", how="left", maintain_order="left")


def _records_of(
    root: DataRoot, compacted: CompactedJournal, npis: pl.Series, columns: Sequence[str]
) -> Iterator[pl.DataFrame]:
    """Some ``columns`` of the records of these found NPIs, one row each in their order, some at a time."""
    left = npis.cast(pl.UInt32)
    for records in rows_for(root, load_snapshot(root, compacted.registry), left, columns):
        if not records["npi"].equals(left.head(records.height)):
            break
        left = left.slice(records.height)
        yield records
    if not left.is_empty():
        raise JournalError(
            f"the snapshot of the registry from which {compacted.day} was recorded lacks a record near NPI {left[0]}: "
            "materialise registry_snapshot and npi_records for that day again"
        )
