"""Answers of one day that serve another: a backfill over the same list asks once per NPI and not once per day.

Not here: how old an answer may be (a setting), and asking for the rest.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable

import polars as pl

from npi_pipeline import clock
from npi_pipeline.days.paths import days_compacted_since
from npi_pipeline.journal.rows import SCHEMA, next_run
from npi_pipeline.journal.segments import (
    CompactedJournal,
    JournalError,
    contents,
    is_whole,
    load_compacted_journal,
    new_stem,
    rows_in,
    segments_folder,
    write_part,
)
from npi_pipeline.outcomes import Outcome
from npi_pipeline.storage.data_root import DataRoot

logger = logging.getLogger(__name__)

_ANSWERS = [Outcome.found.value, Outcome.not_found.value, Outcome.deactivated.value]


def reuse_answers(
    root: DataRoot,
    day: dt.date,
    npis: pl.Series,
    registry: str,
    not_before: dt.datetime,
    *,
    known: pl.DataFrame,
    may_serve: Callable[[CompactedJournal], bool] = lambda _: True,
) -> int:
    """Take answers about ``npis`` into the journal of ``day`` from other days' compacted journals; how many it were.

    Only what ``registry`` (as given to ``compact_journal``) answered not before ``not_before`` is taken, the latest
    first, from journals that ``may_serve``, and nothing that is dated in the future: how old it is nobody knows. While
    a journal was compacted in the future nothing at all is: the clock may be behind, and old answers seem young. The
    rows keep their ``fetched_at`` and are those of a run of their own. ``known`` is what ``read_outcomes`` gives for
    ``day``: an answer older than that is not taken. The caller holds the day's lock. Raises StorageError.
    """
    latest_moment = clock.utc_now() + clock.MACHINES_APART
    journals = _recent_journals(root, day, registry, not_before)
    if journals and journals[0].compacted_at > latest_moment:
        logger.warning(
            "no answers are taken over from other days: the journal of %s was compacted in the future, at %s UTC, so "
            "how old answers are cannot be told; set this machine's clock or, if it is right, run that day with "
            "NPI_FETCH_MODE=all",
            journals[0].day,
            f"{journals[0].compacted_at:%Y-%m-%d %H:%M:%S}",
        )
        return 0
    wanted = npis.unique()
    known_since = known.select("npi", known_at="fetched_at")
    is_young = pl.col("fetched_at").is_between(not_before, latest_moment)
    run = pl.lit(next_run(known), SCHEMA["run"]).alias("run")
    stem = new_stem(day)
    taken = 0
    for journal in journals:
        if not _serves(journal, may_serve):
            continue
        for path, content in contents(root, journal.paths):
            # Damaged, or compacted again meanwhile: then it is simply not reused.
            if content is None or not is_whole(path, content):
                continue
            answers = rows_in(content, list(SCHEMA)).filter(
                pl.col("npi").is_in(wanted.implode()),
                pl.col("outcome").is_in(_ANSWERS),
                is_young,
            )
            may_stand = pl.col("known_at").is_null() | (pl.col("fetched_at") >= pl.col("known_at"))
            rows = (
                answers.join(known_since, on="npi", how="left").filter(may_stand).with_columns(run).select(list(SCHEMA))
            )
            if rows.is_empty():
                continue
            write_part(root, segments_folder(day, registry), f"{stem}-{taken:07}", rows)
            taken += rows.height
            wanted = wanted.filter(~wanted.is_in(rows["npi"].implode()))
        if wanted.is_empty():
            break
    return taken


def _recent_journals(root: DataRoot, day: dt.date, registry: str, not_before: dt.datetime) -> list[CompactedJournal]:
    """Other days' journals that may hold such answers, the one compacted last first."""
    # By their marks, so that of a thousand days only the few that can serve are read, or listed.
    days = days_compacted_since(root, not_before.date())
    journals = (_readable_journal(root, other) for other in days if other != day)
    # What is in a journal was fetched before it was compacted.
    recent = [
        journal
        for journal in journals
        if journal is not None and journal.registry == registry and journal.compacted_at >= not_before
    ]
    return sorted(recent, key=lambda journal: (journal.compacted_at, journal.day), reverse=True)


def _serves(journal: CompactedJournal, may_serve: Callable[[CompactedJournal], bool]) -> bool:
    """Whether it may, as far as it can be told: of a damaged one it cannot."""
    try:
        return may_serve(journal)
    except JournalError as error:
        logger.warning("no answers are taken over from %s: %s", journal.day, error)
        return False


def _readable_journal(root: DataRoot, day: dt.date) -> CompactedJournal | None:
    """The compacted journal of another day. One that cannot be understood is that day's problem: it is not reused."""
    try:
        return load_compacted_journal(root, day)
    except JournalError as error:
        logger.warning("no answers are taken over from %s: %s", day, error)
        return None
