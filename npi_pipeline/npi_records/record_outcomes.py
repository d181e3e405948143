"""One day's outcomes: which NPIs to ask for, asking, keeping, and holding the accounting identity.

Not here: how one NPI is asked for (``fetch``) and how an outcome is kept (``journal``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
import threading
from collections.abc import Callable, Sequence

import polars as pl

from npi_pipeline import clock
from npi_pipeline.days.lock import day_lock
from npi_pipeline.http_fetch.fetch import FetchReport, fetch
from npi_pipeline.http_fetch.progress import FetchProgress
from npi_pipeline.journal import (
    IS_FINAL,
    CompactedJournal,
    JournalWriter,
    compact_journal,
    first_run_of_refetch,
    next_run,
    read_outcomes,
    reuse_answers,
    unchanged_journal,
)
from npi_pipeline.npi_list import NpiList
from npi_pipeline.npi_records.credibility import is_credible, not_credible, suspect_answers
from npi_pipeline.npi_records.credibility_monitor import CredibilityMonitor
from npi_pipeline.npi_records.registry_probe import Probe, read_probes
from npi_pipeline.npi_records.take_from_snapshot import take_from_snapshot
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import CheckSettings, FetchMode, FetchSettings
from npi_pipeline.storage.data_root import DataRoot

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RecordedDay:
    """What a run did for its day: the compacted journal, and how the asking went.

    ``asked``: NPIs that the registry was asked for. ``reused``: NPIs whose answer another day had lately. ``taken``:
    NPIs whose answer stood in the registry's own files.
    ``probed``: NPIs found lately that it was asked for besides, because its answers were in doubt. ``is_unchanged``:
    the journal was compacted already, for this list, and nothing came since; it is left as it is.
    """

    journal: CompactedJournal
    asked: int
    reused: int
    probed: int
    report: FetchReport
    is_unchanged: bool = False
    taken: int = 0


def record_outcomes(
    root: DataRoot,
    day: dt.date,
    npi_list: NpiList,
    registry: Registry,
    settings: FetchSettings,
    *,
    checks: CheckSettings | None = None,
    asking: str | None = None,
    snapshot: Snapshot | None = None,
    stop: threading.Event | None = None,
    on_progress: Callable[[FetchProgress], None] | None = None,
) -> RecordedDay:
    """See to it that each distinct NPI of the list has exactly one outcome in the compacted journal of ``day``.

    What the journal already holds is not asked for again, but as ``settings.fetch_mode`` says; what it holds of another
    registry counts for nothing. Interrupted at any moment, the journal keeps what arrived and the next call goes on
    from there. For that the modes that ask afresh need to know which calls go on with one another: what an earlier call
    of the same ``asking`` settled is not asked for again in any mode.
    With a ``snapshot`` of the registry's own files, what stands in it is not asked for (see ``take_from_snapshot``).
    What a registry says that seems to know nobody (see ``credibility``, and ``checks`` for the limit) is kept and not
    believed: then RegistryDownError is raised, and the next call asks for it again.
    Raises DayLockedError, RegistryDownError, StorageError, and JournalError when an NPI is left without an outcome.
    """
    checks = checks or CheckSettings()
    limit = checks.not_found_share_limit
    npis = npi_list.npis
    with day_lock(root, day) as held:
        probes = read_probes(root, day, registry.identity)
        known = _known(root, day, registry, limit, probes)
        since_run: int | None = None
        if asking is not None and settings.fetch_mode is not FetchMode.missing:
            since_run = first_run_of_refetch(root, day, registry.identity, asking, next_run(known))
        to_ask = npis_to_ask(npis, known, settings.fetch_mode, since_run)
        taken = 0
        if snapshot is not None and settings.fetch_mode is FetchMode.missing:
            taken = take_from_snapshot(
                root,
                day,
                to_ask,
                snapshot,
                registry=registry.identity,
                age_limit_days=checks.bulk_age_limit_days,
                known=known,
            )
        if taken:
            known = read_outcomes(root, day, registry.identity)
            to_ask = npis_to_ask(npis, known, settings.fetch_mode, since_run)
        reused = _reuse(root, day, to_ask, registry, settings, known=known, limit=limit)
        if reused:
            known = read_outcomes(root, day, registry.identity)
            to_ask = npis_to_ask(npis, known, settings.fetch_mode, since_run)
        run = next_run(known)
        fetching = fetch(
            to_ask, registry, settings, total=to_ask.len(), stop=stop, on_progress=on_progress if to_ask.len() else None
        )
        doubts = CredibilityMonitor(
            root, day, registry, settings, limit, run=run, known=known, probes=probes, stop=stop
        )
        with JournalWriter(
            root, day, run=run, registry=registry.identity, async_writes=settings.async_writes
        ) as journal:
            for outcome in _invalid_outcomes(npis, known):
                journal.append(outcome)
            # Closed at once when the journal or the run is interrupted: a traceback would keep it going.
            with contextlib.closing(iter(fetching)) as outcomes:
                for outcome in outcomes:
                    journal.append(outcome)
                    doubts.take_note(outcome)
        doubts.settle()
        unchanged = unchanged_journal(root, day, npis["npi"], known, registry=registry.identity)
        compacted = unchanged or compact_journal(root, day, npis["npi"], held, registry=registry.identity)
    return RecordedDay(
        journal=compacted,
        asked=to_ask.len(),
        reused=reused,
        taken=taken,
        probed=doubts.probed,
        report=fetching.report,
        is_unchanged=unchanged is not None,
    )


def _known(root: DataRoot, day: dt.date, registry: Registry, limit: float, probes: Sequence[Probe]) -> pl.DataFrame:
    """What the journal knows, once those answers that are not believed are down in it as to be asked for again."""
    known = read_outcomes(root, day, registry.identity)
    in_doubt = suspect_answers(known, limit, probes)
    if in_doubt.is_empty():
        return known
    now = clock.utc_now()
    with JournalWriter(root, day, run=next_run(known), registry=registry.identity) as journal:
        for npi, outcome in in_doubt.select("npi", "outcome").iter_rows():
            verdict = Verdict(Outcome.failed, not_credible(outcome), retryable=True)
            journal.append(NpiOutcome(npi=npi, verdict=verdict, fetched_at=now))
    logger.warning("%s answers of %s are not believed: they are asked for again", f"{in_doubt.height:,}", day)
    return read_outcomes(root, day, registry.identity)


def _reuse(
    root: DataRoot,
    day: dt.date,
    npis: pl.Series,
    registry: Registry,
    settings: FetchSettings,
    *,
    known: pl.DataFrame,
    limit: float,
) -> int:
    """Take recent answers of other days over into this one, of those that are believed; how many."""
    if settings.fetch_mode is not FetchMode.missing or not settings.reuse_hours or npis.is_empty():
        return 0
    not_before = clock.utc_now() - dt.timedelta(hours=settings.reuse_hours)

    def may_serve(journal: CompactedJournal) -> bool:
        return is_credible(root, journal, limit)

    return reuse_answers(root, day, npis, registry.identity, not_before, known=known, may_serve=may_serve)


def npis_to_ask(npis: pl.DataFrame, known: pl.DataFrame, mode: FetchMode, since_run: int | None = None) -> pl.Series:
    """The valid NPIs of the list that ``mode`` asks for, given what the journal already knows.

    What has a final outcome since the run of the number ``since_run`` was asked for by one that this run goes on with.
    """
    valid = npis.filter(pl.col("reason").is_null())
    asked_before = pl.lit(value=False) if since_run is None else IS_FINAL & (pl.col("run") >= since_run)
    settled = {
        FetchMode.missing: IS_FINAL,
        FetchMode.failed: (pl.col("outcome") != Outcome.failed.value) | asked_before,
        FetchMode.not_found: (pl.col("outcome") == Outcome.found.value) | asked_before,
        FetchMode.all: asked_before,
    }[mode]
    return valid.join(known.filter(settled), on="npi", how="anti")["npi"]


def _invalid_outcomes(npis: pl.DataFrame, known: pl.DataFrame) -> list[NpiOutcome]:
    """An outcome for each invalid NPI that has none: those are never sent to the registry."""
    now = clock.utc_now()
    invalid = npis.filter(pl.col("reason").is_not_null()).join(known, on="npi", how="anti")
    return [
        NpiOutcome(npi=npi, verdict=Verdict(Outcome.invalid, reason), fetched_at=now)
        for npi, reason in invalid.select("npi", "reason").iter_rows()
    ]
