"""What Prometheus is told of the newest days by the command line: on standard output, in a file, at a port."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from npi_pipeline.cli.commands import main
from npi_pipeline.delivery.deliver import deliver
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.http_fetch.progress import FetchReport
from npi_pipeline.npi_records.kept_fetches import keep_fetch
from npi_pipeline.outcomes import Outcome
from npi_pipeline.settings import Settings
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.delivery.days_to_deliver import World, make_day
from npi_pipeline_tests.deploy_files import DEPLOY

TODAY = dt.datetime.now(dt.timezone.utc).date()
YESTERDAY = TODAY - dt.timedelta(days=1)
FETCH = FetchReport(120, {"found": 58}, {}, refused=7, latency={}, highest_limit=8, seconds=2.5, rate=23.2)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Yesterday is complete, was fetched in two goes, and is delivered to no sink."""
    environment = {
        "NPI_DATA_ROOT": str(tmp_path / "npi-data"),
        "NPI_START_DATE": str(YESTERDAY),
        "NPI_DELIVER_TO": f"warehouse=sqlite:///{tmp_path}/warehouse.db",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    root = LocalRoot(tmp_path / "npi-data")
    outcomes = World(days=1).of_day.popitem()[1]
    make_day(root, YESTERDAY, {**outcomes, "1234567893": Outcome.failed})
    keep_fetch(root, YESTERDAY, "a registry", FETCH)
    keep_fetch(root, YESTERDAY, "a registry", dataclasses.replace(FETCH, attempts=30, refused=0, seconds=0.5))
    return Settings.from_environment(environment)


def told(text: str) -> dict[str, float]:
    """Each sample by its name and the value of its label."""
    return {
        " ".join([sample.name.removeprefix("npi_pipeline_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def printed() -> dict[str, float]:
    done = CliRunner().invoke(main, ["metrics"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return told(done.stdout)


def test_the_newest_complete_day_its_outcomes_and_all_its_fetches_are_told(settings: Settings) -> None:
    samples = printed()
    assert (samples["days complete"], samples["days partial"], samples["days missing"]) == (1, 0, 1)
    midnight = dt.datetime.combine(YESTERDAY, dt.time(), dt.timezone.utc)
    assert samples["day_timestamp_seconds"] == midnight.timestamp()
    assert samples["published_timestamp_seconds"] > midnight.timestamp()
    assert (samples["npis found"], samples["npis failed"], samples["npis invalid"]) == (45, 1, 0)
    assert (samples["requests"], samples["refused_requests"], samples["fetch_seconds"]) == (150, 7, 3.0)


def test_a_day_that_a_sink_lacks_lags_until_it_is_delivered(settings: Settings) -> None:
    samples = printed()
    assert (samples["sink_up warehouse"], samples["undelivered_days warehouse"]) == (1, 1)
    assert samples["delivery_lag_seconds warehouse"] > 0
    deliver(LocalRoot(Path(settings.files.data_root)), settings.files, YESTERDAY, sink_of(settings.deliveries.sinks[0]))
    samples = printed()
    assert (samples["undelivered_days warehouse"], samples["delivery_lag_seconds warehouse"]) == (0, 0)


def test_a_sink_that_cannot_be_asked_is_down_and_of_what_it_lacks_nothing_is_claimed(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "warehouse.db").write_text("this is no database" * 100)
    samples = printed()
    assert samples["sink_up warehouse"] == 0
    assert "undelivered_days warehouse" not in samples
    assert samples["days complete"] == 1


def test_without_a_complete_day_there_are_no_numbers_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPI_DATA_ROOT", str(tmp_path))
    assert set(printed()) == {"days complete", "days partial", "days missing"}


def test_a_file_is_replaced_whole_and_stays_when_the_data_root_cannot_be_read(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "npi.prom"
    assert CliRunner().invoke(main, ["metrics", "--write", str(file)]).exit_code == 0
    before = file.read_text()
    assert told(before)["days complete"] == 1
    monkeypatch.setenv("NPI_DATA_ROOT", str(file))
    assert CliRunner().invoke(main, ["metrics", "--write", str(file)]).exit_code == 2
    assert file.read_text() == before


def test_at_a_port_they_are_read_anew_each_time(settings: Settings) -> None:
    command = [Path(sys.executable).with_name("npi-pipeline"), "metrics", "--port", "0"]
    with subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            url = process.stderr.readline().split()[-1]
            assert told(_get(url))["days complete"] == 1
            (Path(settings.files.data_root) / "state_files" / str(YESTERDAY) / "manifest.json").unlink()
            assert told(_get(url))["days complete"] == 0
        finally:
            process.kill()


def test_every_metric_of_the_alerts_is_one_that_is_told(settings: Settings) -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
    named = {name for rule in rules for name in re.findall(r"npi_pipeline_(\w+)", rule["expr"])}
    assert named
    assert named <= {sample.split()[0] for sample in printed()}


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())
