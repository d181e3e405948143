"""What each asset's page says of a day: where its files are, how many, and what became of the NPIs.

Not here: how the UI shows it (``browser``).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pytest

from npi_pipeline.days.paths import journal_folder, provider_table_folder, state_files_folder
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.daily_job import JOB_NAME
from npi_pipeline.outcomes import Outcome
from npi_pipeline.state_files.publish import read_manifest
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.pipeline import DAY, Pipeline

# On one worker: they share a day.
pytestmark = pytest.mark.xdist_group("metadata")

NPIS = sorted(npi_numbers(40, seed=2))
FOLDERS = {
    "npi_records": journal_folder(DAY),
    "providers": provider_table_folder(DAY),
    "state_files": state_files_folder("state_files", DAY),
}


class Shown(NamedTuple):
    """A deployment that has run DAY, and the metadata of each asset."""

    pipeline: Pipeline
    pages: dict[str, dict[str, dg.MetadataValue]]


@pytest.fixture(scope="module")
def usual(s3_server: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """A day without failures: one for all that look at it."""
    bucket = "a-day-to-be-looked-at"
    s3_server.create_bucket(bucket)
    s3_server.put_list(bucket, "npi_list.txt", NPIS)
    with pytest.MonkeyPatch.context() as patch, emulated_registry() as registry:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        pipeline = pipeline_in(tmp_path_factory.mktemp("usual"), bucket, registry)
        return Shown(pipeline, pages(pipeline))


@pytest.fixture
def pipeline(s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path) -> Pipeline:
    s3.put_list(bucket, "npi_list.txt", NPIS)
    return pipeline_in(tmp_path / "npi-data", bucket, registry)


def pipeline_in(data_root: Path | str, bucket: str, registry: EmulatedRegistry) -> Pipeline:
    return Pipeline(
        data_root, list_bucket=bucket, registry_url=registry.url, max_retries=0, failed_share_limit=1.0, reuse_hours=0
    )


def pages(pipeline: Pipeline) -> dict[str, dict[str, dg.MetadataValue]]:
    """The metadata of each asset after a run of DAY."""
    job = build_definitions(pipeline.settings).resolve_job_def(JOB_NAME)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, partition_key=str(DAY), run_config=quiet)
        assert result.success
        return {
            materialisation.asset_key.to_user_string(): dict(materialisation.metadata)
            for materialisation in (event.materialization for event in result.get_asset_materialization_events())
        }


@pytest.fixture
def on_s3(s3: LocalS3, bucket: str, registry: EmulatedRegistry) -> Shown:
    s3.put_list(bucket, "npi_list.txt", NPIS)
    pipeline = pipeline_in(f"s3://{bucket}/some/prefix", bucket, registry)
    return Shown(pipeline, pages(pipeline))


@pytest.mark.parametrize("day", ["usual", pytest.param("on_s3", marks=pytest.mark.long)])
def test_each_page_says_where_the_files_lie_and_how_many_bytes_and_rows(
    request: pytest.FixtureRequest, day: str
) -> None:
    pipeline, shown = request.getfixturevalue(day)
    root = open_data_root(pipeline.settings.files.data_root)
    for asset, metadata in shown.items():
        assert metadata["dagster/uri"].value == metadata["where"].value, asset
        # A page has no rows.
        assert asset == "day_report" or metadata["dagster/partition_row_count"].value is not None, asset
    published_in = read_manifest(root, "state_files", DAY).folder
    for asset, made_in in FOLDERS.items():
        folder = f"{made_in}/{published_in}" if asset == "state_files" and published_in else made_in
        assert shown[asset]["where"].value == root.uri(folder)
        assert shown[asset]["bytes"].value == sum(file.size for file in root.list(folder))
    assert shown["state_files"]["manifest"].value == root.uri(f"{FOLDERS['state_files']}/manifest.json")


def test_every_outcome_and_the_ten_largest_states_are_numbers_of_their_own(usual: Shown) -> None:
    pipeline, shown = usual
    manifest = pipeline.manifest()
    for outcome in Outcome:
        assert shown["npi_records"][outcome.value].value == manifest["outcomes"][outcome.value]
        assert shown["state_files"][f"npis_{outcome.value}"].value == manifest["outcomes"][outcome.value]
    rows = {file["state"]: file["rows"] for file in manifest["files"]}
    states = sorted(set(rows) - {"None", "Failed"}, key=lambda state: (-rows[state], state))[:10]
    plotted = [label for label in shown["state_files"] if label.startswith("rows_") and label != "rows_per_state"]
    assert plotted == [f"rows_{state}" for state in ("None", "Failed", *states)]
    assert [shown["state_files"][label].value for label in plotted] == [
        rows["None"],
        rows["Failed"],
        *map(rows.get, states),
    ]
    # They are many: what one reads first stands before them.
    assert list(shown["state_files"])[-len(plotted) :] == plotted


def test_the_columns_of_the_files_are_described_as_they_are(usual: Shown) -> None:
    pipeline, shown = usual
    of_files = shown["state_files"]["columns"].value
    assert isinstance(of_files, dg.TableSchema)
    assert [column.name for column in of_files.columns] == pipeline.manifest()["columns"]
    of_parquet = shown["providers"]["dagster/column_schema"].value
    assert isinstance(of_parquet, dg.TableSchema)
    names = [column.name for column in of_parquet.columns]
    assert {"npi", "taxonomies", "unknown_fields"} < set(names)
    assert not [name for name in names if "[" in name]
    assert all(column.description for schema in (of_files, of_parquet) for column in schema.columns)


def test_failed_npis_are_told_by_reason_with_examples(pipeline: Pipeline, registry: EmulatedRegistry) -> None:
    registry.configure(fault_share=0.5, fault_tries=1, fault_kinds=("500", "html_200"))
    failing = {npi: registry.planned_faults(npi)[0] for npi in NPIS if registry.planned_faults(npi)}
    table = pages(pipeline)["npi_records"]["failure_reasons"]
    assert isinstance(table, dg.TableMetadataValue)
    told = {str(record.data["reason"]): record.data for record in table.records}
    assert set(told) == {"HTTP 500 Internal Server Error", "the answer is no JSON"}
    assert sum(int(row["npis"] or 0) for row in told.values()) == len(failing)
    for reason, fault in (("HTTP 500 Internal Server Error", "500"), ("the answer is no JSON", "html_200")):
        npis = [npi for npi in NPIS if failing.get(npi) == fault]
        assert told[reason] == {
            "reason": reason,
            "npis": len(npis),
            "share": f"{100 * len(npis) / len(failing):.1f} %",
            "examples": ", ".join(npis[:3]),
        }


def test_a_page_of_a_day_without_failures_has_no_table_of_reasons(usual: Shown) -> None:
    assert "failure_reasons" not in usual.pages["npi_records"]
