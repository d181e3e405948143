"""``npi_records`` in shards, as Dagster runs it: byte-identical with one, and a shard repeated by itself."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import dagster as dg
import pytest

from npi_pipeline.days.shard import Shard, shard_lock
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.daily_job import JOB_NAME
from npi_pipeline.orchestration.monitoring.failures import why_failed
from npi_pipeline.settings import Settings
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.pipeline import DAY, Pipeline

NPIS = sorted(npi_numbers(60, seed=3))
RECORDS = dg.AssetKey("npi_records")
FIRST = [dg.AssetKey("npi_list"), RECORDS]


def daily() -> dg.JobDefinition:
    """The daily job by the environment, as another process builds it again."""
    return build_definitions(Settings.from_environment(os.environ)).resolve_job_def(JOB_NAME)


@pytest.fixture
def data_root(
    s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Of a deployment whose environment says three shards, and whose list of DAY holds NPIS and a bad line."""
    s3.put_list(bucket, f"lists/{DAY}.txt", "\n".join(["npi", *NPIS, "12345"]).encode())
    environment = {
        "NPI_LIST_BUCKET": bucket,
        "NPI_LIST_KEY": "lists/{date:%Y-%m-%d}.txt",
        "NPI_REGISTRY_URL": registry.url,
        "NPI_DATA_ROOT": str(tmp_path / "in-shards"),
        "NPI_START_DATE": "2026-11-01",
        "NPI_SHARDS": "3",
        "NPI_REUSE_HOURS": "0",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "in-shards"


def steps(result: dg.ExecuteInProcessResult | dg.JobExecutionResult) -> list[str]:
    """The steps of ``npi_records`` that succeeded, without the ranges."""
    keys = [event.step_key or "" for event in result.all_events if event.is_step_success]
    return [key.removeprefix("npi_records.").partition("[")[0] for key in keys if key.startswith("npi_records.")]


def test_the_days_files_are_those_of_one_shard_byte_for_byte(
    data_root: Path, registry: EmulatedRegistry, tmp_path: Path
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = daily().execute_in_process(instance=instance, partition_key=str(DAY))
        assert steps(result) == ["plan", "shard", "shard", "shard", "seal"]
        assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
        (materialization,) = instance.fetch_materializations(RECORDS, limit=1).records
        metadata = materialization.asset_materialization.metadata  # type: ignore[union-attr]
        assert materialization.partition_key == str(DAY)
        assert {name: metadata[name].value for name in ("asked_in_this_run", "requests", "invalid")} == {
            "asked_in_this_run": 60,
            "requests": 60,
            "invalid": 1,
        }
        again = daily().execute_in_process(instance=instance, partition_key=str(DAY))
        assert steps(again) == ["plan", "seal"], "of a day that is whole there is no shard"
    assert set(registry.requests_by_npi().values()) == {1}

    whole = Pipeline(
        tmp_path / "whole",
        list_bucket=os.environ["NPI_LIST_BUCKET"],
        list_key=os.environ["NPI_LIST_KEY"],
        registry_url=registry.url,
    )
    assert whole.run().ok
    in_shards = Pipeline(data_root)
    assert in_shards.bytes_by_name() == whole.bytes_by_name()


def test_re_executed_from_failure_only_the_shard_that_failed_is_gone_through(
    data_root: Path, registry: EmulatedRegistry, dagster_home: Path
) -> None:
    # Held by somebody else: what it lacks is not to be had by a retry.
    last = Shard(NPIS[40], NPIS[-1])
    job = dg.reconstructable(daily)
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        with shard_lock(open_data_root(str(data_root)), DAY, last):
            failed = dg.execute_job(job, instance, tags={"dagster/partition": str(DAY)})
        assert (failed.success, steps(failed)) == (False, ["plan", "shard", "shard"])
        (failure,) = [event for event in failed.all_events if event.is_step_failure]
        assert failure.step_key == f"npi_records.shard[{last.first}_{last.last}]"
        assert len(registry.requests_by_npi()) == 40

        options = dg.ReexecutionOptions.from_failure(failed.run_id, instance)
        mended = dg.execute_job(job, instance, tags={"dagster/partition": str(DAY)}, reexecution_options=options)
        run = instance.get_run_by_id(mended.run_id)
        assert run is not None
        assert mended.success, why_failed(instance, run)
        assert (mended.success, steps(mended)) == (True, ["shard", "seal"])
    assert set(registry.requests_by_npi().values()) == {1}
    assert len(registry.requests_by_npi()) == 60


def test_the_launchpad_sets_how_shards_ask_as_if_the_asset_were_one_step(data_root: Path) -> None:
    config = {"ops": {"npi_records": {"config": {"threads": 2, "fetch_mode": "all"}}}}
    result = daily().execute_in_process(partition_key=str(DAY), run_config=config, asset_selection=FIRST)
    assert steps(result) == ["plan", "shard", "shard", "shard", "seal"]
    config["ops"]["npi_records"]["config"]["threads"] = 0
    with pytest.raises(dg.DagsterInvalidConfigError, match="NPI_THREADS"):
        daily().execute_in_process(partition_key=str(DAY), run_config=config)


def test_a_pool_that_lets_days_or_shards_wait_for_one_another_is_told_of(data_root: Path, dagster_home: Path) -> None:
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        result = daily().execute_in_process(instance=instance, partition_key=str(DAY), asset_selection=FIRST)
        warnings = [entry.user_message for entry in instance.all_logs(result.run_id) if entry.level == logging.WARNING]
    assert len(warnings) == 1
    assert "concurrency.pools.granularity to run" in warnings[0]


def test_the_command_line_runs_its_day_in_one_piece(data_root: Path) -> None:
    pipeline = Pipeline(data_root, **{name: os.environ[f"NPI_{name.upper()}"] for name in ("list_bucket", "list_key")})
    pipeline.settings = Settings.from_environment(os.environ)
    assert pipeline.run().ok
    assert not (data_root / f"journal/day={DAY}/shards").exists()
