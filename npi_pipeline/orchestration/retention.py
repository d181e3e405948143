"""The job that removes what old days need no more, and its schedule. Not here: what that is: see ``retention``."""

import datetime as dt

import dagster as dg

from npi_pipeline.orchestration.assets.conventions import one_line_failures
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.retention import check_retention, remove_old_days
from npi_pipeline.settings import Settings

RETENTION_JOB_NAME = "npi_retention"
RETENTION_SCHEDULE_NAME = "npi_retention_schedule"


def retention_job(settings: Settings) -> dg.JobDefinition:
    """The job. Raises SettingsError when days that the schedule still looks after would go."""
    check_retention(settings)

    @dg.op(
        description="Removes journals and provider tables of published days that are older than NPI_KEEP_DAYS.",
        config_schema={"dry_run": dg.Field(bool, default_value=False, description="Only say what would be removed.")},
    )
    def remove_what_is_old(context: dg.OpExecutionContext, day_storage: DayStorage) -> None:
        today = dt.datetime.now(dt.timezone.utc).date()
        with one_line_failures():
            removed = remove_old_days(day_storage.open(), settings, today, dry_run=context.op_config["dry_run"])
        context.log.info(str(removed))

    @dg.job(
        name=RETENTION_JOB_NAME,
        description="Removes what old days need no more, as NPI_KEEP_DAYS and NPI_KEEP_FILES_DAYS say.",
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
        description=f"Removes journals and tables of days older than {settings.retention.keep_days} days.",
    )
