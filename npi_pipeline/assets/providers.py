"""The asset ``providers``: the day's records, flattened to one row for each found NPI."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import dagster as dg
import polars as pl

from npi_pipeline.assets.conventions import GROUP, OWNERS, one_line_failures
from npi_pipeline.assets.conventions import table as table_of
from npi_pipeline.day.flatten_records import flatten_records
from npi_pipeline.partitions import day_of
from npi_pipeline.resources import DayStorage, ProviderRegistry
from npi_pipeline.storage.days import provider_table_folder
from npi_pipeline.storage.kept_table import provider_parts
from npi_pipeline.tables.columns import Column, ColumnType
from npi_pipeline.tables.provider_table import ProviderTable

_PREVIEW_ROWS = 5
_PREVIEW_COLUMNS = 12

DESCRIPTION = """The provider table: one row for each found NPI, sorted by NPI, as typed Parquet.

Nested objects are flattened to columns named by their JSON path (`location_address.city`); lists of a declared format
stay lists (`taxonomies`) and are spread to `taxonomies[0].code`, ... in the state files, whose header is the column
schema here. Nothing of an answer is lost: fields that the declared schema lacks are kept in `unknown_fields`, and a
check reports them.
"""


def providers_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset, one partition for each of ``days``."""

    @dg.asset(
        partitions_def=days,
        deps=["npi_records"],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"polars", "parquet"},
        description=DESCRIPTION,
    )
    def providers(
        context: dg.AssetExecutionContext, provider_registry: ProviderRegistry, day_storage: DayStorage
    ) -> dg.MaterializeResult[None]:
        day = day_of(context)
        root = day_storage.open()
        with one_line_failures():
            layout = provider_registry.registry().format.layout
            table = flatten_records(root, day, layout, day_storage.pinned_widths())
        context.log.info(f"{table.rows:,} providers in {len(table.columns)} columns")
        return dg.MaterializeResult(
            metadata={
                "dagster/partition_row_count": table.rows,
                "dagster/uri": root.uri(provider_table_folder(day)),
                "where": dg.MetadataValue.path(root.uri(provider_table_folder(day))),
                "dagster/column_schema": column_schema(table),
                "columns": len(table.columns),
                "list_widths": table.widths,
                "preview": _preview(provider_parts(root, day)),
                "unknown_fields": len(table.unknown_fields),
                "unrecognised_states": len(table.unrecognised_states),
            }
        )

    return providers


def column_schema(table: ProviderTable) -> dg.TableSchema:
    """The header of the day's files as the UI shows it."""
    return dg.TableSchema(columns=[_column(column) for column in table.columns])


def _column(column: Column) -> dg.TableColumn:
    is_key = column.name == "npi"
    return dg.TableColumn(
        column.name,
        type=ColumnType(column.type).value,
        description=column.description,
        constraints=dg.TableColumnConstraints(nullable=not is_key, unique=is_key),
    )


def _preview(parts: Generator[Path]) -> dg.TableMetadataValue:
    """The first rows of the table with their first columns."""
    with contextlib.closing(parts):
        first = next(parts, None)
        frame = pl.DataFrame() if first is None else pl.read_parquet(first, n_rows=_PREVIEW_ROWS)
    return table_of(frame[:, :_PREVIEW_COLUMNS])
