"""One asset on the provider table, in a code location of its own."""

from pathlib import Path

import dagster as dg
import polars as pl

from npi_pipeline import TableIOManager

# A day of ours is made from the same day of theirs: that is what Dagster maps two daily definitions to by itself.
# They may begin on different days.
DAYS = dg.DailyPartitionsDefinition(start_date="2026-11-01", timezone="UTC", end_offset=1)

# The asset is made elsewhere; here it is only named, with who reads it.
providers = dg.AssetSpec("providers", partitions_def=DAYS).with_io_manager_key("npi_tables")


class Output(dg.ConfigurableResource):
    """Where this project's files go."""

    folder: str

    def of_day(self, day: str) -> Path:
        """The file of a day; its folder is made."""
        path = Path(self.folder) / f"day={day}" / "texans.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


# By itself once the newest day's providers are there, and never while a blocking check of theirs fails.
WHEN_PROVEN = (
    dg.AutomationCondition.in_latest_time_window()
    & dg.AutomationCondition.missing()
    & ~dg.AutomationCondition.in_progress()
    & ~dg.AutomationCondition.any_deps_missing()
    & dg.AutomationCondition.all_deps_blocking_checks_passed()
)


@dg.asset(partitions_def=DAYS, automation_condition=WHEN_PROVEN)
def texans(context: dg.AssetExecutionContext, providers: pl.LazyFrame, output: Output) -> dg.MaterializeResult:
    """The providers that practise in Texas, a row for each of their taxonomies."""
    rows = (
        providers.filter(pl.col("states").list.contains("TX"))
        .select("day", "npi", "basic.last_name", "basic.organization_name", "taxonomies")
        .explode("taxonomies")
        .unnest("taxonomies")
        .collect()
    )
    path = output.of_day(context.partition_key)
    rows.write_parquet(path)
    return dg.MaterializeResult(metadata={"dagster/partition_row_count": rows.height, "dagster/uri": str(path)})


defs = dg.Definitions(
    assets=[providers, texans],
    resources={
        "npi_tables": TableIOManager(data_root=dg.EnvVar("NPI_DATA_ROOT")),
        "output": Output(folder=dg.EnvVar("TEXANS_FOLDER")),
    },
)
