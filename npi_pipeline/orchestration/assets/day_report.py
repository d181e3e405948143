"""The asset ``day_report``: what a person looks at."""

import datetime as dt
from collections.abc import Mapping

import dagster as dg

from npi_pipeline.days.paths import day_report_folder
from npi_pipeline.orchestration.assets.conventions import GROUP, OWNERS, S3_RETRIES, one_line_failures
from npi_pipeline.orchestration.partitions import day_of
from npi_pipeline.orchestration.pictures import INLINE_CHARACTERS
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.report.day_report import DayReport
from npi_pipeline.report.make_report import has_report, make_report, report_page_path
from npi_pipeline.report.summary import summary_of
from npi_pipeline.state_files.publish import published_after
from npi_pipeline.storage.data_root import DataRoot, size_of

DESCRIPTION = """The day for a person who looks: one HTML page that needs nothing else, to be opened, sent or printed,
and the same as JSON.

It says whether the day is complete and can be trusted, with what was found of each claim; what changed since the day
before; where the providers are; how the fetch went; how the last thirty days compare; and what the files hold.

It is made although warnings were found. **Where a blocking check does not hold**, the day is made no further, and that
check makes the report instead. `npi-pipeline report --date` makes it from the files at any time, and with `--link`
gives a link for a report on S3."""


def day_report_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset, one partition for each of ``days``."""

    @dg.asset(
        partitions_def=days,
        deps=["provider_changes"],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"html", "json"},
        description=DESCRIPTION,
        retry_policy=S3_RETRIES,
    )
    def day_report(context: dg.AssetExecutionContext, day_storage: DayStorage) -> dg.MaterializeResult[None]:
        day = day_of(context)
        root = day_storage.open()
        with one_line_failures():
            report = make_report(root, day_storage, day)
            _next_day_anew(context, root, day_storage, day)
            metadata = _metadata(root, report)
        context.log.info(f"{report.headline}; {root.uri(report_page_path(day))}")
        return dg.MaterializeResult(metadata=metadata)

    return day_report


def _next_day_anew(context: dg.AssetExecutionContext, root: DataRoot, day_storage: DayStorage, day: dt.date) -> None:
    """The next complete day's changes are against this one, maybe found anew: so its report is made anew."""
    after = published_after(root, day_storage.state_files_dir, day)
    if after and has_report(root, after.day):
        report = make_report(root, day_storage, after.day)
        context.log_event(
            dg.AssetMaterialization(context.asset_key, partition=str(after.day), metadata=_metadata(root, report))
        )


def _metadata(root: DataRoot, report: DayReport) -> Mapping[str, dg.MetadataValue | str | int]:
    where = root.uri(report_page_path(report.day))
    return {
        "summary": dg.MetadataValue.md(summary_of(report, INLINE_CHARACTERS)),
        "dagster/uri": where,
        "where": dg.MetadataValue.path(where),
        "bytes": size_of(root, day_report_folder(report.day)),
        "verdict": report.verdict.value,
        "claims": len(report.findings),
        "warnings": len(report.warnings),
    }
