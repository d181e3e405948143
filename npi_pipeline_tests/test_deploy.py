"""What stands in ``deploy/`` is what Dagster takes, and what it says is done."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy import create_engine

from npi_pipeline.orchestration.assets.npi_records import REGISTRY_POOL
from npi_pipeline.orchestration.dagster_home import NEW_HOME, is_limited, make_home
from npi_pipeline.settings import FetchSettings, MonitoringSettings, all_settings, environment_variable
from npi_pipeline_tests.deployment import free_port, poll_until

DEPLOY = Path(__file__).parents[1] / "deploy"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dagster.yaml").write_text((DEPLOY / "dagster.yaml").read_text())
    return tmp_path


def test_every_setting_of_the_production_instance_is_one_that_dagster_knows_and_obeys(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert is_limited(instance, REGISTRY_POOL)
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
        assert instance.run_monitoring_enabled
        # A run's clock goes while it waits for the day that fetches before it.
        assert instance.run_monitoring_max_runtime_seconds > 2 * FetchSettings().run_deadline
        assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 2)
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert not instance.telemetry_enabled


def test_a_misspelt_setting_would_be_refused(home: Path) -> None:
    content = (home / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(content.replace("free_slots_after_run_end_seconds", "free_slots_after_end"))
    with pytest.raises(dg.DagsterInvalidConfigError):
        dagster_instance_config(str(home))


def test_the_block_for_postgres_completes_the_file_and_names_a_driver_that_is_there(home: Path) -> None:
    block = (DEPLOY / "postgres.yaml").read_text()
    with (home / "dagster.yaml").open("a") as file:
        file.write(block)
    storage = InstanceRef.from_dir(str(home)).storage_data
    assert storage is not None
    assert (storage.module_name, storage.class_name) == ("dagster_postgres", "DagsterPostgresStorage")

    database = yaml.safe_load(block)["storage"]["postgres"]["postgres_db"]
    known = {name: value["env"] if isinstance(value, dict) else value for name, value in database.items()}
    # Without the scheme SQLAlchemy 2.1 looks for a driver that dagster-postgres does not bring.
    assert create_engine(pg_url_from_config({"postgres_db": known})).driver == "psycopg2"


def test_a_new_home_of_the_command_line_keeps_the_budget_and_one_that_is_there_stays(tmp_path: Path) -> None:
    made = tmp_path / "made"
    make_home(made, "nux: {enabled: false}\n")
    content = yaml.safe_load((made / "dagster.yaml").read_text())
    assert content == yaml.safe_load(NEW_HOME) | {"nux": {"enabled": False}}
    with dg.DagsterInstance.from_config(str(made)) as instance:
        assert is_limited(instance, REGISTRY_POOL)

    (made / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    make_home(made)
    with dg.DagsterInstance.from_config(str(made)) as instance:
        assert not is_limited(instance, REGISTRY_POOL)
        instance.event_log_storage.set_concurrency_slots(REGISTRY_POOL, 1)
        assert is_limited(instance, REGISTRY_POOL)


def test_a_new_home_runs_again_what_died_as_production_does(tmp_path: Path) -> None:
    production = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    assert yaml.safe_load(NEW_HOME)["run_retries"] == production["run_retries"]


def test_serving_migrates_an_empty_storage_first_and_ends_everything_with_it(home: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [DEPLOY / "serve"],
        env=os.environ
        | {
            "DAGSTER_HOME": str(home),
            "PORT": str(port),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONWARNINGS": "ignore",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        poll_until(lambda: process.poll() is not None or _answers(port))
        assert process.poll() is None, process.communicate()[0]
        with dg.DagsterInstance.from_config(str(home)) as instance:
            poll_until(lambda: "SCHEDULER" in instance.get_daemon_heartbeats())
    finally:
        process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 143, said
    assert "more than one head" not in said
    assert not _answers(port)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=60):
            return True
    except OSError:
        return False


def test_the_readme_names_the_settings_of_what_runs_by_itself_and_their_defaults() -> None:
    text = (DEPLOY / "README.md").read_text()
    known = {environment_variable(name) for _, name, _ in all_settings()}
    assert set(re.findall(r"NPI_\w+", text)) - {"NPI_"} <= known
    assert MonitoringSettings().schedule_cron == "0 6 * * *"
    assert MonitoringSettings().audit_cron == "0 18 * * *"
    assert f"the {MonitoringSettings().catch_up_days} days before it" in text
