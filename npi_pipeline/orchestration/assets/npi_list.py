"""The asset ``npi_list``: the day's object from S3, kept verbatim, or every NPI of the registry's own files."""

import datetime as dt

import dagster as dg
import polars as pl

from npi_pipeline.days.paths import list_path
from npi_pipeline.npi_list import NpiList
from npi_pipeline.npi_list.keep_npi_list import keep_list_of_registry, keep_npi_list
from npi_pipeline.npi_list.source import ListObject, ListSelection
from npi_pipeline.orchestration.assets.conventions import GROUP, OWNERS, S3_RETRIES, one_line_failures, table
from npi_pipeline.orchestration.partitions import day_of
from npi_pipeline.orchestration.resources import DayStorage, NpiListSource
from npi_pipeline.orchestration.s3_resource import S3
from npi_pipeline.registries.nppes_bulk.day_snapshot import snapshot_of_day
from npi_pipeline.registries.nppes_bulk.snapshot import slices
from npi_pipeline.storage.data_root import DataRoot

_PREVIEW_ROWS = 5

DESCRIPTION = """The list of NPIs to look up on this day, as it lies in S3.

A key with the day in it is that day's list. Without it, a past day has the object's version as of its end (UTC); in a
bucket without versions it has the object that lies there, and a check warns when that is newer than the day.

The object is kept **byte for byte**, with its ETag, version and digest, and parsed: what separates its columns, its
header, and the column with the NPIs are found (or set with `NPI_LIST_COLUMN`), repetitions are kept once, NPIs with a
wrong check digit are set aside as `invalid`. A check warns of what was not clear.
Everything after it is proven against this list."""

DESCRIPTION_OF_REGISTRY = """Every NPI that the registry's files hold as of this day, deactivated ones too.

No list is named (`NPI_LIST_BUCKET`), so everybody is looked up. The NPIs are kept as a list like any other, and
everything after it is proven against this list."""


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
        with one_line_failures():
            listed, parsed = keep_npi_list(root, day, npi_list_source.client(s3), npi_list_source)
        return _result(context, root, day, listed, parsed)

    return npi_list


def npi_list_of_registry_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset where no list is named: every NPI of the day's snapshot of the registry."""

    @dg.asset(
        name="npi_list",
        partitions_def=days,
        deps=["registry_snapshot"],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"text"},
        description=DESCRIPTION_OF_REGISTRY,
    )
    def npi_list(context: dg.AssetExecutionContext, day_storage: DayStorage) -> dg.MaterializeResult[None]:
        day = day_of(context)
        root = day_storage.open()
        with one_line_failures():
            snapshot = snapshot_of_day(root, day)
            npis = (rows["npi"] for rows in slices(root, snapshot, ("npi",)))
            listed, parsed = keep_list_of_registry(root, day, npis, snapshot.identity, snapshot.as_of)
        return _result(context, root, day, listed, parsed)

    return npi_list


def _result(
    context: dg.AssetExecutionContext, root: DataRoot, day: dt.date, listed: ListObject, parsed: NpiList
) -> dg.MaterializeResult[None]:
    distinct = parsed.distinct
    context.log.info(
        f"{distinct:,} distinct NPIs in {listed.where}{_which(listed)}, {parsed.invalid:,} of them invalid; read from "
        f"{parsed.column_name}"
    )
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": distinct,
            "dagster/uri": root.uri(list_path(day)),
            "where": dg.MetadataValue.path(root.uri(list_path(day))),
            "source": listed.where,
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
            "preview": table(parsed.valid.head(_PREVIEW_ROWS).cast({"npi": pl.String})),
        }
    )


def _which(listed: ListObject) -> str:
    """Which object it was, when it is not simply the one that lies there."""
    if listed.selection is ListSelection.version:
        return f" (its version {listed.version_id or 'null'} of {listed.last_modified:%Y-%m-%d %H:%M:%S} UTC)"
    if listed.selection is ListSelection.kept:
        return " (kept by an earlier run from before the day ended: the bucket has none so near to it any more)"
    return ""


def _invalid_npis(parsed: NpiList) -> dict[str, dg.TableMetadataValue]:
    """The first invalid NPIs with their reasons, when there are any."""
    if not parsed.invalid:
        return {}
    return {"invalid_npis": table(parsed.rejected.select("npi", "line", "reason").head(_PREVIEW_ROWS))}
