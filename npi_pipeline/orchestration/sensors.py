"""The sensors: what is to be done at no set time. A late list is run, a lost run is ended, a failed one is told of.

Not here: how it is found out (``monitoring``), and what is asked for at a set hour (``schedules``).
"""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from npi_pipeline.npi_list.source import FoundList, find_list_object
from npi_pipeline.orchestration.daily_job import JOB_NAME
from npi_pipeline.orchestration.monitoring.alert import Alert
from npi_pipeline.orchestration.monitoring.failures import name_of_run, why_failed
from npi_pipeline.orchestration.monitoring.late_lists import late_lists_of
from npi_pipeline.orchestration.monitoring.orphaned_runs import fail_orphaned_runs
from npi_pipeline.orchestration.monitoring.recent_days import monitored_days, recent_days
from npi_pipeline.orchestration.resources import DayStorage, NpiListSource
from npi_pipeline.orchestration.s3_resource import S3
from npi_pipeline.orchestration.schedules import RUN_TAGS
from npi_pipeline.settings import Settings

LATE_LIST_SECONDS = 300
LOST_RUN_SECONDS = 30


def late_list_sensor(settings: Settings) -> dg.SensorDefinition:
    """Every few minutes: a run for each day whose list came, or was written over, after the day was run."""

    @dg.sensor(
        job_name=JOB_NAME,
        minimum_interval_seconds=LATE_LIST_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs days that failed for want of a list once it has come, and today and yesterday once more when "
        "the list at a key without a date is written over before the day ends.",
    )
    def npi_late_list_sensor(
        context: dg.SensorEvaluationContext, s3: S3, npi_list_source: NpiListSource, day_storage: DayStorage
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        root = day_storage.open()
        days = monitored_days(settings, dt.datetime.now(dt.timezone.utc).date())
        recent = recent_days(context.instance, root, day_storage, days)

        def find(day: dt.date) -> FoundList:
            source = npi_list_source
            return find_list_object(
                source.client(s3), source.list_bucket, source.key_of(day), day, is_dated=source.key_is_dated
            )

        came = list(late_lists_of(root, recent, find))
        for day, found in came:
            # A key asks once and never again: a list that is there and still fails is not run for ever.
            yield dg.RunRequest(
                partition_key=day.isoformat(),
                run_key=f"{day} {found.version_id or found.etag}",
                tags=RUN_TAGS,
            )
        if not came:
            yield dg.SkipReason("no list came late")

    return npi_late_list_sensor


def orphaned_run_sensor() -> dg.SensorDefinition:
    """Twice a minute: runs whose process is gone are ended, so that nothing waits for them."""

    @dg.sensor(
        minimum_interval_seconds=LOST_RUN_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends runs whose process is gone, as after a restart of the machine.",
    )
    def npi_lost_run_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        # Sensors are evaluated by the code server.
        lost = fail_orphaned_runs(context.instance, is_code_server=True)
        return dg.SkipReason(f"ended as lost: {', '.join(map(name_of_run, lost))}" if lost else "no run is lost")

    return npi_lost_run_sensor


def failed_run_sensor(alert: Alert) -> dg.SensorDefinition:
    """After each failed run, one line to ``alert``."""

    @dg.run_failure_sensor(
        name="npi_failed_run_sensor",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of each failed run in one line, by NPI_ALERT_WEBHOOK_URL and NPI_ALERT_URLS, or in the log.",
    )
    def npi_failed_run_sensor(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        alert(f"npi_pipeline: {name_of_run(run)} failed: {why_failed(context.instance, run)}")

    return npi_failed_run_sensor
