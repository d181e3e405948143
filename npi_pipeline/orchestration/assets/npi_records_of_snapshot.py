"""The asset ``npi_records`` of a registry that is files: every NPI of the day looked up in the day's snapshot."""

import dagster as dg

from npi_pipeline.days.paths import journal_folder
from npi_pipeline.npi_list.keep_npi_list import kept_npi_list
from npi_pipeline.npi_records.record_snapshot import record_snapshot
from npi_pipeline.orchestration.assets.conventions import GROUP, OWNERS, S3_RETRIES, files_below, one_line_failures
from npi_pipeline.orchestration.assets.npi_records import failure_table
from npi_pipeline.orchestration.partitions import day_of
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.orchestration.table_io import TABLES
from npi_pipeline.registries.nppes_bulk.day_snapshot import snapshot_of_day

DESCRIPTION = """What the registry's files say about each NPI of the day's list, as of the day.

Every distinct NPI ends with exactly one **outcome**: `found`, `not_found` (the files have no such NPI), `deactivated`,
`invalid` (no NPI at all) or `failed` (its row in a file cannot be read, with the reason). A day's *journal* has a row
for each NPI; the records themselves stand in the snapshot, which it names.

**When it fails**, materialise it again; nobody is asked, and it takes seconds."""


def npi_records_of_snapshot_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset, one partition for each of ``days``."""

    @dg.asset(
        name="npi_records",
        partitions_def=days,
        deps=["npi_list", "registry_snapshot"],
        group_name=GROUP,
        owners=OWNERS,
        io_manager_key=TABLES,
        kinds={"polars", "parquet"},
        description=DESCRIPTION,
        retry_policy=S3_RETRIES,
    )
    def npi_records(context: dg.AssetExecutionContext, day_storage: DayStorage) -> dg.MaterializeResult[None]:
        day = day_of(context)
        root = day_storage.open()
        with one_line_failures():
            recorded = record_snapshot(root, day, kept_npi_list(root, day), snapshot_of_day(root, day))
        journal = recorded.journal
        left = "; the journal is left as it was" if recorded.is_unchanged else ""
        context.log.info(f"{journal.rows:,} NPIs have an outcome{left}")
        return dg.MaterializeResult(
            metadata={
                "dagster/partition_row_count": journal.rows,
                **files_below(root, journal_folder(day)),
                **journal.outcomes,
                **failure_table(root, day, journal.outcomes),
                "registry": journal.registry,
            }
        )

    return npi_records
