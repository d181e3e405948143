"""Several days from the command line, and how it shows them: real runs, recorded in a Dagster home."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from npi_pipeline.cli.commands import main
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.day_run import run_days
from npi_pipeline.orchestration.monitoring.day_runs import PARTITION_TAG
from npi_pipeline.settings import Settings
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.pipeline import Pipeline
from npi_pipeline_tests.seeded_home import publish_days

NPIS = sorted(npi_numbers(20, seed=13))
TODAY = dt.datetime.now(dt.timezone.utc).date()
DAYS = [TODAY - dt.timedelta(days=ago) for ago in range(4)]
WITHOUT_LIST = DAYS[2]
KEY = "lists/{date:%Y-%m-%d}.txt"


@pytest.fixture(autouse=True)
def _today_is_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Midnight may have passed since this was imported."""
    today = dt.datetime.now(dt.timezone.utc).date()
    days = [today - dt.timedelta(days=ago) for ago in range(4)]
    for name, value in {"TODAY": today, "DAYS": days, "WITHOUT_LIST": days[2]}.items():
        monkeypatch.setitem(globals(), name, value)


@pytest.fixture
def environment(
    s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """A deployment with a list for each of DAYS but one."""
    for day in DAYS:
        if day != WITHOUT_LIST:
            s3.put_list(bucket, KEY.format(date=day), NPIS)
    environment = {
        "NPI_LIST_BUCKET": bucket,
        "NPI_LIST_KEY": KEY,
        "NPI_REGISTRY_URL": registry.url,
        "NPI_DATA_ROOT": str(tmp_path / "npi-data"),
        "NPI_START_DATE": str(DAYS[-1]),
        "DAGSTER_HOME": str(tmp_path / "home"),
        # Today has been asked for, whatever the hour.
        "NPI_SCHEDULE_CRON": "0 0 * * *",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


def npi_pipeline(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "400"}).invoke(main, arguments)


def runs() -> list[str]:
    """The days that were run, in their order."""
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        return [run.tags[PARTITION_TAG] for run in reversed(instance.get_runs())]


def test_a_backfill_runs_what_is_not_complete_and_a_failing_day_leaves_the_others_alone(
    environment: dict[str, str], s3: LocalS3, bucket: str, registry: EmulatedRegistry
) -> None:
    first = npi_pipeline("backfill", "--from", str(DAYS[-1]))
    assert first.exit_code == 1
    assert runs() == [str(day) for day in DAYS]
    assert f"1 of 4 days failed: {WITHOUT_LIST}" in first.output
    assert f"s3://{bucket}/{KEY.format(date=WITHOUT_LIST)}" in first.output
    assert registry.requests_by_npi() == dict.fromkeys(NPIS, 1), "the days share their answers"

    s3.put_list(bucket, KEY.format(date=WITHOUT_LIST), NPIS)
    second = npi_pipeline("backfill", "--from", str(DAYS[-1]), "--to", str(TODAY), "--json")
    assert second.exit_code == 0
    (repaired,) = json.loads(second.stdout[second.stdout.index("[") :])
    assert (repaired["day"], repaired["state"]) == (str(WITHOUT_LIST), "complete")
    assert runs()[4:] == [str(WITHOUT_LIST)]

    third = npi_pipeline("backfill", "--from", str(DAYS[-1]))
    assert (third.exit_code, third.output) == (0, "every day of the range is complete\n")
    again = npi_pipeline("backfill", "--from", str(TODAY), "--complete-too")
    assert (again.exit_code, runs()[5:]) == (0, [str(TODAY)])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--from", "2020-01-01"), "NPI_START_DATE"),
        (("--from", str(TODAY), "--to", str(DAYS[1])), "the first is the later one"),
        (("--from", "yesterday"), "write it like 2026-11-23"),
    ],
)
def test_a_range_that_cannot_be_is_refused_before_any_run(
    environment: dict[str, str], arguments: tuple[str, ...], line: str
) -> None:
    refused = npi_pipeline("backfill", *arguments)
    assert refused.exit_code == 2
    assert line in refused.output
    assert not Path(environment["DAGSTER_HOME"]).exists()


@pytest.fixture
def seeded(environment: dict[str, str]) -> None:
    """All of DAYS but today were to be done: one has no list, and failed."""
    publish_days(Path(environment["NPI_DATA_ROOT"]), str(DAYS[1]), str(DAYS[3]))
    assert npi_pipeline("run", "--date", str(WITHOUT_LIST)).exit_code == 1


@pytest.mark.usefixtures("seeded")
def test_status_is_a_calendar_with_what_the_audit_says_below_it() -> None:
    shown = npi_pipeline("status")
    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert lines[0].split() == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert f"{DAYS[1].day} ■" in shown.output
    assert f"{TODAY.day} □" in shown.output
    assert "4 days: 2 ■ complete, 0 ◪ partial, 2 □ missing" in lines
    (missing,) = (line for line in lines if line.startswith(str(TODAY)))
    assert "is not complete: it has not been run" in missing
    (failed,) = (line for line in lines if line.startswith(str(WITHOUT_LIST)))
    assert "is not complete: npi_list: the NPI list s3://" in failed

    by_day = {day["day"]: day for day in json.loads(npi_pipeline("status", "--json").stdout)}
    assert by_day[str(DAYS[1])]["audit"] is None
    assert "npi_list: the NPI list" in by_day[str(WITHOUT_LIST)]["audit"]


def test_status_knows_the_days_without_a_dagster_home_too(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_days(Path(environment["NPI_DATA_ROOT"]), str(TODAY))
    monkeypatch.delenv("DAGSTER_HOME")
    shown = npi_pipeline("status")
    assert f"{TODAY.day} ■" in shown.output
    assert "1 ■ complete, 0 ◪ partial, 3 □ missing" in shown.output


def test_a_manifest_that_cannot_be_understood_is_told_by_status_on_one_line(
    environment: dict[str, str], tmp_path: Path
) -> None:
    manifest = tmp_path / "npi-data" / "state_files" / str(TODAY) / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{")
    by_day = {day["day"]: day for day in json.loads(npi_pipeline("status", "--json").stdout)}
    problem = by_day[str(TODAY)]["problem"]
    assert str(manifest) in problem
    assert f"materialise state_files for {TODAY} again" in problem
    assert "\n" not in problem


@pytest.mark.long
@pytest.mark.usefixtures("seeded")
def test_the_audit_fails_naming_each_day_and_why_and_passes_when_all_are_complete(s3: LocalS3, bucket: str) -> None:
    line = audit()
    assert line is not None
    assert line.startswith("2 of 4 days need somebody: ")
    assert f"{TODAY} is not complete: it has not been run" in line
    assert f"{WITHOUT_LIST} is not complete: npi_list: the NPI list" in line
    assert "\n" not in line

    s3.put_list(bucket, KEY.format(date=WITHOUT_LIST), NPIS)
    npi_pipeline("backfill", "--from", str(DAYS[-1]))
    assert audit() is None


def test_a_complete_day_whose_last_run_failed_is_told_by_the_audit(environment: dict[str, str], s3: LocalS3) -> None:
    publish_days(Path(environment["NPI_DATA_ROOT"]), str(TODAY))
    s3.client().delete_object(Bucket=environment["NPI_LIST_BUCKET"], Key=KEY.format(date=TODAY))
    npi_pipeline("run", "--date", str(TODAY))
    assert f"{TODAY} is published, but its last run failed: npi_list: " in str(audit())


def audit() -> str | None:
    """What the audit's job fails with; None when it does not."""
    job = build_definitions().resolve_job_def("npi_audit")
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        if result.success:
            return None
        (failure,) = result.get_step_failure_events()
        assert failure.step_failure_data.user_failure_data is not None
        return failure.step_failure_data.user_failure_data.description


def test_a_run_over_several_days_is_refused_and_told_how_it_is_done(s3: LocalS3, bucket: str, tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, list_bucket=bucket)
    job = build_definitions(pipeline.settings).resolve_job_def("npi_daily")
    tags = {"dagster/asset_partition_range_start": "2026-11-02", "dagster/asset_partition_range_end": "2026-11-04"}
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
    failures = [event.step_failure_data.user_failure_data for event in result.get_step_failure_events()]
    assert [failure.description for failure in failures if failure] == [
        "this run is over 3 days, and a run is one day's: launch them as a backfill, which makes a run for each"
    ]


def test_the_days_of_one_process_are_run_as_each_is_asked_for(environment: dict[str, str]) -> None:
    ended = run_days(Settings.from_environment(environment), [DAYS[1], TODAY], log_level="CRITICAL")
    assert next(ended).status.day == DAYS[1]
    assert runs() == [str(DAYS[1])]
