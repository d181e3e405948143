"""The job that removes what old days need no more, and its schedule. Not here: what that is: see ``retention``."""

import datetime as dt

import dagster as dg

from npi_pipeline.orchestration.assets.conventions import one_line_failures
from npi_pipeline.orchestration.dagster_internals import REPOSITORY_LABEL_TAG
from npi_pipeline.orchestration.daily_job import is_daily_run
from npi_pipeline.orchestration.deliveries.job import JOB_NAME as DELIVERIES_JOB_NAME
from npi_pipeline.orchestration.in_process import CODE_LOCATION
from npi_pipeline.orchestration.monitoring.audit import AUDIT_JOB_NAME
from npi_pipeline.orchestration.old_runs import remove_old_runs
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.retention import check_retention, remove_old_days
from npi_pipeline.settings import Settings

RETENTION_JOB_NAME = "npi_retention"
RETENTION_SCHEDULE_NAME = "npi_retention_schedule"
_OTHER_JOBS = {RETENTION_JOB_NAME, AUDIT_JOB_NAME, DELIVERIES_JOB_NAME}


def retention_job(settings: Settings) -> dg.JobDefinition:
    """The job. Raises SettingsError when days that the schedule still looks after would go."""
    check_retention(settings)

    @dg.op(
        description="Removes journals and provider tables of published days that are older than NPI_KEEP_DAYS, and "
        "runs that are older than NPI_KEEP_RUNS_DAYS.",
        config_schema={"dry_run": dg.Field(bool, default_value=False, description="Only say what would be removed.")},
    )
    def remove_what_is_old(context: dg.OpExecutionContext, day_storage: DayStorage) -> None:
        now, dry_run = dt.datetime.now(dt.timezone.utc), context.op_config["dry_run"]
        with one_line_failures():
            removed = remove_old_days(day_storage.open(), settings, now.date(), dry_run=dry_run)
        context.log.info(str(removed))
        if keep_runs_days := settings.retention.keep_runs_days:
            keep_files_days = settings.retention.keep_files_days
            runs = remove_old_runs(
                context.instance,
                {CODE_LOCATION, context.run.tags.get(REPOSITORY_LABEL_TAG, CODE_LOCATION)},
                _is_of_the_pipeline,
                before=now - dt.timedelta(days=keep_runs_days),
                kept_since=now.date() - dt.timedelta(days=keep_files_days) if keep_files_days else dt.date.min,
                dry_run=dry_run,
            )
            context.log.info(f"{runs:,} runs of Dagster {'would be removed' if dry_run else 'removed'}")

    @dg.job(
        name=RETENTION_JOB_NAME,
        description="Removes what old days need no more, as NPI_KEEP_DAYS, NPI_KEEP_FILES_DAYS and NPI_KEEP_RUNS_DAYS "
        "say.",
        executor_def=dg.in_process_executor,
    )
    def npi_retention() -> None:
        remove_what_is_old()

    return npi_retention


def retention_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Once a day, when the day's run and its audit are long over."""
    return dg.ScheduleDefinition(
        name=RETENTION_SCHEDULE_NAME,
        job_name=RETENTION_JOB_NAME,
        cron_schedule="0 22 * * *",
        execution_timezone=settings.monitoring.schedule_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Removes what old days need no more.",
    )


def _is_of_the_pipeline(run: dg.DagsterRun) -> bool:
    """Whether a run is not of another project's, which the definitions were merged with."""
    return run.job_name in _OTHER_JOBS or is_daily_run(run)
