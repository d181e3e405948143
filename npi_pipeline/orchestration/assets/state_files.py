"""The asset ``state_files``: the day's CSVs, published whole."""

import datetime as dt
from collections.abc import Mapping

import dagster as dg
import polars as pl

from npi_pipeline.days.paths import MANIFEST_NAME, state_file_name, state_files_folder
from npi_pipeline.orchestration.assets.conventions import (
    GROUP,
    OWNERS,
    column_schema,
    files_below,
    one_line_failures,
    table,
)
from npi_pipeline.orchestration.partitions import day_of
from npi_pipeline.orchestration.pictures import state_bars, state_tile_map
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.providers.kept_table import read_provider_table
from npi_pipeline.providers.provider_table import NO_STATE
from npi_pipeline.settings import MonitoringSettings
from npi_pipeline.state_files.manifest import Manifest
from npi_pipeline.state_files.publish_state_files import publish_state_files, unchanged_publication

_PLOTTED = 10

DESCRIPTION = """The result of a day: one CSV for each US state, for whoever works with the providers of a state.

A row is a provider, and stands in the file of *every* state where it practises. Providers without a usable state are
in the file `None`, and every NPI that could not be had is in `Failed` with the reason, so that no NPI of the list is
missing. All files of a day have the same header. On the map, a tile is darker the more rows its state has.

`manifest.json` names every file with rows, bytes and SHA-256, and is written last: where it lies, the day is published
and whole. **When it fails**, nothing new is to be seen there; materialise it again, or the asset that it names."""


def state_files_asset(days: dg.DailyPartitionsDefinition, monitoring: MonitoringSettings) -> dg.AssetsDefinition:
    """The asset, one partition for each of ``days``; ``monitoring`` says when it counts as stale."""
    stale_after = dt.timedelta(hours=monitoring.fresh_hours)

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
            unchanged = unchanged_publication(root, day, day_storage)
            manifest = unchanged or publish_state_files(root, day, day_storage)
        folder = state_files_folder(day_storage.state_files_dir, day)
        where = f"{folder}/{manifest.folder}" if manifest.folder else folder
        rows = {file.state: file.rows for file in manifest.files}
        left = ", and left as they are: made from this table, with these settings, and whole" if unchanged else ""
        context.log.info(
            f"{len(rows)} state files with {sum(rows.values()):,} rows published in {root.uri(where)}{left}"
        )
        return dg.MaterializeResult(
            metadata={
                "dagster/partition_row_count": sum(rows.values()),
                **files_below(root, where),
                "map_of_states": dg.MetadataValue.md(state_tile_map(rows)),
                "rows_per_state": dg.MetadataValue.md(state_bars(rows, day_storage.failed_name)),
                "manifest": dg.MetadataValue.path(root.uri(f"{folder}/{MANIFEST_NAME}")),
                **{f"npis_{outcome}": count for outcome, count in manifest.outcomes.items()},
                # Not as `dagster/column_schema`: the UI would put hundreds of columns above everything else.
                "columns": column_schema(read_provider_table(root, day).columns),
                "file_names": state_file_name(day_storage, day, "{state}"),
                "files": table(_file_table(manifest)),
                # Numbers of their own, since the UI plots those over the days; no more than one looks at.
                **{f"rows_{state}": count for state, count in _plotted(rows, day_storage.failed_name)},
            }
        )

    return state_files


def _plotted(rows: Mapping[str, int], failed_name: str) -> list[tuple[str, int]]:
    """The rows of None and Failed, and of the states that have the most (of equal ones the first by name)."""
    states = [of_file for of_file in rows.items() if of_file[0] not in {NO_STATE, failed_name}]
    others = [(name, rows[name]) for name in (NO_STATE, failed_name) if name in rows]
    return others + sorted(states, key=lambda of_file: (-of_file[1], of_file[0]))[:_PLOTTED]


def _file_table(manifest: Manifest) -> pl.DataFrame:
    """The files of a day for a person; their names and SHA-256 stand in the manifest."""
    columns = ("state", "rows", "bytes")
    return pl.DataFrame({column: [getattr(file, column) for file in manifest.files] for column in columns})
