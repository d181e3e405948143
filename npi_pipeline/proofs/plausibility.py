"""What is claimed of a day's answers together: that they are those of a registry and of a clock that work.

As in ``accounting``, each function reads the files anew. Not here: which answers are believed (``belief``).
"""

from __future__ import annotations

import datetime as dt
import statistics

import polars as pl

from npi_pipeline import clock
from npi_pipeline.journal import JournalError, SealedJournal, read_sealed_journal
from npi_pipeline.npi_records.belief import UNKNOWN, not_found_is_believed, same_records, unknown_share
from npi_pipeline.npi_records.probe import recent_journals
from npi_pipeline.outcomes import Outcome
from npi_pipeline.proofs.accounting import Finding, recorded_rows
from npi_pipeline.settings import CheckSettings
from npi_pipeline.storage.data_root import DataRoot

# So few more than on recent days are chance, however short the list is.
_FEWEST_UNUSUAL = 3
_EXAMPLES = 3
_ASK_AGAIN = (
    "; to ask for them again, run the day with NPI_FETCH_MODE=not_found; where the list is so, raise "
    "NPI_NOT_FOUND_CHANGE_LIMIT and NPI_NOT_FOUND_SHARE_LIMIT"
)


def registry_knows_the_npis(root: DataRoot, day: dt.date, settings: CheckSettings) -> Finding:
    """No more than the allowed share of answers is not_found or deactivated, or NPIs found lately were found still."""
    journal = read_sealed_journal(root, day)
    limit = settings.not_found_share_limit
    share = unknown_share(journal.outcomes)
    counts = _counts(journal)
    line = f"{' and '.join(counts)} of {_answers(journal):,} answers ({share:.2%}, limit {limit:.2%})"
    figures = {"not_found_share": share}
    if share <= limit:
        return Finding(holds=True, line=line, figures=figures)
    if not_found_is_believed(root, journal, limit):
        return Finding(holds=True, line=f"{line}, and the registry still finds what it found lately", figures=figures)
    return Finding(
        holds=False,
        line=f"{line}, and no NPI that was found lately is known to be found still; see whether NPI_REGISTRY_URL is "
        "right and run the day again, it asks for them again; where the list is so, set NPI_NOT_FOUND_SHARE_LIMIT=1",
        figures=figures,
    )


def not_found_is_like_recent_days(root: DataRoot, day: dt.date, settings: CheckSettings) -> Finding:
    """The shares of not_found and of deactivated are not far above their medians on recent days, nor over the limit."""
    journal = read_sealed_journal(root, day)
    limit = settings.not_found_share_limit
    answers = _answers(journal)
    recent = [
        other
        for other in recent_journals(root, day, journal.registry, before=True)
        if _is_comparable(root, other, limit)
    ]
    holds = unknown_share(journal.outcomes) <= limit
    figures: dict[str, int | float | str] = {}
    lines = []
    for outcome in UNKNOWN:
        count, share = journal.outcomes.get(outcome.value, 0), _share(journal, outcome)
        figures[f"{outcome.value}_share"] = share
        line = f"{count:,} of {answers:,} answers are {outcome.value} ({share:.2%})"
        if recent:
            median = statistics.median(_share(other, outcome) for other in recent)
            figures[f"{outcome.value}_median_of_recent_days"] = median
            line += f", the median of {len(recent)} recent days is {median:.2%}"
            more = count - median * answers
            holds = holds and (more < _FEWEST_UNUSUAL or more <= settings.not_found_change_limit * answers)
        lines.append(line)
    return Finding(holds=holds, line="; ".join(lines) + ("" if holds else _ASK_AGAIN), figures=figures)


def records_tell_npis_apart(root: DataRoot, day: dt.date, settings: CheckSettings) -> Finding:
    """The registry does not give one and the same record for nearly all NPIs; told where no record names its NPI."""
    journal = read_sealed_journal(root, day)
    limit = settings.not_found_share_limit
    same = same_records(root, journal, limit)
    if same is None:
        return Finding(holds=True, line=f"no more than {limit:.0%} of the records are one and the same")
    found = journal.outcomes[Outcome.found.value]
    return Finding(
        holds=False,
        line=f"{same.len():,} of {found:,} NPIs have one and the same record (limit {limit:.2%}), e.g. "
        f"{', '.join(same.head(_EXAMPLES))}; see whether NPI_REGISTRY_URL is right and the registry in order, then run "
        "the day with NPI_FETCH_MODE=all; where it is so, set NPI_NOT_FOUND_SHARE_LIMIT=1",
        figures={"same_record": same.len()},
    )


def answers_are_not_of_the_future(root: DataRoot, day: dt.date) -> Finding:
    """No answer is dated later than now: a clock that was wrong says nothing about how old an answer is."""
    now = clock.utc_now()
    latest_moment = now + clock.MACHINES_APART
    rows = recorded_rows(root, day, "npi", "fetched_at").filter(pl.col("fetched_at") > latest_moment)
    if rows.is_empty():
        return Finding(holds=True, line="no answer is dated in the future", figures={"answers": 0})
    examples = ", ".join(f"{npi} {moment:%Y-%m-%d %H:%M:%S}" for npi, moment in rows.head(_EXAMPLES).iter_rows())
    return Finding(
        holds=False,
        line=f"{rows.height:,} answers are dated in the future (it is {now:%Y-%m-%d %H:%M:%S} UTC), e.g. "
        f"{examples}: no other day takes them over; set the clock of the machine that runs the days, then run the day "
        "with NPI_FETCH_MODE=all for their right dates",
        figures={"answers": rows.height},
    )


def _is_comparable(root: DataRoot, other: SealedJournal, limit: float) -> bool:
    """Whether the answers of another day are believed; that one is damaged is its own trouble."""
    try:
        return not_found_is_believed(root, other, limit)
    except JournalError:
        return False


def _answers(journal: SealedJournal) -> int:
    return sum(journal.outcomes.get(outcome.value, 0) for outcome in (Outcome.found, *UNKNOWN))


def _share(journal: SealedJournal, outcome: Outcome) -> float:
    answers = _answers(journal)
    return journal.outcomes.get(outcome.value, 0) / answers if answers else 0.0


def _counts(journal: SealedJournal) -> list[str]:
    return [f"{journal.outcomes.get(outcome.value, 0):,} {outcome.value}" for outcome in UNKNOWN]
