"""What a run says on standard error, to a person and to machines: real runs in processes of their own."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3

TODAY = dt.datetime.now(dt.timezone.utc).date()
NPIS = sorted(npi_numbers(10, seed=2))
LAUNCHED = [
    "dagster",
    "asset",
    "materialize",
    "--module-name",
    "npi_pipeline.definitions",
    "--select",
    "npi_list,npi_records",
]


@pytest.fixture
def environment(s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path) -> dict[str, str]:
    s3.put_list(bucket, "npi_list.txt", NPIS)
    return {
        **os.environ,
        "NPI_LIST_BUCKET": bucket,
        "NPI_REGISTRY_URL": registry.url,
        "NPI_DATA_ROOT": str(tmp_path / "npi-data"),
        "NPI_START_DATE": str(TODAY),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "PYTHONWARNINGS": "ignore",
        "NPI_NO_SUCH_SETTING": "1",
    }


def said_by(environment: dict[str, str], *command: str) -> list[str]:
    """The lines of a command on standard error."""
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run([program, *command[1:]], env=environment, capture_output=True, text=True, check=False)
    return done.stderr.splitlines()


def objects(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def test_every_line_of_a_launched_run_and_of_the_package_is_an_object_of_what_is_known(
    environment: dict[str, str],
) -> None:
    said = objects(said_by(environment | {"NPI_LOG_FORMAT": "json"}, *LAUNCHED, "--partition", str(TODAY)))
    assert said[0]["level"] == "WARNING"
    assert "NPI_NO_SUCH_SETTING" in said[0]["message"]
    of_records = [line for line in said if line.get("step") == "npi_records"]
    assert any("10 NPIs have an outcome" in line["message"] for line in of_records)
    for line in of_records:
        assert dt.datetime.fromisoformat(line["time"]).date() in {TODAY, TODAY + dt.timedelta(days=1)}
        assert (line["job"], line["day"]) == ("__ASSET_JOB", str(TODAY))
    assert len({line["run_id"] for line in of_records}) == 1


@pytest.mark.long
def test_the_command_line_writes_objects_when_it_is_asked_to_and_a_failure_is_one_with_its_reason(
    environment: dict[str, str],
) -> None:
    del environment["NPI_NO_SUCH_SETTING"]
    environment["NPI_LIST_KEY"] = "no_such_list.txt"
    failures = [
        line
        for line in objects(said_by(environment, "npi-pipeline", "run", "--log-format", "json"))
        if line["level"] == "ERROR"
    ]
    assert (failures[0]["step"], failures[0]["day"]) == ("npi_list", str(TODAY))
    assert "there is no such object" in failures[0]["message"]
    assert "Traceback" not in failures[0]["message"]


@pytest.mark.long
def test_a_launched_run_says_what_dagster_says_unless_it_is_set_otherwise(environment: dict[str, str]) -> None:
    assert any("RUN_SUCCESS" in line for line in said_by(environment, *LAUNCHED, "--partition", str(TODAY)))
