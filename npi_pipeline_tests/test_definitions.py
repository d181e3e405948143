"""What Dagster sees: a snapshot of the definitions, and that they load everywhere without a warning of ours."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from npi_pipeline.orchestration import daily_job
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.daily_job import STATE_FILES
from npi_pipeline.settings import Settings

PROJECT = Path(__file__).parents[1]

ASSETS = {
    "npi_list": {
        "depends_on": [],
        "kinds": ["s3", "text"],
        "retries": 3,
        "checks": {"list_is_like_recent_days": "WARN", "list_is_of_its_day": "WARN", "list_is_read_clearly": "WARN"},
    },
    "npi_records": {
        "depends_on": ["npi_list"],
        "kinds": ["api", "python"],
        "retries": 3,
        "checks": {
            "answers_are_not_of_the_future": "WARN",
            "every_npi_has_one_outcome": "blocking",
            "failed_share_is_under_the_limit": "blocking",
            "not_found_is_like_recent_days": "WARN",
            "records_tell_npis_apart": "blocking",
            "registry_knows_the_npis": "blocking",
        },
    },
    "providers": {
        "depends_on": ["npi_records"],
        "kinds": ["parquet", "polars"],
        "retries": 0,
        "checks": {
            "databases_take_the_columns": "WARN",
            "no_unknown_fields": "WARN",
            "one_row_per_found_npi": "blocking",
            "states_are_recognised": "WARN",
        },
    },
    "state_files": {
        "depends_on": ["providers"],
        "kinds": ["csv"],
        "retries": 0,
        "checks": {"every_npi_is_accounted_for": "blocking", "state_files_match_the_manifest": "blocking"},
    },
    "provider_changes": {
        "depends_on": ["state_files"],
        "kinds": ["csv", "polars"],
        "retries": 0,
        "checks": {"joins_and_leaves_match_the_lists": "blocking", "no_day_was_skipped": "WARN"},
    },
    "day_report": {"depends_on": ["provider_changes"], "kinds": ["html", "json"], "retries": 3, "checks": {}},
}


@pytest.fixture
def definitions() -> dg.Definitions:
    return build_definitions(Settings.from_environment({}, start_date="2026-11-01"))


def test_assets_dependencies_checks_and_retries_are_these(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    checks: dict[str, dict[str, str]] = {name: {} for name in ASSETS}
    for key in graph.asset_check_keys:
        spec = graph.get_check_spec(key)
        checks[key.asset_key.to_user_string()][key.name] = "blocking" if spec.blocking else "WARN"
    seen = {}
    for key in graph.get_all_asset_keys():
        asset = definitions.resolve_assets_def(key)
        spec = asset.specs_by_key[key]
        policy = asset.op.retry_policy
        seen[key.to_user_string()] = {
            "depends_on": sorted(dependency.asset_key.to_user_string() for dependency in spec.deps),
            "kinds": sorted(spec.kinds),
            "retries": policy.max_retries if policy else 0,
            "checks": dict(sorted(checks[key.to_user_string()].items())),
        }
    assert seen == ASSETS


def test_every_asset_has_an_owner_a_group_a_description_and_daily_utc_partitions_up_to_today(
    definitions: dg.Definitions,
) -> None:
    for key in definitions.resolve_asset_graph().get_all_asset_keys():
        spec = definitions.resolve_assets_def(key).specs_by_key[key]
        assert (spec.owners, spec.group_name) == (["team:provider-data"], "npi")
        assert len(spec.description or "") > 100
        assert spec.partitions_def == dg.DailyPartitionsDefinition("2026-11-01", timezone="UTC", end_offset=1)


def test_the_daily_job_and_its_schedule_are_there_and_the_schedule_is_on(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("npi_daily_schedule")
    assert (schedule.job_name, schedule.cron_schedule, schedule.execution_timezone) == ("npi_daily", "0 6 * * *", "UTC")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_the_sensors_and_the_audit_are_on_from_the_start(definitions: dg.Definitions) -> None:
    sensors = {sensor.name: sensor.default_status for sensor in definitions.get_repository_def().sensor_defs}
    assert sensors == dict.fromkeys(
        ("npi_late_list_sensor", "npi_lost_run_sensor", "npi_failed_run_sensor"), dg.DefaultSensorStatus.RUNNING
    )
    audit = definitions.resolve_schedule_def("npi_audit_schedule")
    assert (audit.job_name, audit.default_status) == ("npi_audit", dg.DefaultScheduleStatus.RUNNING)


def test_state_files_count_as_stale_after_the_hours_of_the_settings(definitions: dg.Definitions) -> None:
    spec = definitions.resolve_assets_def(STATE_FILES).specs_by_key[STATE_FILES]
    assert spec.freshness_policy == dg.FreshnessPolicy.time_window(
        fail_window=dt.timedelta(hours=36), warn_window=dt.timedelta(hours=27)
    )


def test_every_asset_is_among_those_whose_runs_are_watched(definitions: dg.Definitions) -> None:
    assert set(definitions.resolve_asset_graph().get_all_asset_keys()) == daily_job.ASSETS


def test_loading_the_definitions_gives_no_warning() -> None:
    code = "from npi_pipeline.definitions import defs; defs().resolve_all_job_defs()"
    loaded = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (loaded.returncode, loaded.stderr) == (0, "")


def test_a_misspelt_setting_is_told_of_on_one_line_when_the_definitions_are_loaded() -> None:
    code = "from npi_pipeline.definitions import defs; defs().resolve_all_job_defs()"
    environment = os.environ | {"NPI_THREDS": "3"}
    loaded = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert loaded.returncode == 0
    assert loaded.stderr.count("\n") == 1
    assert "NPI_THREDS (NPI_THREADS is meant?)" in loaded.stderr


def test_importing_the_package_reads_no_environment_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, npi_pipeline.cli.commands; print([m for m in ('dagster', 'polars', 'boto3') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        ["dagster", "definitions", "validate", "-w", "workspace.yaml"],
        pytest.param(["dg", "check", "defs"], marks=pytest.mark.long),
    ],
    ids=["dagster", "dg"],
)
def test_both_of_dagsters_own_tools_accept_the_project(command: list[str], tmp_path: Path) -> None:
    executable = Path(sys.executable).with_name(command[0])
    checked = subprocess.run([executable, *command[1:]], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
