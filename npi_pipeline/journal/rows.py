"""The rows of the journal: their columns, and which of several rows of an NPI stands. Not here: files (``segments``).

``run`` numbers the runs that wrote rows of a day, in their order: it tells the newer of two rows, whatever the clock of
each of them said.
"""

from __future__ import annotations

import polars as pl

from npi_pipeline.outcomes import NpiOutcome, Outcome

SCHEMA = pl.Schema(
    [
        ("npi", pl.String),
        ("run", pl.UInt32),
        ("outcome", pl.String),
        ("reason", pl.String),
        ("retryable", pl.Boolean),
        ("status", pl.UInt16),
        ("attempts", pl.UInt32),
        ("fetched_at", pl.Datetime("ms", "UTC")),
        ("body", pl.String),
    ]
)
WITHOUT_BODY = [name for name in SCHEMA if name != "body"]
NO_ROWS = pl.DataFrame(schema=SCHEMA)

_FAILED = Outcome.failed.value
# Of a row: whether a later run of the day in mode `missing` leaves this NPI alone.
IS_FINAL = (pl.col("outcome") != _FAILED) | ~pl.col("retryable")


def next_run(known: pl.DataFrame) -> int:
    """The number of a run that begins when these rows are ``known``. Whoever takes it holds the day's lock."""
    highest = known["run"].max()
    return 1 + highest if isinstance(highest, int) else 1


def frame_of(outcomes: list[NpiOutcome], run: int) -> pl.DataFrame:
    """Outcomes as rows of the journal (SCHEMA) that ``run`` wrote, in their order."""
    return pl.DataFrame(
        {
            "npi": [outcome.npi for outcome in outcomes],
            "run": [run] * len(outcomes),
            "outcome": [outcome.verdict.outcome.value for outcome in outcomes],
            "reason": [outcome.verdict.reason for outcome in outcomes],
            "retryable": [outcome.verdict.retryable for outcome in outcomes],
            "status": [outcome.status for outcome in outcomes],
            "attempts": [outcome.attempts for outcome in outcomes],
            "fetched_at": [outcome.fetched_at for outcome in outcomes],
            "body": [outcome.body for outcome in outcomes],
        },
        schema=SCHEMA,
    )


def latest(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per NPI, sorted by npi: that of the last run.

    Of one run the one fetched last, and of two of the same moment rather an answer than a failure. Whatever else tells
    two rows apart decides after that, so that the order of arrival never does.
    """
    is_one_of_several = pl.col("npi").is_duplicated()
    is_answer = pl.col("outcome") != _FAILED
    others = [name for name in rows.columns if name not in {"npi", "run", "fetched_at"}]
    several = rows.filter(is_one_of_several).sort(
        "npi",
        "run",
        "fetched_at",
        is_answer,
        *others,
        descending=[False, True, True, True, *[False] * len(others)],
        nulls_last=True,
    )
    first_of_each = several.unique("npi", keep="first", maintain_order=True)
    return pl.concat([rows.filter(~is_one_of_several), first_of_each]).sort("npi")
