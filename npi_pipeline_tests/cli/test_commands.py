"""What the command line says before there is a run, and of what no run is to blame for."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from npi_pipeline.changes.kept_changes import ChangesError
from npi_pipeline.cli.commands import main
from npi_pipeline.cli.rendering import show_calendar
from npi_pipeline.days.lock import DayLockedError
from npi_pipeline.errors import PipelineError
from npi_pipeline.orchestration.s3_resource import S3
from npi_pipeline.proofs import day_status
from npi_pipeline.storage.data_root import StorageError
from npi_pipeline.testing.s3 import LocalS3


def invoke(*command: str, **environment: str) -> Result:
    """The command in this environment, on top of the test's own."""
    return CliRunner(env=environment).invoke(main, list(command))


@pytest.mark.parametrize("command", [["settings"], ["status"]])
def test_a_misspelt_variable_is_told_of_with_the_likely_one_and_refused_by_no_command(
    command: list[str], tmp_path: Path
) -> None:
    said = invoke(*command, NPI_DATA_ROOT=str(tmp_path), NPI_THREDS="3", NPI_OAUTH_ISSUER="x")
    assert said.exit_code == 0
    assert "NPI_OAUTH_ISSUER, NPI_THREDS (NPI_THREADS is meant?)" in said.stderr
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", [["run"], ["retry-failed"], ["backfill", "--from", str(dt.datetime.now(dt.timezone.utc).date())]]
)
def test_without_a_bucket_there_is_no_run(command: list[str], tmp_path: Path) -> None:
    said = invoke(*command, NPI_DATA_ROOT=str(tmp_path / "data"), DAGSTER_HOME=str(tmp_path / "home"))
    assert said.exit_code == 2
    assert "no bucket is set for the NPI list: set NPI_LIST_BUCKET" in said.output
    assert not (tmp_path / "home").exists()


def told_of_a_failed_day(**environment: str) -> tuple[str, str, str, str]:
    """What is said of today, which fails: in the terminal, as JSON, and by the status in both ways."""
    today = str(dt.datetime.now(dt.timezone.utc).date())
    machine = invoke("run", "--json", **environment)
    person = invoke("run", **environment)
    assert (machine.exit_code, person.exit_code) == (1, 1)
    problems = json.loads(machine.stdout)["problems"]
    assert len(problems) == 1
    status = invoke("status", "--date", today, "--json", **environment)
    calendar = invoke("status", **environment)
    return person.stdout, problems[0], json.loads(status.stdout)[0]["audit"], calendar.stdout


@pytest.mark.long
def test_a_profile_that_does_not_exist_is_told_wherever_the_days_standing_is(s3: LocalS3, tmp_path: Path) -> None:
    for told in told_of_a_failed_day(
        NPI_LIST_BUCKET="lists",
        NPI_DATA_ROOT=str(tmp_path / "data"),
        DAGSTER_HOME=str(tmp_path / "home"),
        AWS_PROFILE="misspelt",
        COLUMNS="400",
    ):
        assert "The config profile (misspelt) could not be found; correct AWS_PROFILE" in told
        assert "Traceback" not in told
    # The UI counts them among the runs of the job and shows them in the Timeline, by the name that workspace.yaml gives
    # the code location; the daemon does not run again what a person has seen fail.
    code_location = "__repository__@npi_pipeline.definitions"
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        for run in instance.get_runs():
            assert run.remote_job_origin
            assert run.remote_job_origin.repository_origin.get_label() == code_location
            assert {".dagster/repository": code_location, "dagster/max_retries": "0"}.items() <= run.tags.items()


def test_what_fails_before_the_first_step_is_told_wherever_the_days_standing_is(
    s3: LocalS3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: S3, _context: object) -> None:
        raise StorageError("the share is not mounted; mount it")

    monkeypatch.setattr(S3, "setup_for_execution", fail)
    for told in told_of_a_failed_day(
        NPI_LIST_BUCKET=bucket, NPI_DATA_ROOT=str(tmp_path / "data"), DAGSTER_HOME=str(tmp_path / "home"), COLUMNS="400"
    ):
        assert "the share is not mounted; mount it" in told


def test_an_s3_that_is_down_is_told_at_once_and_given_up_within_a_minute(s3: LocalS3, tmp_path: Path) -> None:
    said = invoke(
        "run", NPI_LIST_BUCKET="lists", NPI_DATA_ROOT=str(tmp_path / "data"), AWS_ENDPOINT_URL_S3="http://127.0.0.1:9"
    )
    assert said.exit_code == 1
    assert "Could not connect" in said.stdout
    assert said.output.count("\n") < 12
    seconds = next(line for line in said.stdout.splitlines() if line.startswith("seconds")).split()[1]
    assert float(seconds) < 60


@pytest.mark.parametrize("command", ["run", "status", "retry-failed"])
@pytest.mark.parametrize("root", ["s3://", "ftp://host/folder"])
def test_a_data_root_that_is_none_is_told_on_one_line(command: str, root: str) -> None:
    said = invoke(command, NPI_DATA_ROOT=root, NPI_LIST_BUCKET="lists")
    assert said.exit_code == 2
    assert said.stderr.startswith("Error: NPI_DATA_ROOT")
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["run"], ["status"], ["backfill", "--from", "2026-11-01"]])
def test_a_known_error_is_json_for_machines_and_a_line_for_people(command: list[str]) -> None:
    said = invoke(*command, "--json", NPI_THREADS="none")
    assert said.exit_code == 2
    told = json.loads(said.stdout)
    assert told["retryable"] is False
    assert said.stderr == f"Error: {told['error']}\n"


@pytest.mark.parametrize("missing", ["moto", "flask", "flask_cors", "orjson"])
def test_a_demo_without_its_extra_says_what_to_install(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    said = invoke("demo", "--folder", str(tmp_path))
    assert said.exit_code == 2
    assert "pip install '.[demo]'" in said.stderr
    assert said.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_made_up_files_without_the_package_they_need_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    said = invoke("bulk", "make", "--folder", str(tmp_path))
    assert said.exit_code == 2
    assert said.stderr == (
        "Error: npi-pipeline bulk make needs packages that are not installed (orjson): "
        "pip install '.[demo]' in the checkout\n"
    )


def test_made_up_files_do_not_need_what_the_demos_servers_are_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("moto", "flask", "duckdb"):
        monkeypatch.setitem(sys.modules, package, None)
    said = invoke("bulk", "make", "--npis", "3", "--folder", str(tmp_path))
    assert said.exit_code == 0
    assert len(list(tmp_path.glob("*.zip"))) == 2


@pytest.mark.parametrize(
    "error", [StorageError("S3 is away", retryable=True), DayLockedError("locked"), ChangesError("damaged")]
)
def test_whatever_error_of_the_tree_a_command_ends_with_is_told_on_one_line(
    error: PipelineError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(day_status, "status_of_days", fail)
    said = invoke("status", "--json", NPI_DATA_ROOT=str(tmp_path))
    assert (said.exit_code, said.stderr) == (2, f"Error: {error}\n")
    assert json.loads(said.stdout) == {"error": str(error), "retryable": error.retryable}


def test_before_the_first_day_it_is_said_that_it_is_still_to_come(tmp_path: Path) -> None:
    said = invoke("run", NPI_DATA_ROOT=str(tmp_path), NPI_LIST_BUCKET="lists", NPI_START_DATE="2999-01-01")
    assert (said.exit_code, said.stderr) == (
        2,
        "Error: there is no day yet: the first one is still to come (NPI_START_DATE=2999-01-01)\n",
    )


def test_made_up_dissemination_files_are_those_up_to_the_sunday_before_the_day(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "bulk"
    said = invoke("bulk", "make", "--npis", "30", "--weeks", "2", "--date", "2026-08-26", "--folder", str(folder))
    assert said.exit_code == 0
    names = [
        "NPPES_Data_Dissemination_August_2026_V2.zip",
        "NPPES_Data_Dissemination_081026_081626_Weekly_V2.zip",
        "NPPES_Data_Dissemination_081726_082326_Weekly_V2.zip",
        "NPPES_Deactivated_NPI_Report_082326_V2.zip",
    ]
    assert [Path(line.split()[0]).name for line in said.stdout.splitlines()] == names
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_settings_say_where_each_value_comes_from_and_load_nothing_heavy() -> None:
    code = (
        "import sys; from npi_pipeline.cli.commands import main\n"
        "try: main(['settings', '--json', '--threads', '7'])\n"
        "finally: print([m for m in ('dagster', 'polars', 'boto3') if m in sys.modules], file=sys.stderr)"
    )
    environment = os.environ | {"NPI_MAX_RETRIES": "3", "NPI_ALERT_WEBHOOK_URL": "https://host/a-secret"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stderr.strip() == "[]"
    by_variable = {setting["variable"]: (setting["value"], setting["source"]) for setting in json.loads(told.stdout)}
    assert by_variable["NPI_THREADS"] == ("7", "option")
    assert by_variable["NPI_MAX_RETRIES"] == ("3", "environment")
    assert by_variable["NPI_WAIT"] == ("0.25", "default")
    assert "a-secret" not in told.stdout


def test_a_run_has_options_for_what_it_goes_by_alone_with_choices_and_defaults(tmp_path: Path) -> None:
    said = " ".join(invoke("run", "--help").stdout.split())
    assert "--fetch-mode missing|failed|not_found|all" in said
    assert "[NPI_MAX_RETRIES; default: 10]" in said
    assert "--alert-webhook-url" not in said
    refused = invoke("retry-failed", "--fetch-mode", "all", NPI_DATA_ROOT=str(tmp_path))
    assert refused.exit_code == 2
    assert "No such option" in refused.stderr


def test_a_week_of_two_months_has_the_names_of_both_and_days_alike_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    last = dt.date(2026, 11, 3)
    days = [last - dt.timedelta(days=ago) for ago in range(9)]
    missing = [
        day_status.DayStatus(day, day_status.DayState.missing, {}, 0, 0, "here", published_at=None) for day in days
    ]
    monkeypatch.setenv("COLUMNS", "200")
    show_calendar(missing, dict.fromkeys(days[1:], "it has not been run"))
    said = capsys.readouterr().out
    assert [line.split("  ")[0] for line in said.splitlines()[1:3]] == ["Oct/Nov 2026", "Nov 2026"]
    assert "2026-10-26 to 2026-11-02" in said
    assert said.count("it has not been run") == 1
