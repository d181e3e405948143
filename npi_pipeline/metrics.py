"""The numbers of the newest days for Prometheus, read from what is published and from the sinks' receipts.

Moments are told and not ages: an age in a file stays young when nobody writes the file any more.
Not here: how they are written or served (``cli``), and Dagster's own numbers.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from npi_pipeline import clock
from npi_pipeline.delivery.delivery_status import DeliveryState, publication_keys, status_of_sink
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.npi_records.kept_fetches import read_fetches
from npi_pipeline.outcomes import Outcome
from npi_pipeline.proofs.day_status import DayState, DayStatus, status_of_days
from npi_pipeline.settings import Settings
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.open_root import open_data_root

_PREFIX = "npi_pipeline_"


class NewestDays(Collector):
    """The numbers of ``days`` (newest first) and of the newest complete one, read anew each time they are asked for."""

    def __init__(self, settings: Settings, days: Callable[[], Sequence[dt.date]]) -> None:
        self._settings = settings
        self._days = days

    def collect(self) -> Iterator[Metric]:
        """Each metric with its samples. Raises StorageError, FetchesError."""
        files = self._settings.files
        root = open_data_root(files.data_root)
        statuses = status_of_days(root, files, self._days())
        states = Counter(status.state for status in statuses)
        yield _gauge_by(
            "state", "days", "The last 30 days, by state.", {state.value: states[state] for state in DayState}
        )
        complete = [status for status in statuses if status.state is DayState.complete]
        if complete:
            yield from _of_day(root, complete[0])
        if self._settings.deliveries.sinks:
            yield from _of_sinks(root, self._settings, complete)


def _of_day(root: DataRoot, status: DayStatus) -> Iterator[Metric]:
    day = "the newest complete day"
    began = dt.datetime.combine(status.day, dt.time(), dt.timezone.utc)
    yield _gauge("day_timestamp_seconds", f"When {day} began: midnight UTC.", began.timestamp())
    if status.published_at:
        yield _gauge("published_timestamp_seconds", f"When {day} was published.", status.published_at.timestamp())
    npis = {outcome.value: status.outcomes.get(outcome.value, 0) for outcome in Outcome}
    yield _gauge_by("outcome", "npis", f"Distinct NPIs of {day}, by outcome.", npis)
    yield _gauge("rows", f"Rows in the state files of {day}.", status.rows)
    reports = [fetch.report for fetch in read_fetches(root, status.day)]
    yield _gauge("requests", f"Requests of all fetches of {day}.", sum(report.attempts for report in reports))
    yield _gauge("refused_requests", "Those that the registry refused.", sum(report.refused for report in reports))
    yield _gauge("fetch_seconds", f"Seconds of all fetches of {day}.", sum(report.seconds for report in reports))


def _of_sinks(root: DataRoot, settings: Settings, complete: Sequence[DayStatus]) -> Iterator[Metric]:
    published = publication_keys(root, settings.files, [status.day for status in complete])
    sinks = [status_of_sink(sink_of(sink), published) for sink in settings.deliveries.sinks]
    up = {sink.name: float(sink.problem is None) for sink in sinks}
    yield _gauge_by("sink", "sink_up", "Whether the sink tells what it holds.", up)

    now = clock.utc_now()
    ages = {status.day: (now - status.published_at).total_seconds() for status in complete if status.published_at}
    waiting = {
        sink.name: [ages[day] for day, state in sink.days.items() if state is not DeliveryState.delivered]
        for sink in sinks
        if sink.problem is None
    }
    undelivered = {name: len(seconds) for name, seconds in waiting.items()}
    lag = {name: max(seconds, default=0.0) for name, seconds in waiting.items()}
    told = "Complete days of the last 30 that the sink does not hold as they are published."
    yield _gauge_by("sink", "undelivered_days", told, undelivered)
    yield _gauge_by("sink", "delivery_lag_seconds", "Seconds since the oldest of them was published, or 0.", lag)


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, told, value=value)


def _gauge_by(label: str, name: str, told: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, told, labels=[label])
    for one, value in values.items():
        family.add_metric([one], value)
    return family
