"""Delivering days from the command line, through the same definitions as the UI: one day to one sink a run.

Not here: how the results are printed (``cli.rendering``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Iterator, Sequence

import dagster as dg

from npi_pipeline.days.paths import published_days
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.dagster_home import open_instance
from npi_pipeline.orchestration.deliveries.assets import AGAIN, asset_key
from npi_pipeline.orchestration.deliveries.job import JOB_NAME
from npi_pipeline.orchestration.in_process import problems_of, run_in_process
from npi_pipeline.orchestration.monitoring.failures import broken_checks
from npi_pipeline.orchestration.monitoring.orphaned_runs import fail_orphaned_runs
from npi_pipeline.orchestration.run_log import run_logger
from npi_pipeline.settings import Settings, SettingsError
from npi_pipeline.storage.open_root import open_data_root


@dataclasses.dataclass(frozen=True)
class DeliveryRun:
    """What came of delivering a day to a sink. ``problems`` are lines for a person, empty when all is well."""

    day: dt.date
    sink: str
    run_id: str
    seconds: float
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the day is delivered, and every check holds."""
        return not self.problems

    def as_json(self) -> dict[str, object]:
        """The result for machines."""
        return {**dataclasses.asdict(self), "day": self.day.isoformat(), "ok": self.ok}


def deliver_days(
    settings: Settings, days: Sequence[dt.date], to_sinks: Sequence[str] = (), *, again: bool = False
) -> Iterator[DeliveryRun]:
    """Deliver each of ``days`` to the sinks called ``to_sinks``, by default to all, and prove it; as each is asked for.

    What fails leaves the others alone. Raises SettingsError, before the first run, when there is no such sink.
    """
    names = [sink.name for sink in settings.deliveries.sinks]
    if not names:
        raise SettingsError("there is no sink: set NPI_DELIVER_TO (see docs/deliveries.md)")
    for name in to_sinks:
        if name not in names:
            raise SettingsError(f"no sink is called {name}; NPI_DELIVER_TO has {', '.join(names)}")
    job = build_definitions(settings, loggers={"terminal": run_logger(settings.logs.log_format)}).resolve_job_def(
        JOB_NAME
    )
    with open_instance() as instance:
        for day in days:
            for name in to_sinks or names:
                fail_orphaned_runs(instance)
                yield _deliver_day(job, instance, day, name, again=again)


def days_to_deliver(settings: Settings, first: dt.date, last: dt.date) -> list[dt.date]:
    """The days from ``first`` to ``last`` that are published, oldest first. Raises SettingsError, StorageError."""
    if first > last:
        raise SettingsError(f"there is no day from {first} to {last}: the first is the later one")
    root = open_data_root(settings.files.data_root)
    return published_days(root, settings.files.state_files_dir, first, last)


def _deliver_day(
    job: dg.JobDefinition, instance: dg.DagsterInstance, day: dt.date, name: str, *, again: bool
) -> DeliveryRun:
    started = time.monotonic()
    key = asset_key(name)
    ops = {key.to_python_identifier(): {"config": {AGAIN: again}}}
    result = run_in_process(job, instance, day, log_level="INFO", assets=[key], ops=ops)
    broken = broken_checks(result.get_asset_check_evaluations(), dg.AssetCheckSeverity.ERROR)
    return DeliveryRun(day, name, result.run_id, time.monotonic() - started, tuple(broken) or problems_of(result))
