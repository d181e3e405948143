"""The audit: no monitored day is incomplete, and none failed last. Quiet is the danger it is against.

Not here: when it is made (``schedules``), and what is proven of a complete day (``checks``).
"""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from npi_pipeline.orchestration.monitoring.failures import why_failed
from npi_pipeline.orchestration.monitoring.recent_days import (
    RecentDay,
    day_last_asked_for,
    monitored_days,
    recent_days,
)
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.settings import Settings

AUDIT_JOB_NAME = "npi_audit"


def days_audited(settings: Settings, now: dt.datetime) -> list[dt.date]:
    """The days that an audit at ``now`` looks at, newest first: those that the daily schedule asked for last."""
    return monitored_days(settings, day_last_asked_for(settings.monitoring, now))


def days_left_behind(instance: dg.DagsterInstance, recent: list[RecentDay]) -> Iterator[tuple[dt.date, str]]:
    """The days that are incomplete or failed last, each with what is known of it on one line."""
    for day in recent:
        runs = day.runs
        if not day.is_left_behind:
            continue
        state = "is published, but its last run failed" if day.is_published else "is not complete"
        if runs.in_flight:
            reason = "a run is queued or running"
        elif runs.last is None:
            reason = "it has not been run"
        elif runs.last.status is dg.DagsterRunStatus.NOT_STARTED:
            reason = "its last run was made and never began"
        elif runs.last_failed:
            reason = why_failed(instance, runs.last)
        else:
            reason = f"its last run ended as {runs.last.status.value}"
        yield day.day, f"{state}: {reason}"


def audit_job(settings: Settings) -> dg.JobDefinition:
    """The job that fails when a day is left behind, and so lets the alert tell of it."""

    @dg.op(description="Fails when a monitored day is incomplete or failed last, and names each.")
    def no_day_is_left_behind(context: dg.OpExecutionContext, day_storage: DayStorage) -> None:
        days = days_audited(settings, dt.datetime.now(dt.timezone.utc))
        recent = recent_days(context.instance, day_storage.open(), day_storage, days)
        behind = dict(days_left_behind(context.instance, recent))
        if behind:
            raise dg.Failure(
                f"{len(behind)} of {len(days)} days need somebody: "
                + "; ".join(f"{day} {line}" for day, line in behind.items()),
                metadata={str(day): line for day, line in behind.items()},
                allow_retries=False,
            )
        context.log.info(f"all {len(days)} days from {days[-1]} to {days[0]} are complete" if days else "no day yet")

    @dg.job(
        name=AUDIT_JOB_NAME,
        description="Looks whether any of the last days is incomplete or failed, and fails when one is.",
        executor_def=dg.in_process_executor,
    )
    def npi_audit() -> None:
        no_day_is_left_behind()

    return npi_audit
