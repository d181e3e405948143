"""Our tables as arguments of assets downstream, in real runs over days that were made before."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from npi_pipeline import TableIOManager
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline_tests.complete_days import complete
from npi_pipeline_tests.flattened import nppes_body

A, B = "1000000004", "1000000012"
MONDAY, WEDNESDAY = dt.date(2026, 11, 16), dt.date(2026, 11, 18)
DAYS = dg.DailyPartitionsDefinition("2026-11-01", timezone="UTC")
WEEKS = dg.WeeklyPartitionsDefinition("2026-11-01", timezone="UTC")


def of_ours(name: str) -> dg.AssetSpec:
    return dg.AssetSpec(name, partitions_def=DAYS).with_io_manager_key("npi_tables")


def run(asset: dg.AssetsDefinition, upstream: str, data_root: str, partition: str) -> dg.ExecuteInProcessResult:
    resources = {"npi_tables": TableIOManager(data_root=data_root), "io_manager": dg.mem_io_manager}
    job = dg.Definitions([of_ours(upstream), asset], resources=resources).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(partition_key=partition, raise_on_error=False)


def error_of(result: dg.ExecuteInProcessResult) -> str:
    (step,) = [event for event in result.all_events if event.is_step_failure]
    assert step.step_failure_data.error is not None
    return step.step_failure_data.error.to_string()


def test_an_asset_of_several_days_gets_those_that_are_there(root: DataRoot, data_root: str) -> None:
    @dg.asset(partitions_def=WEEKS)
    def weekly(providers: pl.LazyFrame) -> list[Any]:
        return providers.select("day", "npi").collect().rows()

    complete(root, MONDAY, {A: nppes_body(A)})
    complete(root, WEDNESDAY, {B: nppes_body(B)})
    result = run(weekly, "providers", data_root, "2026-11-15")
    assert result.output_for_node("weekly") == [(MONDAY, A), (WEDNESDAY, B)]


def test_an_argument_that_is_to_be_a_data_frame_is_collected(root: DataRoot, data_root: str) -> None:
    @dg.asset(partitions_def=DAYS)
    def asked(npi_records: pl.DataFrame) -> list[str]:
        return npi_records["npi"].to_list()

    complete(root, MONDAY, {A: nppes_body(A)})
    assert run(asked, "npi_records", data_root, str(MONDAY)).output_for_node("asked") == [A]


def test_an_asset_of_ours_that_is_no_table_is_refused_with_what_to_do(tmp_path: Path) -> None:
    @dg.asset(partitions_def=DAYS)
    def files(state_files: pl.LazyFrame) -> None: ...

    refused = error_of(run(files, "state_files", str(tmp_path), str(MONDAY)))
    assert "state_files is no table" in refused
    assert "name it in deps" in refused


def test_it_keeps_nothing_of_others(tmp_path: Path) -> None:
    @dg.asset(partitions_def=DAYS, io_manager_key="npi_tables")
    def mine() -> int:
        return 1

    refused = error_of(run(mine, "providers", str(tmp_path), str(MONDAY)))
    assert "only reads: give mine an IO manager of its own" in refused
