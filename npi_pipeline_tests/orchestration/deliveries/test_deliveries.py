"""Deliveries as Dagster runs them: by the sensor and from the command line, to real databases, one of which is down."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.test_utils import create_run_for_test

from npi_pipeline import clock
from npi_pipeline.cli.commands import main
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.dagster_home import make_home
from npi_pipeline.orchestration.deliveries.assets import asset_key
from npi_pipeline.orchestration.deliveries.delivery_run import deliver_days
from npi_pipeline.orchestration.deliveries.due import FIRST_WAIT, LONGEST_WAIT
from npi_pipeline.orchestration.deliveries.job import JOB_NAME
from npi_pipeline.orchestration.monitoring.day_runs import PARTITION_TAG
from npi_pipeline.settings import Settings, SettingsError
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.delivery.days_to_deliver import World, make_day

SECRET = "5ecret-0f-ours"
WORLD = World(npis=8, days=3)
Requests = list[tuple[str, str]]


class Deployment:
    """Two sinks, an SQLite file and a PostgreSQL that does not answer, and three days of which the last is today."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.root = LocalRoot(folder / "root")
        self.days = [dt.datetime.now(dt.timezone.utc).date() - dt.timedelta(days=ago) for ago in (2, 1, 0)]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        file = f"sqlite:///{folder}/delivered.db"
        self.environment = {
            "NPI_DATA_ROOT": str(folder / "root"),
            "NPI_START_DATE": str(self.days[0]),
            "NPI_DELIVER_TO": f"file={file},down=postgresql://me:{SECRET}@127.0.0.1:{self.port}/npi",
        }
        self.settings = Settings.from_environment(self.environment)

    def publish(self, day: dt.date, known: int = 0) -> None:
        make_day(self.root, day, WORLD.of_day[WORLD.days[known]])

    def fail(self, day: dt.date, name: str) -> None:
        """Record a run that was to deliver ``day`` and failed."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            run = create_run_for_test(
                instance,
                job_name=JOB_NAME,
                asset_selection=frozenset({asset_key(name)}),
                tags={PARTITION_TAG: str(day)},
                status=dg.DagsterRunStatus.STARTED,
            )
            instance.report_run_failed(run)

    def requests(self) -> Requests:
        """The days and sinks that the sensor asks for."""
        definitions = build_definitions(self.settings)
        sensor = definitions.resolve_sensor_def("npi_deliveries_sensor")
        with (
            dg.DagsterInstance.from_config(str(self.home)) as instance,
            dg.build_sensor_context(
                instance=instance, definitions=definitions, resources=definitions.resources
            ) as context,
        ):
            asked = sensor.evaluate_tick(context).run_requests or []
        keys = {asset_key(sink.name): sink.name for sink in self.settings.deliveries.sinks}
        return sorted(
            (request.partition_key or "", keys[key]) for request in asked for key in request.asset_selection or ()
        )


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    made = Deployment(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(made.home))
    for variable, value in made.environment.items():
        monkeypatch.setenv(variable, value)
    make_home(made.home)
    return made


def test_the_sensor_asks_for_what_is_published_anew_and_while_a_sink_is_down_for_one_day_ever_more_seldom(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = deployment.days
    assert deployment.requests() == []
    for day in (first, second):
        deployment.publish(day)
    of_both = [(str(day), name) for day in (first, second) for name in ("down", "file")]
    assert deployment.requests() == of_both
    runs = list(deliver_days(deployment.settings, [first, second], ["file"]))
    assert [run.problems for run in runs] == [(), ()]
    assert deployment.requests() == [(str(day), "down") for day in (first, second)]
    deployment.publish(first, known=1)
    assert (str(first), "file") in deployment.requests(), "it is published anew"
    assert (str(second), "file") in deployment.requests(), "its changes are found anew"
    list(deliver_days(deployment.settings, [first, second], ["file"]))

    for failures in range(1, 7):
        deployment.fail(second, "down")
        failed = clock.utc_now()
        wait = min(FIRST_WAIT * 2 ** (failures - 1), LONGEST_WAIT)
        minute = dt.timedelta(minutes=1)
        with monkeypatch.context() as later:
            later.setattr(clock, "utc_now", lambda moment=failed + wait - minute: moment)
            assert deployment.requests() == []
            later.setattr(clock, "utc_now", lambda moment=failed + wait + minute: moment)
            assert deployment.requests() == [(str(second), "down")]


def test_a_sink_that_is_down_is_told_in_one_line_without_its_password_and_leaves_the_other_alone(
    deployment: Deployment,
) -> None:
    day = deployment.days[-1]
    deployment.publish(day)
    told = CliRunner().invoke(main, ["deliver", "--date", str(day), "--json"])
    assert told.exit_code == 1
    runs = json.loads(told.stdout)
    assert [(run["sink"], run["ok"]) for run in runs] == [("file", True), ("down", False)]
    (problem,) = runs[1]["problems"]
    assert f"the sink down (postgresql at 127.0.0.1:{deployment.port}/npi) says:" in problem
    assert "\n" not in problem
    shown = CliRunner().invoke(main, ["status", "--date", str(day)])
    assert f"{day}  complete" in shown.output, "the day is as complete as before"
    assert "1 of 1 published days delivered" in shown.output
    as_json = json.loads(CliRunner().invoke(main, ["status", "--date", str(day), "--json"]).stdout)
    assert as_json[0]["deliveries"]["file"] == "delivered"
    assert as_json[0]["deliveries"]["down"].startswith("the sink down")
    assert SECRET not in told.output + shown.output + json.dumps(as_json)
    for file in deployment.home.rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file


def test_what_is_delivered_is_left_alone_unless_it_is_asked_for_again(deployment: Deployment) -> None:
    deployment.publish(deployment.days[-1])
    sink = sink_of(deployment.settings.deliveries.sinks[0])

    def delivered_at(*options: str) -> dt.datetime:
        ran = CliRunner().invoke(main, ["deliver", "--to-sink", "file", *options], catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
        return sink.receipts()[deployment.days[-1]].delivered_at

    first = delivered_at()
    assert delivered_at("--from", str(deployment.days[0])) == first
    with pytest.MonkeyPatch.context() as later:
        later.setattr(clock, "utc_now", lambda: first + dt.timedelta(hours=1))
        assert delivered_at("--again") == first + dt.timedelta(hours=1)


def test_a_delivery_that_is_damaged_in_the_sink_fails_its_check(deployment: Deployment) -> None:
    day = deployment.days[-1]
    deployment.publish(day)
    assert all(run.ok for run in deliver_days(deployment.settings, [day], ["file"]))
    with _sqlite(deployment) as connection:
        connection.execute(
            "update providers_history set last_name = 'X' where rowid = (select min(rowid) from providers_history)"
        )
    (run,) = deliver_days(deployment.settings, [day], ["file"])
    (problem,) = run.problems
    assert problem.startswith(f"delivery_file: rows_agree: {day}: as of {day}, providers has 6 rows, but not the same:")
    (run,) = deliver_days(deployment.settings, [day], ["file"], again=True)
    assert run.ok


def test_a_check_that_is_run_alone_is_about_the_newest_day_delivered(deployment: Deployment) -> None:
    for day in deployment.days[:2]:
        deployment.publish(day)
    list(deliver_days(deployment.settings, deployment.days[:2], ["file"]))
    alone = dg.AssetSelection.checks(dg.AssetCheckKey(asset_key("file"), "rows_agree"))
    jobs = dg.Definitions(jobs=[dg.define_asset_job("alone", selection=alone)])
    job = dg.Definitions.merge(build_definitions(deployment.settings), jobs).resolve_job_def("alone")
    with dg.DagsterInstance.from_config(str(deployment.home)) as instance:
        (evaluation,) = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert evaluation.passed
    assert evaluation.description is not None
    assert evaluation.description.startswith(f"{deployment.days[1]}: as of {deployment.days[1]}, all")


@pytest.mark.parametrize(
    ("sinks", "to_sinks", "why"),
    [
        ("", [], "there is no sink: set NPI_DELIVER_TO"),
        ("a=sqlite:///x.db", ["b"], "no sink is called b; NPI_DELIVER_TO has a"),
        ("a=postgress://me:5ecret@h/x", [], "the sink a has the scheme postgress, and there are postgresql, duckdb"),
    ],
)
def test_a_sink_that_there_is_not_is_told_before_the_first_run(sinks: str, to_sinks: list[str], why: str) -> None:
    settings = Settings.from_environment({"NPI_DELIVER_TO": sinks})
    with pytest.raises(SettingsError, match=why):
        next(deliver_days(settings, [dt.date(2026, 11, 26)], to_sinks))


def test_without_a_sink_there_are_no_deliveries_in_the_definitions() -> None:
    repository = build_definitions(Settings()).get_repository_def()
    assert not [
        name for name in (*repository.job_names, *(s.name for s in repository.sensor_defs)) if "deliver" in name
    ]


@contextlib.contextmanager
def _sqlite(deployment: Deployment) -> Iterator[sqlite3.Connection]:
    path = deployment.settings.deliveries.sinks[0].url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection
