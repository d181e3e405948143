"""Why NPIs failed. Not here: the checks as such (``orchestration.test_checks``)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

from npi_pipeline.days.lock import day_lock
from npi_pipeline.journal import JournalWriter, compact_journal
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.proofs.npi_records import failure_reasons
from npi_pipeline.storage.local import LocalRoot

DAY = dt.date(2026, 11, 23)
FOUND = [f"10000000{number}" for number in range(10, 15)]
RESET = [f"10000000{number}" for number in range(20, 25)]
REFUSED = [f"10000000{number}" for number in range(30, 33)]
TIMED_OUT = ["1000000040"]


def compacted(root: LocalRoot, reasons: dict[str, str | None]) -> None:
    """A compacted journal of DAY: NPIs that failed for a reason, or were found where there is none."""
    now = dt.datetime(2026, 11, 23, tzinfo=dt.timezone.utc)
    with JournalWriter(root, DAY, run=1) as journal:
        for npi, reason in reasons.items():
            verdict = Verdict(Outcome.failed, reason, retryable=True) if reason else Verdict(Outcome.found)
            journal.append(NpiOutcome(npi=npi, verdict=verdict, fetched_at=now))
    with day_lock(root, DAY) as held:
        compact_journal(root, DAY, pl.Series("npi", list(reasons)), held)


def test_reasons_are_ordered_by_npis_with_their_share_and_the_first_three_as_examples(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    reasons = dict.fromkeys(FOUND) | dict.fromkeys(RESET, "reset") | dict.fromkeys(TIMED_OUT, "timed out")
    # As a registry's own words have it, each with its NPI, and one with another number.
    reasons |= {npi: f"error 1234567890 about {npi}" for npi in REFUSED}
    compacted(root, reasons)
    assert failure_reasons(root, DAY).rows() == [
        ("reset", 5, 5 / 9, ", ".join(RESET[:3])),
        ("error 1234567890 about {npi}", 3, 3 / 9, ", ".join(REFUSED)),
        ("timed out", 1, 1 / 9, TIMED_OUT[0]),
    ]


def test_a_day_on_which_nothing_failed_has_no_reasons(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    compacted(root, dict.fromkeys(FOUND))
    assert failure_reasons(root, DAY).is_empty()
