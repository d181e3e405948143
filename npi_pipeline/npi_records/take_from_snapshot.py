"""What the registry's own files say, taken over into a day that asks the API: the API is asked only for the rest.

Taken is what a snapshot has of an NPI: a provider, or that it is deactivated. Of an NPI that it does not have, or whose
row cannot be read, the API is asked. This misleads where something changed since the snapshot's last file. It is
bounded: nothing is taken from a snapshot that is older than NPI_BULK_AGE_LIMIT_DAYS, and each row says which file it is
from.
Not here: asking (``record_outcomes``), and days that ask nobody (``record_snapshot``).
"""

from __future__ import annotations

import datetime as dt
import logging

import polars as pl

from npi_pipeline.journal import SCHEMA, add_rows, next_run
from npi_pipeline.outcomes import Outcome
from npi_pipeline.registries.nppes_bulk.bodies import record_bodies
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot, rows_for
from npi_pipeline.storage.data_root import DataRoot

logger = logging.getLogger(__name__)

_IS_FOUND = pl.col("deactivated_on").is_null()


def take_from_snapshot(
    root: DataRoot,
    day: dt.date,
    npis: pl.Series,
    snapshot: Snapshot,
    *,
    registry: str,
    age_limit_days: int,
    known: pl.DataFrame,
) -> int:
    """Take what ``snapshot`` has of ``npis`` into the journal of ``day``, as answers of ``registry``; how many it were.

    ``known`` is what ``read_outcomes`` gives for ``day``. The caller holds the day's lock. Raises BulkFileError,
    StorageError.
    """
    age = (day - snapshot.as_of).days
    if age > age_limit_days:
        logger.warning(
            "nothing is taken from the registry's files: they are as of %s, %s days before %s (NPI_BULK_AGE_LIMIT_DAYS="
            "%s); the registry is asked for every NPI",
            snapshot.as_of,
            age,
            day,
            age_limit_days,
        )
        return 0
    names = pl.Series([f"taken from the registry's file {file.name}, not asked for" for file in snapshot.files])
    dates = pl.Series([file.date for file in snapshot.files], dtype=pl.Date)
    run = next_run(known)
    taken = 0
    for rows in rows_for(root, snapshot, npis.unique().sort().cast(pl.UInt32)):
        readable = rows.filter(pl.col("problem").is_null())
        sources = pl.DataFrame({"reason": names.gather(readable["file"]), "date": dates.gather(readable["file"])})
        answers = readable.with_columns(sources, body=record_bodies(readable)).select(
            pl.col("npi").cast(pl.String),
            run=pl.lit(run, SCHEMA["run"]),
            outcome=pl.when(_IS_FOUND).then(pl.lit(Outcome.found.value)).otherwise(pl.lit(Outcome.deactivated.value)),
            reason="reason",
            retryable=pl.lit(value=False),
            status=pl.lit(None, SCHEMA["status"]),
            attempts=pl.lit(0, SCHEMA["attempts"]),
            fetched_at=pl.col("date").cast(SCHEMA["fetched_at"]),
            body=pl.when(_IS_FOUND).then("body"),
        )
        add_rows(root, day, registry, answers)
        taken += answers.height
    return taken
