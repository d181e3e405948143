"""Running days from the command line, through the same definitions as the UI: one day a run, in this process.

Not here: what a day consists of (``build``), nor how the results are printed (``cli.rendering``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from npi_pipeline.npi_list.source import NO_BUCKET
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.dagster_home import open_instance
from npi_pipeline.orchestration.daily_job import JOB_NAME
from npi_pipeline.orchestration.in_process import problems_of, run_in_process
from npi_pipeline.orchestration.monitoring.failures import broken_checks
from npi_pipeline.orchestration.monitoring.orphaned_runs import fail_orphaned_runs
from npi_pipeline.orchestration.partitions import daily_partitions
from npi_pipeline.orchestration.run_log import run_logger
from npi_pipeline.proofs.day_status import DayState, DayStatus, status_of_day
from npi_pipeline.settings import EngineSettings, Settings, SettingsError
from npi_pipeline.state_files.publish import is_published
from npi_pipeline.storage.open_root import open_data_root


@dataclasses.dataclass(frozen=True)
class DayRun:
    """What came of running one day. ``problems`` are lines for a person, empty when all is well."""

    status: DayStatus
    run_id: str
    seconds: float
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the day is complete and published, and every check that matters holds."""
        return not self.problems and self.status.state is DayState.complete

    def as_json(self) -> dict[str, object]:
        """The result for machines."""
        return {
            "ok": self.ok,
            "run_id": self.run_id,
            "seconds": round(self.seconds, 3),
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            **self.status.as_json(),
        }


def run_day(settings: Settings, day: dt.date, *, log_level: str = "INFO") -> DayRun:
    """Materialise the assets of ``day`` and run their checks, in this process.

    The run is recorded in the instance of ``DAGSTER_HOME`` when that is set. Raises SettingsError for a day that is
    no partition, HomeError, StorageError, and KeyboardInterrupt when it is broken off, however.
    """
    return next(run_days(settings, [day], log_level=log_level))


def run_days(settings: Settings, days: Sequence[dt.date], *, log_level: str = "INFO") -> Iterator[DayRun]:
    """Run each of ``days`` as ``run_day`` does, one after the other, as each is asked for.

    A day that fails leaves the others alone. Raises SettingsError, before the first run, for a day that is no
    partition, or when no bucket is set.
    """
    _refuse_other_days(settings, days)
    if not settings.npi_list.list_bucket and not settings.is_list_of_registry:
        raise SettingsError(NO_BUCKET)
    # Here it is one process: shards would only follow each other.
    settings = settings.model_copy(update={"engine": EngineSettings()})
    job = build_definitions(settings, loggers={"terminal": run_logger(settings.logs.log_format)}).resolve_job_def(
        JOB_NAME
    )
    with open_instance() as instance:
        for day in days:
            # One that was killed holds the pool's slot, and there may be no daemon to free it.
            fail_orphaned_runs(instance)
            yield _run_day(settings, job, instance, day, log_level)


def days_to_run(settings: Settings, first: dt.date, last: dt.date, *, complete_too: bool) -> list[dt.date]:
    """The days from ``first`` to ``last`` that a backfill runs, newest first: those that are not complete, or all.

    Raises SettingsError for days that are no partitions.
    """
    days = [last - dt.timedelta(days=ago) for ago in range((last - first).days + 1)]
    if not days:
        raise SettingsError(f"there is no day from {first} to {last}: the first is the later one")
    _refuse_other_days(settings, days)
    if complete_too:
        return days
    root = open_data_root(settings.files.data_root)
    return [day for day in days if not is_published(root, settings.files.state_files_dir, day)]


def _run_day(
    settings: Settings, job: dg.JobDefinition, instance: dg.DagsterInstance, day: dt.date, log_level: str
) -> DayRun:
    started = time.monotonic()
    result = run_in_process(job, instance, day, log_level=log_level)
    warnings = tuple(broken_checks(result.get_asset_check_evaluations(), dg.AssetCheckSeverity.WARN))
    status = status_of_day(open_data_root(settings.files.data_root), settings.files, day)
    return DayRun(status, result.run_id, time.monotonic() - started, problems_of(result), warnings)


def _refuse_other_days(settings: Settings, days: Iterable[dt.date]) -> None:
    partitions = daily_partitions(settings.days.start_date)
    known = set(partitions.get_partition_keys())
    if not known:
        first = settings.days.start_date
        raise SettingsError(f"there is no day yet: the first one is still to come (NPI_START_DATE={first})")
    for day in days:
        if day.isoformat() not in known:
            raise SettingsError(
                f"{day} is not one of the days: they go from {partitions.get_first_partition_key()} (NPI_START_DATE) "
                f"to {partitions.get_last_partition_key()} (today, UTC)"
            )
