"""One day's outcomes, by several workers: a plan, a shard for each of them, and the day sealed once all are whole.

The plan and the sealing hold the day's lock, a worker that of its shard. So a shard is resumed, repeated, cancelled and
locked by itself, on any machine that reaches the data root; what it has is in the journal like any other outcome.
Not here: the stages of asking (``asking``), who runs what where (``orchestration``).
"""

from __future__ import annotations

import collections
import datetime as dt
import logging
from collections.abc import Iterable, Mapping, Sequence

from npi_pipeline import clock
from npi_pipeline.days.lock import day_lock
from npi_pipeline.days.shard import Shard, cut_in_shards, shard_lock
from npi_pipeline.http_fetch.fetch import FetchReport
from npi_pipeline.journal import JournalError, compact_journal, next_run, read_outcomes, unchanged_journal
from npi_pipeline.npi_records.asking import Asked, Asking, ask, known_outcomes, npis_to_ask, prepare
from npi_pipeline.npi_records.credibility import disbelieved
from npi_pipeline.npi_records.record_outcomes import RecordedDay
from npi_pipeline.npi_records.shard_plan import (
    ShardPlan,
    ShardReport,
    keep_plan,
    keep_report,
    plan_of,
    reports_of,
    withdraw_plan,
    workers_of,
)
from npi_pipeline.npi_records.shared_caps import SharedCaps
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot
from npi_pipeline.settings import FetchSettings
from npi_pipeline.storage.data_root import unique_name

logger = logging.getLogger(__name__)

# One fetch alone keeps below this share of refused requests, but where a registry refuses for no reason.
_MANY_REFUSED = 0.1


def plan_shards(
    asking: Asking,
    number: int,
    *,
    at_once: int,
    planned_by: str,
    asked_by: str,
    snapshot: Snapshot | None = None,
) -> ShardPlan:
    """Cut what is left to ask for of a day in at most ``number`` shards, and put this plan in force.

    ``at_once`` of them are worked on at the same time at most; where these would be more than requests may be in
    flight, there are fewer shards. ``planned_by`` names the calls that belong to this plan, ``asked_by`` those that go
    on with one another.
    Raises DayLockedError, also when a shard of an earlier plan is being worked on, and StorageError.
    """
    root, day = asking.root, asking.day
    with day_lock(root, day):
        withdraw_plan(root, day)
        prepared = prepare(asking, asked_by, snapshot)
        threads = asking.settings.threads
        shards = cut_in_shards(prepared.to_ask, number if at_once <= threads else min(number, threads))
        plan = ShardPlan(
            name=unique_name(),
            planned_by=planned_by,
            shards=tuple(shards),
            at_once=min(at_once, max(len(shards), 1)),
            run=next_run(prepared.known),
            since_run=prepared.since_run,
            reused=prepared.reused,
            taken=prepared.taken,
        )
        keep_plan(root, day, plan)
    return plan


def record_shard(asking: Asking, shard: Shard, *, planned_by: str) -> Asked:
    """See to it that each NPI of ``shard`` is asked for, but for what the journal has already.

    Interrupted at any moment, the journal keeps what arrived and the next call goes on from there.
    Raises DayLockedError when somebody else is at work on it or has planned the day anew, RegistryDownError,
    StorageError, JournalError.
    """
    root, day = asking.root, asking.day
    with shard_lock(root, day, shard) as held:
        plan = plan_of(root, day, planned_by)
        begun = clock.utc_now()
        known = known_outcomes(asking, shard)
        run = max(plan.run, next_run(known))

        def runs_beside() -> list[int]:
            of_all = read_outcomes(root, day, asking.registry.identity)["run"].unique()
            return [other for other in of_all if other >= plan.run and other != run]

        to_ask = npis_to_ask(shard.of(asking.npis), known, asking.settings.fetch_mode, plan.since_run)
        with SharedCaps(asking.settings, lambda: workers_of(root, day, plan)) as caps:
            asked = ask(
                asking,
                to_ask,
                known,
                run=run,
                shard=shard,
                held=held,
                runs_beside=runs_beside,
                caps=lambda: caps.now,
            )
        left = to_ask.len() - sum(asked.report.outcomes.values())
        if left:
            raise JournalError(f"shard {shard.name} of {day} was ended with {left} NPIs to ask for: run it again")
        held.ensure_held()
        keep_report(root, day, plan, shard, ShardReport(begun=begun, ended=clock.utc_now(), asked=asked))
    return asked


def seal_day(asking: Asking, *, planned_by: str) -> RecordedDay:
    """Compact the day's journal, once every shard of the plan is whole.

    What turned out not to be believed meanwhile is asked for again here. Raises as ``record_outcomes`` does, and
    JournalError when a shard is not whole.
    """
    root, day, registry, npis = asking.root, asking.day, asking.registry, asking.npis["npi"]
    with day_lock(root, day) as held:
        plan = plan_of(root, day, planned_by)
        reports = reports_of(root, day, plan)
        known = known_outcomes(asking)
        again = ask(asking, disbelieved(known), known, run=next_run(known))
        unchanged = unchanged_journal(root, day, npis, known, registry=registry.identity)
        compacted = unchanged or compact_journal(root, day, npis, held, registry=registry.identity)
    parts = [*(report.asked for report in reports), again]
    _warn_if_refused(day, asking.settings, plan.at_once, [part.report for part in parts])
    return RecordedDay(
        journal=compacted,
        asked=sum(part.npis for part in parts),
        reused=plan.reused,
        taken=plan.taken,
        probed=sum(part.probed for part in parts),
        report=_report_of_all(reports, again.report),
        is_unchanged=unchanged is not None,
    )


def _warn_if_refused(day: dt.date, settings: FetchSettings, at_once: int, reports: Sequence[FetchReport]) -> None:
    """What each shard learns for itself adds up to too much where a registry counts requests and answers soon."""
    refused = sum(report.refused for report in reports)
    attempts = sum(report.attempts for report in reports)
    if at_once == 1 or settings.requests_per_second or refused <= _MANY_REFUSED * attempts:
        return
    logger.warning(
        "%s of %s requests of %s were refused, by a registry that %d shards asked at once: set "
        "NPI_REQUESTS_PER_SECOND to what it allows, which the shards divide, or NPI_SHARDS_AT_ONCE to 1",
        f"{refused:,}",
        f"{attempts:,}",
        day,
        at_once,
    )


def _report_of_all(reports: Sequence[ShardReport], again: FetchReport) -> FetchReport:
    """Added up; of latencies the slowest shard's, of time that from the first one's beginning to the last one's end."""
    each = [*(report.asked.report for report in reports), again]
    seconds = again.seconds
    if reports:
        seconds += (max(report.ended for report in reports) - min(report.begun for report in reports)).total_seconds()
    outcomes = _added(report.outcomes for report in each)
    return FetchReport(
        attempts=sum(report.attempts for report in each),
        outcomes=outcomes,
        retries=dict(collections.Counter(_added(report.retries for report in each)).most_common()),
        refused=sum(report.refused for report in each),
        latency={percent: max(report.latency[percent] for report in each) for percent in again.latency},
        highest_limit=max(report.highest_limit for report in each),
        seconds=seconds,
        rate=sum(outcomes.values()) / seconds if seconds else 0.0,
    )


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: collections.Counter[str] = collections.Counter()
    for some in counts:
        total.update(some)
    return dict(total)
