"""What a user has of a day's report: real runs, also of days that are made no further, and the command."""

from __future__ import annotations

import datetime as dt
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from npi_pipeline.cli.commands import main
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.flattened import address, nppes_body
from npi_pipeline_tests.pipeline import DAY, Pipeline
from npi_pipeline_tests.scripted_registry import scripted_registry

A, B = sorted(npi_numbers(2, seed=7))
TUESDAY = DAY + dt.timedelta(days=1)
ASSET = dg.AssetKey("day_report")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
NOWHERE = json.loads(nppes_body(A, addresses=[address("LOCATION", "ATLANTIS")]))


class Deployment:
    """A pipeline whose data root is in S3, with an instance that remembers, and a registry that answers as told."""

    def __init__(self, pipeline: Pipeline, s3: LocalS3, instance: dg.DagsterInstance, answers: dict[str, Any]) -> None:
        self.pipeline, self._s3, self._instance, self._answers = pipeline, s3, instance, answers

    def run(self, day: dt.date, answers: dict[str, Any]) -> bool:
        """Run ``day`` with a list of the NPIs that the registry has answers about; whether it succeeded."""
        settings = self.pipeline.settings
        self._answers.clear()
        self._answers.update(answers)
        self._s3.put_list(settings.npi_list.list_bucket, settings.npi_list.key_of(day), list(answers))
        job = build_definitions(settings).resolve_job_def("npi_daily")
        ran = job.execute_in_process(
            instance=self._instance, partition_key=str(day), run_config=QUIET, raise_on_error=False
        )
        return ran.success

    def metadata(self, day: dt.date) -> list[dict[str, Any]]:
        """What the UI shows of the report of ``day``, for each time that it was made, the latest first."""
        of_day = dg.AssetRecordsFilter(asset_key=ASSET, asset_partitions=[str(day)])
        records = self._instance.fetch_materializations(of_day, limit=9).records
        made = (record.asset_materialization for record in records)
        return [{name: value.value for name, value in one.metadata.items()} for one in made if one]

    def report(self, day: dt.date, *options: str) -> Result:
        """What the command says of the report of ``day``."""
        root = self.pipeline.settings.files.data_root
        return CliRunner().invoke(main, ["report", "--date", str(day), "--data-root", root, *options])


@pytest.fixture
def deployment(s3: LocalS3, bucket: str) -> Iterator[Deployment]:
    with scripted_registry() as registry, dg.DagsterInstance.ephemeral() as instance:
        pipeline = Pipeline(
            f"s3://{bucket}/npi",
            list_bucket=bucket,
            list_key="{date:%Y-%m-%d}.txt",
            max_retries=1,
            registry_url=registry.url,
            reuse_hours=0,
            list_change_limit=100,
        )
        yield Deployment(pipeline, s3, instance, registry.answers)


def test_a_day_with_warnings_has_a_report_whose_page_in_the_ui_says_so_and_holds_no_secret(
    deployment: Deployment,
) -> None:
    assert deployment.run(DAY, {A: NOWHERE})
    (told,) = deployment.metadata(DAY)
    assert told["verdict"] == "warns"
    assert "`states_are_recognised`" in told["summary"]
    assert len(told["summary"]) < 1000
    assert told["where"].endswith("/npi/day_report/2026-11-23/day_report.html")
    assert "X-Amz" not in str(told)

    said = deployment.report(DAY, "--link")
    assert said.exit_code == 0
    link = said.stdout.splitlines()[-1]
    assert "X-Amz-Expires=3600" in link
    with urllib.request.urlopen(link) as answer:
        assert b"Complete, and proven, with 1 warning" in answer.read()


def test_a_day_that_a_blocking_check_stops_has_a_report_that_says_why(deployment: Deployment) -> None:
    assert not deployment.run(DAY, {A: 403, B: json.loads(nppes_body(B))})
    assert deployment.metadata(DAY) == []
    said = deployment.report(DAY, "--json")
    assert said.exit_code == 1
    told = json.loads(said.stdout)
    assert told["verdict"] == "incomplete"
    broken = [finding["name"] for finding in told["findings"] if not finding["holds"]]
    assert broken == ["failed_share_is_under_the_limit"]
    assert told["fetch"]["failures"][0]["examples"] == A


def test_a_day_that_is_filled_in_later_makes_the_report_of_the_day_after_it_anew(deployment: Deployment) -> None:
    deployment.run(TUESDAY, {A: json.loads(nppes_body(A))})
    deployment.run(DAY, {B: json.loads(nppes_body(B))})
    anew, first = deployment.metadata(TUESDAY)
    assert "Since 2026-11-23: 1 joined, 1 left" in anew["summary"]
    assert "Since" not in first["summary"]
