"""The asset ``registry_snapshot``: the registry's own files as of the day, made ready to be looked up in."""

import dagster as dg
import polars as pl

from npi_pipeline.orchestration.assets.conventions import GROUP, OWNERS, S3_RETRIES, one_line_failures, table
from npi_pipeline.orchestration.partitions import day_of
from npi_pipeline.orchestration.resources import DayStorage, ProviderRegistry
from npi_pipeline.registries.nppes_bulk.day_snapshot import keep_snapshot_of_day
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot, prepare_snapshot

DESCRIPTION = """The whole registry as of this day, from the dissemination files in `NPI_BULK_FILES`.

It is the newest monthly file from before the day's end and the weekly files after it, in order: a past day has the
registry as it was then. A file is prepared once, for all days: sorted by NPI, in the columns of the provider table,
compressed; a weekly file is laid over what is there. When a weekly file is missing the snapshot ends before the gap,
and a check tells which one.

**When it fails**, the line says which file and what is wrong with it. Put a good one there and materialise it again:
what is prepared already is not prepared again."""


def registry_snapshot_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset, one partition for each of ``days``."""

    @dg.asset(
        partitions_def=days,
        group_name=GROUP,
        owners=OWNERS,
        kinds={"polars"},
        description=DESCRIPTION,
        retry_policy=S3_RETRIES,
    )
    def registry_snapshot(
        context: dg.AssetExecutionContext, provider_registry: ProviderRegistry, day_storage: DayStorage
    ) -> dg.MaterializeResult[None]:
        day = day_of(context)
        root = day_storage.open()
        with one_line_failures():
            snapshot = prepare_snapshot(
                root, day, provider_registry.bulk_files, on_progress=lambda line: context.log.info(str(line))
            )
            keep_snapshot_of_day(root, day, snapshot)
        context.log.info(f"the registry as of {snapshot.as_of}, from {len(snapshot.files)} files")
        return dg.MaterializeResult(
            metadata={
                "as_of": snapshot.as_of.isoformat(),
                "days_before": (day - snapshot.as_of).days,
                "files": table(_files(snapshot)),
                "bytes": sum(file.size for file in snapshot.files),
                "snapshot": snapshot.identity,
                **({"missing": list(snapshot.missing)} if snapshot.missing else {}),
            }
        )

    return registry_snapshot


def _files(snapshot: Snapshot) -> pl.DataFrame:
    """The files for a person, in the order in which they are laid on top of each other."""
    return pl.DataFrame(
        [
            {
                "date": file.date.isoformat(),
                "kind": file.kind.value,
                "name": file.name,
                "bytes": file.size,
                "sha256": file.sha256,
            }
            for file in snapshot.files
        ]
    )
