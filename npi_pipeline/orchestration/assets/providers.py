"""The asset ``providers``: the day's records, flattened to one row for each found NPI."""

import dagster as dg
import polars as pl

from npi_pipeline.days.paths import provider_table_folder
from npi_pipeline.orchestration.assets.conventions import GROUP, OWNERS, column_schema, files_below, one_line_failures
from npi_pipeline.orchestration.assets.conventions import table as table_of
from npi_pipeline.orchestration.partitions import day_of
from npi_pipeline.orchestration.resources import DayStorage, ProviderRegistry
from npi_pipeline.orchestration.table_io import TABLES
from npi_pipeline.providers.flatten_records import flatten_records, pinned_widths, unchanged_table
from npi_pipeline.providers.provider_table import ProviderTable

DESCRIPTION = """The provider table: what the registry says of each found NPI, as one flat, typed row, in Parquet.

Made from the day's records, for whoever wants to query all providers of a day at once, and for the state files.
Nested objects become columns named by their path (`location_address.city`). A list of a declared format stays a list
here (`taxonomies`), and is spread over columns in the state files (`taxonomies[0].code`, ...). Nothing of an answer is
lost: a field that has no column is kept in `unknown_fields`, and a check warns of it.

**When it fails**, materialise it again, with `npi_records` if it says that the journal is damaged: the registry is
asked only for what is missing."""


def providers_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset, one partition for each of ``days``."""

    @dg.asset(
        partitions_def=days,
        deps=["npi_records"],
        group_name=GROUP,
        owners=OWNERS,
        io_manager_key=TABLES,
        kinds={"polars", "parquet"},
        description=DESCRIPTION,
    )
    def providers(
        context: dg.AssetExecutionContext, provider_registry: ProviderRegistry, day_storage: DayStorage
    ) -> dg.MaterializeResult[None]:
        day = day_of(context)
        root = day_storage.open()
        with one_line_failures():
            layout = provider_registry.format.layout
            widths = pinned_widths(day_storage, layout)
            unchanged = unchanged_table(root, day, layout, widths)
            table = unchanged or flatten_records(root, day, layout, widths)
        left = "; left as it is: made from this journal, with these settings, and whole" if unchanged else ""
        context.log.info(f"{table.rows:,} providers in {len(table.columns)} columns{left}")
        return dg.MaterializeResult(
            metadata={
                "dagster/partition_row_count": table.rows,
                **files_below(root, provider_table_folder(day)),
                "dagster/column_schema": _column_schema(table),
                "columns": len(table.columns),
                "list_widths": table.widths,
                "preview": table_of(pl.DataFrame(table.preview)),
                "unknown_fields": len(table.unknown_fields),
                "unrecognised_states": len(table.unrecognised_states),
            }
        )

    return providers


def _column_schema(table: ProviderTable) -> dg.TableSchema:
    """The columns of the Parquet: as those of the state files, but that a list is one column."""
    in_lists = {name: [c for c in table.columns if c.name.startswith(f"{name}[0].")] for name in table.widths}
    plain = [c for c in table.columns if c.name.partition("[")[0] not in in_lists]
    lists = [
        dg.TableColumn(
            name,
            type="list of structs",
            description=f"At most {table.widths[name]} items: {', '.join(c.name.partition('.')[2] for c in items)}.",
        )
        for name, items in in_lists.items()
        if items
    ]
    return dg.TableSchema(columns=[*column_schema(plain[:-1]).columns, *lists, *column_schema(plain[-1:]).columns])
