"""The stages of recording a day's outcomes, for a day in one piece and for one in shards alike.

What is known, what other sources have, asking for the rest: whoever calls one holds the lock of what it is about.
Not here: their order and the locks (``record_outcomes``, ``shards``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
import threading
from collections.abc import Callable, Iterable

import polars as pl

from npi_pipeline import clock
from npi_pipeline.days.shard import Shard
from npi_pipeline.http_fetch.fetch import FetchReport, fetch
from npi_pipeline.http_fetch.progress import FetchProgress
from npi_pipeline.journal import (
    IS_FINAL,
    CompactedJournal,
    JournalWriter,
    add_rows,
    first_run_of_refetch,
    frame_of,
    next_run,
    read_outcomes,
    reuse_answers,
)
from npi_pipeline.npi_records.credibility import is_credible, not_credible, suspect_answers
from npi_pipeline.npi_records.credibility_monitor import CredibilityMonitor
from npi_pipeline.npi_records.registry_probe import read_probes
from npi_pipeline.npi_records.take_from_snapshot import take_from_snapshot
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import CheckSettings, FetchMode, FetchSettings
from npi_pipeline.storage.data_root import DataRoot, HeldLock

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asking:
    """What is asked for, of whom, how, and where the outcomes go.

    ``npis`` are those of the list, with the ``reason`` of those that are invalid. ``stop`` ends the asking within a
    second or two.
    """

    root: DataRoot
    day: dt.date
    npis: pl.DataFrame
    registry: Registry
    settings: FetchSettings
    checks: CheckSettings
    stop: threading.Event | None = None
    on_progress: Callable[[FetchProgress], None] | None = None

    @property
    def limit(self) -> float:
        """The share of answers that know nobody from which on they are in doubt."""
        return self.checks.not_found_share_limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is left to ask for once everything else has been taken over.

    ``known`` is what the journal knows, ``since_run`` the first run of those that this one goes on with, where it asks
    afresh. ``reused``: NPIs whose answer another day had. ``taken``: NPIs that stood in the registry's own files.
    """

    known: pl.DataFrame
    to_ask: pl.Series
    since_run: int | None
    reused: int
    taken: int


@dataclasses.dataclass(frozen=True)
class Asked:
    """How the asking went. ``probed``: NPIs that were asked for besides, because the answers were in doubt."""

    npis: int
    probed: int
    report: FetchReport


def known_outcomes(asking: Asking, shard: Shard | None = None) -> pl.DataFrame:
    """What the journal knows, of a ``shard`` or of all, once what is not believed is down as to be asked for again."""
    root, day, registry = asking.root, asking.day, asking.registry
    known = read_outcomes(root, day, registry.identity, shard)
    in_doubt = suspect_answers(known, asking.limit, read_probes(root, day, registry.identity))
    if in_doubt.is_empty():
        return known
    now = clock.utc_now()
    with JournalWriter(root, day, run=next_run(known), registry=registry.identity, shard=shard) as journal:
        for npi, outcome in in_doubt.select("npi", "outcome").iter_rows():
            verdict = Verdict(Outcome.failed, not_credible(outcome), retryable=True)
            journal.append(NpiOutcome(npi=npi, verdict=verdict, fetched_at=now))
    logger.warning("%s answers of %s are not believed: they are asked for again", f"{in_doubt.height:,}", day)
    return read_outcomes(root, day, registry.identity, shard)


def prepare(asking: Asking, asked_by: str | None, snapshot: Snapshot | None) -> Prepared:
    """Take over whatever need not be asked for: from the journal, the registry's own files, and other days.

    The invalid NPIs get their outcomes. ``asked_by`` names the calls that go on with one another.
    """
    root, day, registry, settings = asking.root, asking.day, asking.registry, asking.settings
    known = known_outcomes(asking)
    since_run: int | None = None
    if asked_by is not None and settings.fetch_mode is not FetchMode.missing:
        since_run = first_run_of_refetch(root, day, registry.identity, asked_by, next_run(known))
    to_ask = npis_to_ask(asking.npis, known, settings.fetch_mode, since_run)
    taken = 0
    if snapshot is not None and settings.fetch_mode is FetchMode.missing:
        taken = take_from_snapshot(
            root,
            day,
            to_ask,
            snapshot,
            registry=registry.identity,
            age_limit_days=asking.checks.bulk_age_limit_days,
            known=known,
        )
    if taken:
        known = read_outcomes(root, day, registry.identity)
        to_ask = npis_to_ask(asking.npis, known, settings.fetch_mode, since_run)
    reused = _reuse(asking, to_ask, known)
    if reused:
        known = read_outcomes(root, day, registry.identity)
        to_ask = npis_to_ask(asking.npis, known, settings.fetch_mode, since_run)
    invalid = invalid_outcomes(asking.npis, known)
    if invalid:
        add_rows(root, day, registry.identity, frame_of(invalid, next_run(known)))
    return Prepared(known=known, to_ask=to_ask, since_run=since_run, reused=reused, taken=taken)


def ask(
    asking: Asking,
    to_ask: pl.Series,
    known: pl.DataFrame,
    *,
    run: int,
    shard: Shard | None = None,
    held: HeldLock | None = None,
    runs_beside: Callable[[], Iterable[int]] = tuple,
    caps: Callable[[], FetchSettings] | None = None,
) -> Asked:
    """Ask the registry for ``to_ask``, as ``run`` of the day, and keep the outcomes as they come.

    Of a ``shard``, ``runs_beside`` tells which runs ask for the others at the same time, and ``caps`` what is left for
    this one of what may be asked at a time.
    Raises RegistryDownError, also when its answers are not to be believed, and StorageError.
    """
    root, day, registry = asking.root, asking.day, asking.registry
    settings = caps() if caps else asking.settings
    fetching = fetch(
        to_ask,
        registry,
        settings,
        total=to_ask.len(),
        stop=asking.stop,
        on_progress=asking.on_progress if to_ask.len() else None,
        caps=caps,
    )
    doubts = CredibilityMonitor(
        root,
        day,
        registry,
        settings,
        asking.limit,
        run=run,
        known=known,
        probes=read_probes(root, day, registry.identity),
        stop=asking.stop,
        runs_beside=runs_beside,
    )
    writer = JournalWriter(
        root,
        day,
        run=run,
        registry=registry.identity,
        async_writes=settings.async_writes,
        shard=shard,
        held=held,
    )
    # Closed at once when the journal or the run is interrupted: a traceback would keep it going.
    with writer as journal, contextlib.closing(iter(fetching)) as outcomes:
        for outcome in outcomes:
            journal.append(outcome)
            doubts.take_note(outcome)
    doubts.settle()
    return Asked(to_ask.len(), doubts.probed, fetching.report)


def _reuse(asking: Asking, npis: pl.Series, known: pl.DataFrame) -> int:
    """Take recent answers of other days over into this one, of those that are believed; how many."""
    root, settings = asking.root, asking.settings
    if settings.fetch_mode is not FetchMode.missing or not settings.reuse_hours or npis.is_empty():
        return 0
    not_before = clock.utc_now() - dt.timedelta(hours=settings.reuse_hours)

    def may_serve(journal: CompactedJournal) -> bool:
        return is_credible(root, journal, asking.limit)

    return reuse_answers(root, asking.day, npis, asking.registry.identity, not_before, known=known, may_serve=may_serve)


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


def invalid_outcomes(npis: pl.DataFrame, known: pl.DataFrame) -> list[NpiOutcome]:
    """An outcome for each invalid NPI that has none: those are never sent to the registry."""
    now = clock.utc_now()
    invalid = npis.filter(pl.col("reason").is_not_null()).join(known, on="npi", how="anti")
    return [
        NpiOutcome(npi=npi, verdict=Verdict(Outcome.invalid, reason), fetched_at=now)
        for npi, reason in invalid.select("npi", "reason").iter_rows()
    ]
