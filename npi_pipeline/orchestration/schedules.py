"""The daily schedule, which also asks for the days that were missed, and the audit's.

Dagster's own partitioned schedule does not catch up: after five days down it asks for one. This one asks for every
day of the window that is not complete or failed last, newest first.
Not here: which days those are (``monitoring``), and what comes at no set time (``sensors``).
"""

import contextlib
import datetime as dt
from collections.abc import Iterator

import dagster as dg

from npi_pipeline.orchestration.daily_job import JOB_NAME
from npi_pipeline.orchestration.monitoring.audit import AUDIT_JOB_NAME
from npi_pipeline.orchestration.monitoring.recent_days import (
    DAILY_SCHEDULE_NAME,
    DueDays,
    due_days,
    monitored_days,
    recent_days,
)
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.settings import Settings, SettingsError

AUDIT_SCHEDULE_NAME = "npi_audit_schedule"
# Before a backfill's: the day's own files are not to wait for a month of old ones.
RUN_TAGS = {"dagster/priority": "1"}


def daily_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """At the hour of the settings, a run for today and for each day before it that is incomplete or failed last.

    A day that is queued, running or in a backfill is not doubled; one that failed often enough is reported and left
    alone. Raises SettingsError for an hour that is none.
    """
    monitoring = settings.monitoring

    with _cron_of("NPI_SCHEDULE_CRON", monitoring.schedule_cron) as cron:

        @dg.schedule(
            name=DAILY_SCHEDULE_NAME,
            job_name=JOB_NAME,
            cron_schedule=cron,
            execution_timezone=monitoring.schedule_timezone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"Today, and each of the {monitoring.catch_up_days} days before it that is incomplete "
            "or failed.",
        )
        def npi_daily_schedule(
            context: dg.ScheduleEvaluationContext, day_storage: DayStorage
        ) -> Iterator[dg.RunRequest | dg.SkipReason]:
            today = context.scheduled_execution_time.astimezone(dt.timezone.utc).date()
            days = monitored_days(settings, today)
            recent = recent_days(context.instance, day_storage.open(), day_storage, days)
            due = due_days(recent, monitoring.catch_up_tries)
            if due.left_alone:
                context.log.warning(
                    f"left alone after {monitoring.catch_up_tries} failed tries (NPI_CATCH_UP_TRIES): "
                    f"{', '.join(due.left_alone)}; see why they failed, then materialise them by hand"
                )
            for day in due.asked_for:
                yield dg.RunRequest(partition_key=day, run_key=day, tags=RUN_TAGS)
            if not due.asked_for:
                yield dg.SkipReason(_nothing_to_ask_for(days, due))

    return npi_daily_schedule


def audit_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """When the audit is made. Raises SettingsError for an hour that is none."""
    with _cron_of("NPI_AUDIT_CRON", settings.monitoring.audit_cron) as cron:
        return dg.ScheduleDefinition(
            name=AUDIT_SCHEDULE_NAME,
            job_name=AUDIT_JOB_NAME,
            cron_schedule=cron,
            execution_timezone=settings.monitoring.schedule_timezone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Looks whether any of the last days is incomplete or failed.",
        )


def _nothing_to_ask_for(days: list[dt.date], due: DueDays) -> str:
    if not days:
        return "the first day (NPI_START_DATE) is still to come"
    left_alone = f"; left alone: {', '.join(due.left_alone)}" if due.left_alone else ""
    return f"no day from {days[-1]} to {days[0]} is due{left_alone}"


@contextlib.contextmanager
def _cron_of(variable: str, expression: str) -> Iterator[str]:
    """The expression, for a schedule; what Dagster refuses is told by the setting's name."""
    try:
        yield expression
    except dg.DagsterInvalidDefinitionError as error:
        raise SettingsError(
            f"{variable}={expression!r} cannot be used: it is no cron expression; write it like `0 6 * * *`"
        ) from error
