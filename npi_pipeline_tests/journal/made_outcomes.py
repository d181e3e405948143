"""Outcomes for the journal's tests, and the journal read back in a form that compares easily."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable

import polars as pl

from npi_pipeline.journal import JournalWriter, compacted_parts, frame_of
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.storage.data_root import DataRoot

DAY = dt.date(2026, 11, 23)
_runs = itertools.count(1)
MORNING = dt.datetime(2026, 11, 23, 6, tzinfo=dt.timezone.utc)


def npi(number: int) -> str:
    return str(1_000_000_000 + number)


def made(number: int, kind: Outcome = Outcome.found, *, second: float = 0, body: str | None = None) -> NpiOutcome:
    """An outcome of the NPI ``number``, fetched so many seconds after six in the morning."""
    has_body = kind not in {Outcome.failed, Outcome.invalid}
    return NpiOutcome(
        npi=npi(number),
        verdict=Verdict(kind, None if has_body else "a reason", retryable=kind is Outcome.failed),
        fetched_at=MORNING + dt.timedelta(seconds=second),
        attempts=1,
        status=200 if has_body else None,
        body=(body or f'{{"number":"{npi(number)}","text":"é\\n\\u0000"}}') if has_body else None,
    )


def write(root: DataRoot, outcomes: Iterable[NpiOutcome], day: dt.date = DAY, registry: str = "") -> None:
    """A run that keeps these outcomes."""
    with JournalWriter(root, day, run=next(_runs), registry=registry) as journal:
        for outcome in outcomes:
            journal.append(outcome)


def npis(numbers: Iterable[int]) -> pl.Series:
    """A list of NPIs."""
    return pl.Series("npi", [npi(number) for number in numbers], dtype=pl.String)


def compacted_rows(root: DataRoot, day: dt.date = DAY) -> list[tuple[object, ...]]:
    """All rows of the compacted journal, whichever run wrote them."""
    return [row for part in compacted_parts(root, day) for row in part.drop("run").iter_rows()]


def rows_of(*outcomes: NpiOutcome) -> list[tuple[object, ...]]:
    """These outcomes as the journal's rows, whichever run wrote them."""
    return frame_of(list(outcomes), run=1).drop("run").rows()
