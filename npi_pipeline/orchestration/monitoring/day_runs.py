"""What Dagster's instance knows of a day: the runs that were to make it, and whether more are on their way.

Not here: what is really there of the day (its files say so: ``recent_days``), and runs whose process is gone
(``orphaned_runs``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterator

import dagster as dg

from npi_pipeline.orchestration.dagster_internals import (
    ASSET_RESUME_RETRY_TAG,
    RESUME_RETRY_TAG,
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
    partition_set_snap_name_for_job_name,
)
from npi_pipeline.orchestration.daily_job import JOB_NAME, STATE_FILES, is_daily_run

PARTITION_TAG = "dagster/partition"
SCHEDULE_TAG = "dagster/schedule_name"

# A run that is only made is submitted within the second by whoever made it, or made again after a crash.
IN_FLIGHT = frozenset(
    {
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    }
)
_PARTITION_SET = partition_set_snap_name_for_job_name(JOB_NAME)
# What was re-executed from its failure on, of which the UI takes those assets alone that had failed.
_REPAIR_TAGS = frozenset({ASSET_RESUME_RETRY_TAG, RESUME_RETRY_TAG})


@dataclasses.dataclass(frozen=True)
class DayRuns:
    """The runs of one day.

    ``last`` is the newest that was to publish it, ``in_flight`` says that one is queued, running or sure to come,
    ``failed_tries`` counts those of the schedule that failed.
    """

    last: dg.DagsterRun | None = None
    in_flight: bool = False
    failed_tries: int = 0

    @property
    def last_failed(self) -> bool:
        """Whether the newest run failed."""
        return self.last is not None and self.last.status is dg.DagsterRunStatus.FAILURE


def runs_of_days(instance: dg.DagsterInstance, days: Collection[dt.date], schedule: str) -> dict[dt.date, DayRuns]:
    """The runs of each of ``days``; ``schedule`` is the one whose tries count."""
    wanted = {day.isoformat(): day for day in days}
    if not wanted:
        return {}
    runs: dict[dt.date, list[dg.DagsterRun]] = defaultdict(list)
    # The newest comes first.
    for run in instance.get_runs(dg.RunsFilter(tags={PARTITION_TAG: list(wanted)})):
        if is_daily_run(run):
            runs[wanted[run.tags[PARTITION_TAG]]].append(run)
    to_come = set(_days_of_backfills(instance))
    return {day: _day_runs(runs[day], is_to_come=key in to_come, schedule=schedule) for key, day in wanted.items()}


def _day_runs(runs: list[dg.DagsterRun], *, is_to_come: bool, schedule: str) -> DayRuns:
    return DayRuns(
        last=_last_to_publish(runs),
        in_flight=is_to_come or any(run.status in IN_FLIGHT for run in runs),
        failed_tries=sum(_is_failed_try(run, schedule) for run in runs),
    )


def _last_to_publish(runs: list[dg.DagsterRun]) -> dg.DagsterRun | None:
    """The newest of ``runs`` that was to publish the day, or was to make what such a run had failed to make."""
    last, counted = None, set()
    for run in reversed(runs):
        is_whole = not run.asset_selection or STATE_FILES in run.asset_selection
        if is_whole or (run.parent_run_id in counted and not _REPAIR_TAGS.isdisjoint(run.tags)):
            last = run
            counted.add(run.run_id)
    return last


def _is_failed_try(run: dg.DagsterRun, schedule: str) -> bool:
    """What Dagster runs again after a worker died has the schedule's tag too, and is the same try."""
    is_try = run.tags.get(SCHEDULE_TAG) == schedule and run.parent_run_id is None
    return is_try and run.status is dg.DagsterRunStatus.FAILURE


def _days_of_backfills(instance: dg.DagsterInstance) -> Iterator[str]:
    """The days of the backfills under way: their runs are made bit by bit."""
    for backfill in instance.get_backfills(filters=BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])):
        yield from _days_of_backfill(backfill)


def _days_of_backfill(backfill: PartitionBackfill) -> Collection[str]:
    data = backfill.asset_backfill_data
    if data is None:
        # Of a job. Another one's partitions, even another code location's, may have the names of days, too.
        is_ours = backfill.partition_set_name == _PARTITION_SET
        return backfill.partition_names or () if is_ours else ()
    if STATE_FILES not in data.target_subset.asset_keys:
        return ()
    return set(data.target_subset.get_partitions_subset(STATE_FILES).get_partition_keys())
