"""One day's outcomes from a snapshot of the registry: nobody is asked, and each NPI of the list has one at once.

Not here: asking a registry over HTTP (``record_outcomes``), and how a snapshot is made (``registries.nppes_bulk``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator

import polars as pl

from npi_pipeline.check_digit import why_invalid
from npi_pipeline.days.lock import day_lock
from npi_pipeline.journal import (
    SCHEMA,
    WITHOUT_BODY,
    CompactedJournal,
    JournalError,
    keep_snapshot_outcomes,
    load_compacted_journal,
    rows_of,
)
from npi_pipeline.npi_list import NpiList
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.registries.nppes_api import NOT_FOUND
from npi_pipeline.registries.nppes_bulk.bodies import record_bodies
from npi_pipeline.registries.nppes_bulk.snapshot import FILE, FILE_TYPE, Snapshot, rows_for
from npi_pipeline.storage.data_root import DataRoot

# So many NPIs of the list are looked up at a time, and are a part of the journal.
PART_ROWS = 200_000

_LOOKED_UP = ("problem", "deactivated_on")


@dataclasses.dataclass(frozen=True)
class RecordedSnapshot:
    """What a run did for its day. ``is_unchanged``: the journal was of this list and snapshot already."""

    journal: CompactedJournal
    is_unchanged: bool


def record_snapshot(root: DataRoot, day: dt.date, npi_list: NpiList, snapshot: Snapshot) -> RecordedSnapshot:
    """See to it that each distinct NPI of the list has its outcome, as of ``snapshot``, in the journal of ``day``.

    Raises DayLockedError, BulkFileError when the snapshot is damaged, StorageError, JournalError.
    """
    npis = npi_list.npis.select("npi", "reason")
    with day_lock(root, day) as held:
        kept = _kept(root, day, npis["npi"], snapshot)
        if kept is not None:
            return RecordedSnapshot(kept, is_unchanged=True)
        journal = keep_snapshot_outcomes(
            root, day, lambda: _outcomes(root, npis, snapshot), held, registry=snapshot.identity
        )
    return RecordedSnapshot(journal, is_unchanged=False)


def lookup_in_snapshot(root: DataRoot, snapshot: Snapshot, npis: Iterable[str]) -> list[NpiOutcome]:
    """What ``snapshot`` says of a few NPIs, each distinct one once, in the order given.

    Raises BulkFileError when the snapshot is damaged, StorageError.
    """
    wanted = list(dict.fromkeys(npis))
    listed = pl.DataFrame(
        {"npi": wanted, "reason": list(map(why_invalid, wanted))}, schema={"npi": pl.String, "reason": pl.String}
    ).sort("npi")
    if not wanted:
        return []
    rows = pl.concat(_outcomes(root, listed, snapshot))
    found = rows.filter(pl.col("outcome") == Outcome.found.value)["npi"].cast(pl.UInt32)
    bodies = {
        str(npi): body
        for records in rows_for(root, snapshot, found)
        for npi, body in zip(records["npi"], record_bodies(records), strict=True)
    }
    outcomes = {
        row["npi"]: NpiOutcome(
            row["npi"],
            Verdict(Outcome(row["outcome"]), row["reason"]),
            row["fetched_at"],
            body=bodies.get(row["npi"]),
        )
        for row in rows.iter_rows(named=True)
    }
    return [outcomes[npi] for npi in wanted]


def _kept(root: DataRoot, day: dt.date, npis: pl.Series, snapshot: Snapshot) -> CompactedJournal | None:
    """The compacted journal of ``day``, when it is whole, and of these NPIs and this snapshot."""
    try:
        journal = load_compacted_journal(root, day)
        if journal is None or journal.registry != snapshot.identity or journal.rows != npis.len():
            return None
        start = 0
        for part in rows_of(root, journal, ("npi",)):
            if not part["npi"].equals(npis.slice(start, part.height)):
                return None
            start += part.height
    except JournalError:
        return None
    return journal


def _outcomes(root: DataRoot, npis: pl.DataFrame, snapshot: Snapshot) -> Iterator[pl.DataFrame]:
    """WITHOUT_BODY, a part at a time. A row is dated with the file that it is from, and what is in none, with the last.

    So the same files give the same rows, whenever they are read.
    """
    dates = pl.Series([file.date for file in snapshot.files], dtype=pl.Date)
    for part in npis.iter_slices(PART_ROWS):
        numbers = part.filter(pl.col("reason").is_null())["npi"].cast(pl.UInt32)
        rows = rows_for(root, snapshot, numbers, _LOOKED_UP)
        known = pl.concat([_NOBODY, *(some.select(_NOBODY.columns) for some in rows)])
        known = known.with_columns(pl.col("npi").cast(pl.String), date=dates.gather(known["file"]))
        yield (
            part.join(known, on="npi", how="left", maintain_order="left")
            .select(
                "npi",
                run=pl.lit(1, SCHEMA["run"]),
                outcome=_OUTCOME,
                reason=_REASON,
                retryable=pl.lit(value=False),
                status=pl.lit(None, SCHEMA["status"]),
                attempts=pl.lit(0, SCHEMA["attempts"]),
                fetched_at=pl.col("date").fill_null(snapshot.as_of).cast(SCHEMA["fetched_at"]),
            )
            .select(WITHOUT_BODY)
        )


_NOBODY = pl.DataFrame(schema={"npi": pl.UInt32, "problem": pl.String, "deactivated_on": pl.Date, FILE: FILE_TYPE})
_CASES = (
    (pl.col("reason").is_not_null(), Outcome.invalid, pl.col("reason")),
    (pl.col("file").is_null(), Outcome.not_found, pl.lit(NOT_FOUND)),
    (pl.col("problem").is_not_null(), Outcome.failed, pl.col("problem")),
    (
        pl.col("deactivated_on").is_not_null(),
        Outcome.deactivated,
        pl.format("CMS deactivated this NPI on {}", pl.col("deactivated_on").cast(pl.String)),
    ),
)
_OUTCOME = pl.coalesce(
    *(pl.when(is_so).then(pl.lit(outcome.value)) for is_so, outcome, _ in _CASES), pl.lit(Outcome.found.value)
)
_REASON = pl.coalesce(*(pl.when(is_so).then(reason) for is_so, _, reason in _CASES))
