"""A set-up that is well, and broken ones, each named with its remedy."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from npi_pipeline import clock
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.cli.test_commands import invoke

Environment = dict[str, str]


@pytest.fixture(scope="module")
def answering() -> Iterator[EmulatedRegistry]:
    """A registry that answers all of these tests."""
    with emulated_registry() as server:
        yield server


@pytest.fixture
def well(s3: LocalS3, bucket: str, answering: EmulatedRegistry, tmp_path: Path) -> Environment:
    """The environment of a set-up in which nothing fails."""
    s3.put_list(bucket, "npi_list.txt", list(npi_numbers(20)))
    return {
        "NPI_LIST_BUCKET": bucket,
        "NPI_REGISTRY_URL": answering.url,
        "NPI_DATA_ROOT": str(tmp_path / "data"),
        "DAGSTER_HOME": "",
    }


def diagnosed(environment: Environment) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit code, and of each thing the state and the line."""
    said = invoke("doctor", "--json", **environment)
    return said.exit_code, {each["name"]: (each["state"], each["line"]) for each in json.loads(said.stdout)}


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_all_is_well_and_nothing_is_left_behind(kind: str, well: Environment, bucket: str, tmp_path: Path) -> None:
    if kind == "s3":
        well["NPI_DATA_ROOT"] = f"s3://{bucket}/data"
    code, told = diagnosed(well)
    states = {name: state for name, (state, _) in told.items()}
    assert states == {
        "NPI list": "ok",
        "clock": "ok",
        "registry": "ok",
        "data root": "ok",
        "Dagster home": "warning",
    }, told
    assert code == 0
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("name", "broken", "remedy"),
    [
        ("NPI list", {"NPI_LIST_BUCKET": ""}, "set NPI_LIST_BUCKET"),
        ("NPI list", {"NPI_LIST_BUCKET": "no-such-bucket"}, "NPI_LIST_BUCKET"),
        ("NPI list", {"NPI_LIST_KEY": "other.txt"}, "correct NPI_LIST_KEY"),
        ("registry", {"NPI_REGISTRY_URL": "http://127.0.0.1:9/secret-key/{npi}"}, "correct NPI_REGISTRY_URL"),
        ("data root", {"NPI_DATA_ROOT": "/dev/null/data"}, "set NPI_DATA_ROOT"),
        ("data root", {"NPI_DATA_ROOT": "s3://no-such-bucket/data"}, "NPI_DATA_ROOT"),
    ],
)
def test_what_is_broken_is_named_with_its_remedy_and_the_rest_is_well(
    name: str, broken: Environment, remedy: str, well: Environment
) -> None:
    code, told = diagnosed(well | broken)
    assert code == 1
    assert [each for each, (state, _) in told.items() if state == "failed"] == [name]
    line = told[name][1]
    assert remedy in line
    assert "\n" not in line
    assert "secret-key" not in line


@pytest.mark.parametrize(("minutes", "state"), [(-20, "failed"), (2, "warning")])
def test_a_clock_that_is_off_is_told_by_what_s3_says(
    minutes: int, state: str, well: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.utc_now
    monkeypatch.setattr(clock, "utc_now", lambda: now() + dt.timedelta(minutes=minutes))
    assert diagnosed(well)[1]["clock"][0] == state


def test_bulk_files_that_are_not_there_are_told(well: Environment, tmp_path: Path) -> None:
    code, told = diagnosed(well | {"NPI_REGISTRY_FORMAT": "nppes_bulk", "NPI_BULK_FILES": str(tmp_path / "none")})
    assert code == 1
    assert told["bulk files"][0] == "failed"
    assert "registry" not in told


def test_a_home_whose_pool_has_no_limit_is_told(well: Environment, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    state, line = diagnosed(well | {"DAGSTER_HOME": str(home)})[1]["Dagster home"]
    assert (state, "default_limit" in line) == ("warning", True)
