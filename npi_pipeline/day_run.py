"""Running one day from the command line, through the same definitions as the UI.

Not here: what a day consists of (``definitions``), nor how the result is printed (``cli``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster._core.execution.plan.objects import ErrorSource
from dagster_shared.error import SerializableErrorInfo

from npi_pipeline.assets.conventions import CANCELLED
from npi_pipeline.day.status import DayStatus, Standing, status_of_day
from npi_pipeline.definitions import build_definitions
from npi_pipeline.partitions import daily_partitions
from npi_pipeline.run_log import terminal_logger
from npi_pipeline.schedules import JOB_NAME
from npi_pipeline.settings import Settings, SettingsError
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
        return not self.problems and self.status.standing is Standing.complete

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
    no partition.
    """
    _refuse_other_days(settings, day)
    started = time.monotonic()
    job = build_definitions(settings, loggers={"terminal": terminal_logger}).resolve_job_def(JOB_NAME)
    with _instance() as instance:
        result = job.execute_in_process(
            instance=instance,
            partition_key=day.isoformat(),
            run_config={"loggers": {"terminal": {"config": {"log_level": log_level}}}},
            raise_on_error=False,
        )
        problems = tuple(_problems(result))
        evaluations = result.get_asset_check_evaluations()
    warnings = tuple(
        _check_line(evaluation)
        for evaluation in evaluations
        if not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.WARN
    )
    status = status_of_day(open_data_root(settings.files.data_root), settings.files, day)
    return DayRun(status, result.run_id, time.monotonic() - started, problems, warnings)


def _refuse_other_days(settings: Settings, day: dt.date) -> None:
    days = daily_partitions(settings.days.start_date)
    if day.isoformat() in days.get_partition_keys():
        return
    raise SettingsError(
        f"{day} is not one of the days: they go from {days.get_first_partition_key()} (NPI_START_DATE) "
        f"to {days.get_last_partition_key()} (today, UTC)"
    )


@contextlib.contextmanager
def _instance() -> Iterator[dg.DagsterInstance]:
    """The instance of DAGSTER_HOME, or one that forgets."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        with dg.DagsterInstance.ephemeral() as instance:
            yield instance
        return
    folder = Path(home).absolute()
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


def _problems(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    """Why the run failed: a line for each check that does not hold, and for each step that failed by itself."""
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR:
            yield _check_line(evaluation)
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        if data.error_source is ErrorSource.INTERRUPT:
            yield f"{event.step_key}: {CANCELLED}"
        elif data.user_failure_data is not None and data.user_failure_data.description:
            yield f"{event.step_key}: {data.user_failure_data.description}"
        elif data.error is not None and data.error.cls_name != "DagsterAssetCheckFailedError":
            yield f"{event.step_key}: {_root_cause(data.error)}"


def _check_line(evaluation: dg.AssetCheckEvaluation) -> str:
    return f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name}: {evaluation.description}"


def _root_cause(error: SerializableErrorInfo) -> str:
    """The message of what was raised first, on one line."""
    while error.cause is not None:
        error = error.cause
    return " ".join(error.message.split())
