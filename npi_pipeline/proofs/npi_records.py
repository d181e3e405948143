"""What is claimed of a day's outcomes: that each NPI has one, and that the answers are those of a registry that works.

Not here: which answers are believed (``npi_records.credibility``).
"""

from __future__ import annotations

import datetime as dt
import statistics

import polars as pl

from npi_pipeline import clock
from npi_pipeline.findings import Finding, Npis, same_npis
from npi_pipeline.journal import SCHEMA, CompactedJournal, JournalError, compacted_parts, read_compacted_journal
from npi_pipeline.npi_list.keep_npi_list import kept_npi_list
from npi_pipeline.npi_records.credibility import UNKNOWN, not_found_is_credible, same_records, unknown_share
from npi_pipeline.npi_records.registry_probe import recent_journals
from npi_pipeline.outcomes import Outcome
from npi_pipeline.settings import CheckSettings
from npi_pipeline.storage.data_root import DataRoot

# So few more than on recent days are chance, however short the list is.
_MIN_UNUSUAL = 3
_EXAMPLES = 3
_EXAMPLES_OF_A_REASON = 3
_IS_FAILED = pl.col("outcome") == Outcome.failed.value
_ASK_AGAIN = (
    "; to ask for them again, run the day with NPI_FETCH_MODE=not_found; where the list is so, raise "
    "NPI_NOT_FOUND_CHANGE_LIMIT and NPI_NOT_FOUND_SHARE_LIMIT"
)


def every_npi_has_one_outcome(root: DataRoot, day: dt.date) -> Finding:
    """The NPIs of the list and the NPIs of the compacted journal are the same set, none twice."""
    listed = kept_npi_list(root, day).as_set
    recorded = Npis.of(part["npi"] for part in compacted_parts(root, day, ("npi",)))
    return same_npis("the list", listed, "the journal", recorded)


def failed_share_is_under_the_limit(root: DataRoot, day: dt.date, settings: CheckSettings) -> Finding:
    """No more than the allowed share of NPIs ended as failed."""
    failed = _recorded_where(root, day, _IS_FAILED, "npi", "outcome", "reason")
    npis = sum(read_compacted_journal(root, day).outcomes.values())
    share = failed.height / npis if npis else 0.0
    reasons = _by_reason(failed).select("reason", "npis").head(3)
    why = "".join(f"; {reason} ({count:,})" for reason, count in reasons.iter_rows())
    holds = share <= settings.failed_share_limit
    remedy = "" if holds else "; materialise the day again to repeat them, or raise NPI_FAILED_SHARE_LIMIT"
    return Finding(
        holds=holds,
        line=f"{failed.height:,} of {npis:,} NPIs failed ({share:.2%}, limit "
        f"{settings.failed_share_limit:.2%}){why}{remedy}",
        figures={"failed": failed.height, "failed_share": share},
    )


def failure_reasons(root: DataRoot, day: dt.date) -> pl.DataFrame:
    """Why NPIs ended as failed, the most common reason first, one row each.

    ``npis`` of them for this ``reason``, which is ``share`` of all that failed, and a few as ``examples``. Reasons that
    differ in naming each its own NPI are one. Raises JournalError when the journal is not compacted.
    """
    return _by_reason(_recorded_where(root, day, _IS_FAILED, "npi", "outcome", "reason"))


def _recorded_where(root: DataRoot, day: dt.date, wanted: pl.Expr, *columns: str) -> pl.DataFrame:
    """The rows of the day's compacted journal that are ``wanted``: few, and no others are in memory for long."""
    parts = (part.filter(wanted) for part in compacted_parts(root, day, columns))
    return pl.concat([SCHEMA.to_frame().select(columns), *parts])


def _by_reason(failed: pl.DataFrame) -> pl.DataFrame:
    without_npi = pl.col("reason").str.split(pl.col("npi")).list.join("{npi}")
    return (
        failed.group_by(reason=without_npi)
        .agg(npis=pl.len(), examples=pl.col("npi").sort().head(_EXAMPLES_OF_A_REASON))
        .sort(pl.col("npis"), "reason", descending=[True, False])
        .select(
            "reason",
            "npis",
            share=pl.col("npis") / failed.height,
            examples=pl.col("examples").list.join(", "),
        )
    )


def registry_knows_the_npis(root: DataRoot, day: dt.date, settings: CheckSettings) -> Finding:
    """No more than the allowed share of answers is not_found or deactivated, or NPIs found lately were found still."""
    journal = read_compacted_journal(root, day)
    limit = settings.not_found_share_limit
    share = unknown_share(journal.outcomes)
    counts = _counts(journal)
    line = f"{' and '.join(counts)} of {_answers(journal):,} answers ({share:.2%}, limit {limit:.2%})"
    figures = {"not_found_share": share}
    if share <= limit:
        return Finding(holds=True, line=line, figures=figures)
    if not_found_is_credible(root, journal, limit):
        return Finding(holds=True, line=f"{line}, and the registry still finds what it found lately", figures=figures)
    return Finding(
        holds=False,
        line=f"{line}, and no NPI that was found lately is known to be found still; see whether NPI_REGISTRY_URL is "
        "right and run the day again, it asks for them again; where the list is so, set NPI_NOT_FOUND_SHARE_LIMIT=1",
        figures=figures,
    )


def not_found_is_like_recent_days(root: DataRoot, day: dt.date, settings: CheckSettings) -> Finding:
    """The shares of not_found and of deactivated are not far above their medians on recent days, nor over the limit."""
    journal = read_compacted_journal(root, day)
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
            holds = holds and (more < _MIN_UNUSUAL or more <= settings.not_found_change_limit * answers)
        lines.append(line)
    return Finding(holds=holds, line="; ".join(lines) + ("" if holds else _ASK_AGAIN), figures=figures)


def records_tell_npis_apart(root: DataRoot, day: dt.date, settings: CheckSettings) -> Finding:
    """The registry does not give one and the same record for nearly all NPIs; told where no record names its NPI."""
    journal = read_compacted_journal(root, day)
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
    rows = _recorded_where(root, day, pl.col("fetched_at") > latest_moment, "npi", "fetched_at")
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


def _is_comparable(root: DataRoot, other: CompactedJournal, limit: float) -> bool:
    """Whether the answers of another day are believed; that one is damaged is its own problem."""
    try:
        return not_found_is_credible(root, other, limit)
    except JournalError:
        return False


def _answers(journal: CompactedJournal) -> int:
    return sum(journal.outcomes.get(outcome.value, 0) for outcome in (Outcome.found, *UNKNOWN))


def _share(journal: CompactedJournal, outcome: Outcome) -> float:
    answers = _answers(journal)
    return journal.outcomes.get(outcome.value, 0) / answers if answers else 0.0


def _counts(journal: CompactedJournal) -> list[str]:
    return [f"{journal.outcomes.get(outcome.value, 0):,} {outcome.value}" for outcome in UNKNOWN]
