"""The project in examples/ is really run: on days of ours, in a code location of its own and together with ours."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import ModuleType

import dagster as dg
import polars as pl
import pytest

from npi_pipeline import build_definitions, scan_providers
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.pipeline import DAY, Pipeline

PROJECT = Path(__file__).parents[1] / "examples/downstream"
NPIS = sorted(npi_numbers(300, seed=5))
DOWNSTREAM = dg.define_asset_job("downstream", selection=["texans"])


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("NPI_DATA_ROOT", str(tmp_path / "npi-data"))
    monkeypatch.setenv("TEXANS_FOLDER", str(tmp_path / "texans"))
    monkeypatch.syspath_prepend(str(PROJECT))
    from npi_downstream import definitions

    return definitions


@pytest.fixture
def pipeline(s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path) -> Pipeline:
    s3.put_list(bucket, "npi_list.txt", NPIS)
    return Pipeline(tmp_path / "npi-data", list_bucket=bucket, registry_url=registry.url, max_retries=0, reuse_hours=0)


def together(example: ModuleType, pipeline: Pipeline) -> dg.Definitions:
    """The example's asset in one code location with ours, whose IO manager gives it the providers."""
    output = {"output": example.Output(folder=dg.EnvVar("TEXANS_FOLDER"))}
    return dg.Definitions.merge(
        build_definitions(pipeline.settings),
        dg.Definitions(assets=[example.texans], jobs=[DOWNSTREAM], resources=output),
    )


def run(definitions: dg.Definitions, instance: dg.DagsterInstance, job: str) -> bool:
    ran = definitions.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=str(DAY), raise_on_error=False
    )
    return ran.success


def texans_in(folder: Path) -> list[str]:
    return pl.read_parquet(folder / f"texans/day={DAY}/texans.parquet")["npi"].unique().sort().to_list()


def texans_of(pipeline: Pipeline) -> list[str]:
    of_texas = scan_providers(pipeline.data_root, DAY).filter(pl.col("states").list.contains("TX"))
    return of_texas.select("npi").collect()["npi"].to_list()


def test_the_example_reads_a_day_of_ours_in_a_code_location_of_its_own(
    example: ModuleType, pipeline: Pipeline, tmp_path: Path
) -> None:
    assert pipeline.run().ok
    job = example.defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(partition_key=str(DAY)).success
    assert texans_in(tmp_path) == texans_of(pipeline) != []


def test_a_day_that_is_not_there_fails_the_example_on_one_line(example: ModuleType) -> None:
    job = example.defs.resolve_implicit_global_asset_job_def()
    failed = job.execute_in_process(partition_key=str(DAY), raise_on_error=False)
    (step,) = [event for event in failed.all_events if event.is_step_failure]
    error = step.step_failure_data.error
    assert error is not None
    assert f"provider_table/day={DAY}/table.json" in error.to_string()
    assert "materialise the assets before this one" in error.to_string()


@pytest.mark.parametrize(("error_share", "is_asked_for"), [(0.0, True), (0.3, False)])
def test_together_with_ours_it_follows_the_days_run_unless_a_blocking_check_of_ours_failed(
    example: ModuleType,
    pipeline: Pipeline,
    registry: EmulatedRegistry,
    tmp_path: Path,
    error_share: float,
    is_asked_for: bool,
) -> None:
    registry.configure(error_share=error_share)
    definitions = together(example, pipeline)
    with dg.DagsterInstance.ephemeral() as instance:
        assert requested(definitions, instance) == 0
        assert run(definitions, instance, "npi_daily") is is_asked_for
        assert not (tmp_path / "texans").exists(), "the day's run is of our assets alone"
        assert requested(definitions, instance) == int(is_asked_for)
        if is_asked_for:
            assert run(definitions, instance, "downstream")
            assert texans_in(tmp_path) == texans_of(pipeline) != []


def requested(definitions: dg.Definitions, instance: dg.DagsterInstance) -> int:
    """How many partitions of the example the daemon would ask for at noon of DAY."""
    at_noon = dt.datetime.combine(DAY, dt.time(12), tzinfo=dt.timezone.utc)
    return dg.evaluate_automation_conditions(definitions, instance, evaluation_time=at_noon).total_requested
