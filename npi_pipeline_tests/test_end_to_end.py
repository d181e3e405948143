"""A day from end to end: a real S3 server, the emulated registry over HTTP, real Dagster runs, real files."""

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

from npi_pipeline.cli.commands import main
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.checks import asset_checks
from npi_pipeline.outcomes import Outcome
from npi_pipeline.proofs.day_status import DayState
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.pipeline import DAY, Pipeline, npis_of

NPIS = sorted(npi_numbers(150))
BAD_LINES = {
    "1234567890": "check digit is 0, should be 3",
    "12345": "has 5 digits instead of 10",
    "hello": "holds something other than the digits 0-9",
    "+1234567893": "holds something other than the digits 0-9",
}


def messy_list(npis: list[str]) -> bytes:
    """The NPIs among every kind of line that lists have been seen to hold."""
    lines = ["\ufeffNPI;Name", *npis, "", f'"{npis[0]}";"Doe; Jane"', f"  {npis[1]} ", ";;", *BAD_LINES, npis[2], ""]
    return "\r\n".join(lines).encode()


@pytest.fixture
def pipeline(s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path) -> Pipeline:
    """A deployment whose list of DAY holds NPIS and every kind of bad line."""
    s3.put_list(bucket, f"lists/{DAY}.txt", messy_list(NPIS))
    return Pipeline(
        tmp_path / "npi-data",
        list_bucket=bucket,
        list_key="lists/{date:%Y-%m-%d}.txt",
        registry_url=registry.url,
        wait=0.01,
    )


def test_a_day_that_was_run_is_published_whole(
    pipeline: Pipeline, registry: EmulatedRegistry, s3: LocalS3, bucket: str
) -> None:
    run = pipeline.run()

    assert (run.problems, run.ok) == ((), True)
    expect_every_distinct_npi_in_a_state_file_or_in_failed(pipeline)
    assert sorted(registry.requests_by_npi()) == NPIS, "an invalid NPI is never sent to the registry"
    expect_one_header_and_rows_sorted_by_npi(pipeline)
    expect_the_manifest_to_say_where_the_list_came_from_and_to_count_every_outcome(pipeline, s3, bucket)
    kept = pipeline.data_root / "npi_list" / str(DAY) / "npi_list.txt"
    assert kept.read_bytes() == messy_list(NPIS), "the list is kept byte for byte"


def expect_every_distinct_npi_in_a_state_file_or_in_failed(pipeline: Pipeline) -> None:
    files = pipeline.state_files()
    failed = {row["npi"]: row for row in files.pop("Failed")}
    found = {npi for rows in files.values() for npi in npis_of(rows)}
    truth = {npi: outcome_of(npi) for npi in NPIS}
    assert found == {npi for npi, outcome in truth.items() if outcome is Outcome.found}
    assert found.isdisjoint(failed)
    expected_failed = {npi: outcome.value for npi, outcome in truth.items() if outcome is not Outcome.found}
    escaped = {f"'{npi}" if npi.startswith("+") else npi: "invalid" for npi in BAD_LINES}
    assert {npi: row["outcome"] for npi, row in failed.items()} == {**expected_failed, **escaped}
    assert {npi: failed[npi]["reason"] for npi in ("12345", "hello")} == {
        npi: BAD_LINES[npi] for npi in ("12345", "hello")
    }


def test_a_line_whose_npi_column_is_empty_is_a_row_of_failed_and_the_day_is_published(
    pipeline: Pipeline, s3: LocalS3, bucket: str
) -> None:
    s3.put_list(bucket, f"lists/{DAY}.txt", "npi,name\n,foo\n" + "".join(f"{npi},bar\n" for npi in NPIS[:40]))

    run = pipeline.run()
    assert (run.problems, run.ok) == ((), True)
    (row,) = (row for row in pipeline.state_files()["Failed"] if not row["npi"])
    assert (row["outcome"], row["reason"]) == ("invalid", "the NPI column is empty")

    next_day = DAY + dt.timedelta(days=1)
    s3.put_list(bucket, f"lists/{next_day}.txt", NPIS[:40])
    assert pipeline.run(next_day).ok, "it leaves the list again"


def expect_one_header_and_rows_sorted_by_npi(pipeline: Pipeline) -> None:
    headers = {content.split(b"\n")[0] for content in pipeline.bytes_by_name().values()}
    assert len(headers) == 1
    assert headers.pop().decode().split(",") == pipeline.manifest()["columns"]
    for rows in pipeline.state_files().values():
        assert npis_of(rows) == sorted(npis_of(rows))


def expect_the_manifest_to_say_where_the_list_came_from_and_to_count_every_outcome(
    pipeline: Pipeline, s3: LocalS3, bucket: str
) -> None:
    manifest = pipeline.manifest()
    head = s3.client().head_object(Bucket=bucket, Key=f"lists/{DAY}.txt")
    assert manifest["source"]["bucket"] == bucket
    assert manifest["source"]["key"] == f"lists/{DAY}.txt"
    assert manifest["source"]["etag"] == head["ETag"].strip('"')
    assert sum(manifest["outcomes"].values()) == len(NPIS) + len(BAD_LINES)


def test_a_second_run_asks_nothing_again_and_gives_the_same_bytes(
    pipeline: Pipeline, registry: EmulatedRegistry
) -> None:
    pipeline.run()
    first = pipeline.bytes_by_name()
    asked = registry.stats().requests

    assert pipeline.run().ok
    assert pipeline.bytes_by_name() == first
    assert registry.stats().requests == asked


def test_the_same_outcomes_fetched_anew_give_the_same_bytes(
    pipeline: Pipeline, registry: EmulatedRegistry, tmp_path: Path
) -> None:
    pipeline.run()
    registry.configure(latency=0.01, latency_sigma=1.0)
    anew = Pipeline(tmp_path / "anew", **_settings_of(pipeline), threads=7)

    anew.run()
    assert anew.bytes_by_name() == pipeline.bytes_by_name()


def test_a_shorter_list_leaves_nothing_stale_behind(pipeline: Pipeline, s3: LocalS3, bucket: str) -> None:
    pipeline.run()
    states_before = set(pipeline.state_files())
    s3.put_list(bucket, f"lists/{DAY}.txt", NPIS[:5])

    assert pipeline.run().ok
    files = pipeline.state_files()
    assert set(files) < states_before
    assert {npi for rows in files.values() for npi in npis_of(rows)} == set(NPIS[:5])
    assert len(list(pipeline.folder().glob("*.csv"))) == len(pipeline.manifest()["files"])


def test_a_day_on_s3_has_the_same_files_as_one_on_a_local_root(pipeline: Pipeline, s3: LocalS3, bucket: str) -> None:
    on_s3 = Pipeline(f"s3://{bucket}/some/prefix", **_settings_of(pipeline))
    pipeline.run()

    assert on_s3.run().ok
    folder = f"some/prefix/state_files/{DAY}/"
    listed = s3.client().list_objects_v2(Bucket=bucket, Prefix=folder)["Contents"]
    bodies = {
        entry["Key"].removeprefix(folder): s3.client().get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
        for entry in listed
    }
    manifest = json.loads(bodies.pop("manifest.json"))
    assert bodies == {f"{manifest['folder']}/{name}": body for name, body in pipeline.bytes_by_name().items()}
    assert manifest["files"] == pipeline.manifest()["files"]


def test_the_other_registry_format_gives_state_files_too(pipeline: Pipeline, registry: EmulatedRegistry) -> None:
    other = Pipeline(
        pipeline.data_root,
        **_settings_of(pipeline)
        | {"registry_format": "affiliated_practices", "registry_url": registry.affiliated_practices_url},
    )

    assert other.run().ok
    files = other.state_files()
    assert {"None", "Failed"} < set(files)
    assert "affiliatedPractices.items[0].address.state" in other.manifest()["columns"]
    listed = {npi for rows in files.values() for npi in npis_of(rows)}
    assert set(NPIS) <= listed


def test_every_check_is_evaluated_for_the_day_and_holds(pipeline: Pipeline) -> None:
    job = build_definitions(pipeline.settings).resolve_job_def("npi_daily")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, partition_key=str(DAY))
    passed = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    specs = (spec for check in asset_checks(pipeline.settings.checks) for spec in check.check_specs)
    assert set(passed) == {spec.name for spec in specs}
    # Of the list's bad lines some hold NPIs that are not taken.
    assert {name for name, holds in passed.items() if not holds} <= {"states_are_recognised", "list_is_read_clearly"}


def test_too_many_failures_keep_the_day_from_being_published_and_a_second_run_mends_it(
    pipeline: Pipeline, registry: EmulatedRegistry
) -> None:
    registry.configure(fault_share=0.3, fault_tries=3, fault_kinds=["500"])
    strict = Pipeline(pipeline.data_root, **_settings_of(pipeline), max_retries=1)

    run = strict.run()
    assert not run.ok
    assert run.status.state is DayState.partial
    assert any("NPIs failed" in problem and "materialise the day again" in problem for problem in run.problems)

    registry.configure(fault_share=0.0)
    assert strict.run().ok
    assert strict.run().status.failed == 0


def test_the_command_line_runs_a_day_with_settings_from_the_environment_alone(
    pipeline: Pipeline, s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path
) -> None:
    environment = (
        os.environ
        | s3.environment
        | {
            "NPI_LIST_BUCKET": bucket,
            "NPI_LIST_KEY": "lists/{date:%Y-%m-%d}.txt",
            "NPI_REGISTRY_URL": registry.url,
            "NPI_REGISTRY_FORMAT": "nppes",
            "NPI_DATA_ROOT": str(pipeline.data_root),
            "NPI_START_DATE": "2026-11-01",
            "DAGSTER_HOME": str(tmp_path / "home"),
        }
    )

    command = [sys.executable, "-c", "from npi_pipeline.cli.commands import main; main()"]
    ran = subprocess.run(
        [*command, "run", "--date", str(DAY), "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert (report["ok"], report["state"], report["npis"]) == (True, "complete", len(NPIS) + len(BAD_LINES))

    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        run = instance.get_run_by_id(report["run_id"])
        assert run is not None
        assert (run.job_name, run.tags["dagster/partition"]) == ("npi_daily", str(DAY))

    def npi_pipeline(*arguments: str) -> Result:
        return CliRunner(env=environment).invoke(main, arguments)

    days = json.loads(npi_pipeline("status", "--json").stdout)
    assert {day["day"]: day["state"] for day in days}[str(DAY)] == "complete"

    missing = npi_pipeline("run", "--date", "2026-11-02")
    assert missing.exit_code == 1
    assert f"s3://{bucket}/lists/2026-11-02.txt" in missing.stdout

    before = npi_pipeline("run", "--date", "2026-10-31")
    assert before.exit_code == 2
    assert "NPI_START_DATE" in before.stderr


def _settings_of(pipeline: Pipeline) -> dict[str, object]:
    settings = pipeline.settings
    return {
        **settings.npi_list.model_dump(),
        **settings.registry.model_dump(),
        "wait": settings.fetch.wait,
    }
