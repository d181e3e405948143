"""The daily job and its schedule, which also asks for the days that were missed.

Dagster's own partitioned schedule does not catch up: after five days down it asks for one. This one asks for every
day of the window that is not materialised, newest first.
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

JOB_NAME = "npi_daily"
STATE_FILES = dg.AssetKey("state_files")
_WINDOW_DAYS = 7
_CRON = "0 6 * * *"


def daily_job() -> dg.UnresolvedAssetJobDefinition:
    """The assets of one day and their checks."""
    return dg.define_asset_job(
        JOB_NAME,
        selection=dg.AssetSelection.all(),
        description="One day: from the NPI list to its published state files, and what changed.",
    )


def daily_schedule(days: dg.DailyPartitionsDefinition) -> dg.ScheduleDefinition:
    """Every morning (UTC), a run for today and for each day of the last week that has no state files."""

    @dg.schedule(
        job_name=JOB_NAME,
        cron_schedule=_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Today, and every day of the last {_WINDOW_DAYS} that has no state files yet.",
    )
    def npi_daily_schedule(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        window = days.get_partition_keys(current_time=context.scheduled_execution_time)[-_WINDOW_DAYS:]
        done = context.instance.get_materialized_partitions(STATE_FILES)
        for day in reversed(window):
            if day not in done:
                yield dg.RunRequest(partition_key=day, run_key=day)

    return npi_daily_schedule
