"""The asset ``state_files``: the day's CSVs, published whole."""

import datetime as dt

import dagster as dg
import polars as pl

from npi_pipeline.assets.conventions import GROUP, OWNERS, one_line_failures, table
from npi_pipeline.day.publish_state_files import publish_state_files
from npi_pipeline.partitions import day_of
from npi_pipeline.pictures import state_bars, state_tile_map
from npi_pipeline.resources import DayStorage
from npi_pipeline.settings import WatchSettings
from npi_pipeline.storage.days import MANIFEST_NAME, state_files_folder
from npi_pipeline.storage.manifest import Manifest

DESCRIPTION = """One CSV for each US state, one for providers without a usable state (`None`), one for NPIs that could
not be had (`Failed`, with the reason), and the manifest that names them all.

A provider is a row in the file of *every* state where it practises. All files of a day have the same header.
The manifest is written last: its presence says that the day is published."""


def state_files_asset(days: dg.DailyPartitionsDefinition, watch: WatchSettings) -> dg.AssetsDefinition:
    """The asset, one partition for each of ``days``; ``watch`` says when it counts as stale."""
    stale_after = dt.timedelta(hours=watch.fresh_hours)

    @dg.asset(
        partitions_def=days,
        deps=["providers"],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"csv"},
        description=DESCRIPTION,
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=stale_after, warn_window=0.75 * stale_after),
    )
    def state_files(context: dg.AssetExecutionContext, day_storage: DayStorage) -> dg.MaterializeResult[None]:
        day = day_of(context)
        root = day_storage.open()
        with one_line_failures():
            manifest = publish_state_files(root, day, day_storage)
        folder = state_files_folder(day_storage.state_files_dir, day)
        rows = {file.state: file.rows for file in manifest.files}
        context.log.info(f"{len(rows)} state files with {sum(rows.values()):,} rows published in {root.uri(folder)}")
        return dg.MaterializeResult(
            metadata={
                "dagster/partition_row_count": sum(rows.values()),
                "dagster/uri": root.uri(folder),
                "rows_per_state": dg.MetadataValue.md(state_bars(rows, day_storage.failed_name)),
                "map_of_states": dg.MetadataValue.md(state_tile_map(rows, day_storage.failed_name)),
                "manifest": dg.MetadataValue.path(root.uri(f"{folder}/{MANIFEST_NAME}")),
                **{f"npis_{outcome}": count for outcome, count in manifest.outcomes.items()},
                "files": table(_file_table(manifest)),
            }
        )

    return state_files


def _file_table(manifest: Manifest) -> pl.DataFrame:
    """The files of a day for a person; their SHA-256 stands in the manifest."""
    columns = ("state", "rows", "bytes", "name")
    return pl.DataFrame({column: [getattr(file, column) for file in manifest.files] for column in columns})
