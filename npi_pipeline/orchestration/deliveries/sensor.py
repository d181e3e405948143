"""The sensor that delivers what is published anew. Not here: what is due (``due``)."""

from collections.abc import Iterator, Sequence

import dagster as dg

from npi_pipeline import clock
from npi_pipeline.delivery.delivery_status import publication_keys
from npi_pipeline.orchestration.deliveries.assets import asset_key
from npi_pipeline.orchestration.deliveries.due import due_deliveries
from npi_pipeline.orchestration.deliveries.job import JOB_NAME
from npi_pipeline.orchestration.monitoring.recent_days import monitored_days
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.settings import Settings, SinkUrl

SECONDS = 60


def deliveries_sensor(settings: Settings, sinks: Sequence[SinkUrl]) -> dg.SensorDefinition:
    """Every minute: a run for each monitored day that is published anew since it was delivered to one of ``sinks``."""

    @dg.sensor(
        job_name=JOB_NAME,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Delivers each of the last days that is published anew to the sinks of NPI_DELIVER_TO. While a "
        "sink is down it is tried with one day, ever more seldom, and caught up when it is back.",
    )
    def npi_deliveries_sensor(
        context: dg.SensorEvaluationContext, day_storage: DayStorage
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = clock.utc_now()
        published = publication_keys(day_storage.open(), day_storage, monitored_days(settings, now.date()))
        due = [(sink, day) for sink in sinks for day in due_deliveries(context.instance, sink.name, published, now)]
        for sink, day in due:
            yield dg.RunRequest(partition_key=day.isoformat(), asset_selection=[asset_key(sink.name)])
        if not due:
            yield dg.SkipReason(f"nothing is due of the {len(published)} published days that are monitored")

    return npi_deliveries_sensor
