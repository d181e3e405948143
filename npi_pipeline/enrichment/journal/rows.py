"""The rows of the journal: their columns, and which of several rows of an NPI stands. Not here: files (``parts``)."""

from __future__ import annotations

import polars as pl

from npi_pipeline.enrichment.outcomes import NpiOutcome, Outcome

SCHEMA = pl.Schema(
    [
        ("npi", pl.String),
        ("outcome", pl.String),
        ("reason", pl.String),
        ("passing", pl.Boolean),
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
IS_FINAL = (pl.col("outcome") != _FAILED) | ~pl.col("passing")


def frame_of(outcomes: list[NpiOutcome]) -> pl.DataFrame:
    """Outcomes as rows of the journal (SCHEMA), in their order."""
    return pl.DataFrame(
        {
            "npi": [outcome.npi for outcome in outcomes],
            "outcome": [outcome.verdict.outcome.value for outcome in outcomes],
            "reason": [outcome.verdict.reason for outcome in outcomes],
            "passing": [outcome.verdict.passing for outcome in outcomes],
            "status": [outcome.status for outcome in outcomes],
            "attempts": [outcome.attempts for outcome in outcomes],
            "fetched_at": [outcome.fetched_at for outcome in outcomes],
            "body": [outcome.body for outcome in outcomes],
        },
        schema=SCHEMA,
    )


def latest(rows: pl.DataFrame) -> pl.DataFrame:
    """One row an NPI, sorted by npi: the one fetched last; of two of the same moment rather an answer than a failure.

    Whatever else tells two rows apart decides after that, so that the order of arrival never does.
    """
    is_one_of_several = pl.col("npi").is_duplicated()
    is_answer = pl.col("outcome") != _FAILED
    others = [name for name in rows.columns if name not in {"npi", "fetched_at"}]
    several = rows.filter(is_one_of_several).sort(
        "npi", "fetched_at", is_answer, *others, descending=[False, True, True, *[False] * len(others)]
    )
    first_of_each = several.unique("npi", keep="first", maintain_order=True)
    return pl.concat([rows.filter(~is_one_of_several), first_of_each]).sort("npi")
