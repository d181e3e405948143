"""The asset ``npi_list``: the day's object from S3, kept verbatim."""

import dagster as dg
import polars as pl

from npi_pipeline.days.paths import list_path
from npi_pipeline.npi_list import NpiList
from npi_pipeline.npi_list.keep_npi_list import keep_npi_list
from npi_pipeline.npi_list.source import ListObject, ListSelection
from npi_pipeline.orchestration.assets.conventions import GROUP, OWNERS, S3_RETRIES, one_line_failures, table
from npi_pipeline.orchestration.partitions import day_of
from npi_pipeline.orchestration.resources import DayStorage, NpiListSource
from npi_pipeline.orchestration.s3_resource import S3

_PREVIEW_ROWS = 5

DESCRIPTION = """The list of NPIs to look up on this day, as it lies in S3.

A key with the day in it is that day's list. Without it, a past day has the object's version as of its end (UTC); in a
bucket without versions it has the object that lies there, and a check warns when that is newer than the day.

The object is kept **byte for byte**, with its ETag, version and digest, and parsed: what separates its columns, its
header, and the column with the NPIs are found (or set with `NPI_LIST_COLUMN`), repetitions are kept once, NPIs with a
wrong check digit are set aside as `invalid`. A check warns of what was not clear.
Everything after it is proven against this list."""


def npi_list_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset, one partition for each of ``days``."""

    @dg.asset(
        partitions_def=days,
        group_name=GROUP,
        owners=OWNERS,
        kinds={"s3", "text"},
        description=DESCRIPTION,
        retry_policy=S3_RETRIES,
    )
    def npi_list(
        context: dg.AssetExecutionContext, s3: S3, npi_list_source: NpiListSource, day_storage: DayStorage
    ) -> dg.MaterializeResult[None]:
        day = day_of(context)
        root = day_storage.open()
        bucket, key = npi_list_source.list_bucket, npi_list_source.key_of(day)
        with one_line_failures():
            listed, parsed = keep_npi_list(root, day, npi_list_source.client(s3), npi_list_source)
        distinct = parsed.npis.height
        where = f"s3://{bucket}/{key}{_which(listed)}"
        context.log.info(
            f"{distinct:,} distinct NPIs in {where}, {parsed.invalid:,} of them invalid; read from {parsed.column_name}"
        )
        return dg.MaterializeResult(
            metadata={
                "dagster/partition_row_count": distinct,
                "dagster/uri": root.uri(list_path(day)),
                "where": dg.MetadataValue.path(root.uri(list_path(day))),
                "source": f"s3://{bucket}/{key}",
                "lines": parsed.lines,
                "header": parsed.header or "none",
                "column": parsed.column_name,
                "title_lines": parsed.title_lines,
                "duplicates": parsed.duplicates,
                "empty_lines": parsed.empty_lines,
                "invalid": parsed.invalid,
                **_invalid_npis(parsed),
                "selection": listed.selection.value,
                "last_modified": dg.MetadataValue.timestamp(listed.last_modified),
                "bytes": len(listed.body),
                "etag": listed.etag,
                **({"version_id": listed.version_id} if listed.version_id else {}),
                "preview": table(parsed.npis.select("npi", "line", "occurrences").head(_PREVIEW_ROWS)),
            }
        )

    return npi_list


def _which(listed: ListObject) -> str:
    """Which object it was, when it is not simply the one that lies there."""
    if listed.selection is ListSelection.version:
        return f" (its version {listed.version_id or 'null'} of {listed.last_modified:%Y-%m-%d %H:%M:%S} UTC)"
    if listed.selection is ListSelection.kept:
        return " (kept by an earlier run from before the day ended: the bucket has none so near to it any more)"
    return ""


def _invalid_npis(parsed: NpiList) -> dict[str, dg.TableMetadataValue]:
    """The first invalid NPIs with their reasons, when there are any."""
    invalid = parsed.npis.filter(pl.col("reason").is_not_null())
    if invalid.is_empty():
        return {}
    return {"invalid_npis": table(invalid.select("npi", "line", "reason").head(_PREVIEW_ROWS))}
