"""The asset ``npi_records``: every NPI of the day looked up in the registry, one outcome each."""

import datetime as dt
from collections.abc import Mapping

import dagster as dg
import polars as pl

from npi_pipeline.days.paths import journal_folder
from npi_pipeline.http_fetch.progress import FetchReport
from npi_pipeline.npi_list.keep_npi_list import kept_npi_list
from npi_pipeline.npi_records.kept_fetches import keep_fetch
from npi_pipeline.npi_records.record_outcomes import RecordedDay, record_outcomes
from npi_pipeline.orchestration.assets.conventions import (
    GROUP,
    NETWORK_RETRIES,
    OWNERS,
    counts_table,
    files_below,
    one_line_failures,
    table,
)
from npi_pipeline.orchestration.assets.run_lineage import first_run_id
from npi_pipeline.orchestration.dagster_home import is_limited
from npi_pipeline.orchestration.launchpad import launchpad_fields
from npi_pipeline.orchestration.partitions import day_of
from npi_pipeline.orchestration.resources import DayStorage, ProviderRegistry
from npi_pipeline.orchestration.table_io import TABLES
from npi_pipeline.outcomes import Outcome
from npi_pipeline.proofs.npi_records import failure_reasons
from npi_pipeline.providers.flatten_records import pinned_widths
from npi_pipeline.registries.nppes_bulk.day_snapshot import snapshot_of_day
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import CheckSettings, FetchSettings
from npi_pipeline.storage.data_root import DataRoot

REGISTRY_POOL = "provider_registry"
"""Days that are fetched at the same time share this pool: its limit (see ``dagster_home``) is the registry's budget."""

_SHOWN_REASONS = 10

DESCRIPTION = """What the provider registry says about each NPI of the day's list, looked up one by one over HTTP.

Every distinct NPI ends with exactly one **outcome**: `found`, `not_found` (the registry has no such NPI),
`deactivated`, `invalid` (no NPI at all, never asked for) or `failed` (no usable answer, with the reason). A day is a
*journal*: Parquet files with a row for each NPI, and the registry's answer as it came.

Outcomes are kept about a second after they arrive. So **when it fails**, is terminated or is killed, materialise the
day again: it asks only for what is missing, and again for what failed for a retryable reason. How the registry is asked
(speed, repeats, deadlines) can be set for one run at the launchpad.

A registry that seems to know nobody is asked for NPIs that it found lately. When it does not find them, the step fails
as if the registry were down, and what it said is asked for again."""


def npi_records_asset(
    days: dg.DailyPartitionsDefinition, defaults: FetchSettings, checks: CheckSettings, *, bulk_first: bool = False
) -> dg.AssetsDefinition:
    """The asset, one partition for each of ``days``; ``defaults`` is what the launchpad starts from.

    ``bulk_first``: what stands in the day's snapshot of the registry is taken from there.
    """

    @dg.asset(
        partitions_def=days,
        deps=["npi_list", *(["registry_snapshot"] if bulk_first else [])],
        group_name=GROUP,
        owners=OWNERS,
        io_manager_key=TABLES,
        kinds={"python", "api"},
        description=DESCRIPTION,
        retry_policy=NETWORK_RETRIES,
        pool=REGISTRY_POOL,
        config_schema=launchpad_fields(FetchSettings, defaults),
    )
    def npi_records(
        context: dg.AssetExecutionContext,
        provider_registry: ProviderRegistry,
        day_storage: DayStorage,
    ) -> dg.MaterializeResult[None]:
        day = day_of(context)
        settings = FetchSettings(**context.op_execution_context.op_config)
        root = day_storage.open()
        if not is_limited(context.instance, REGISTRY_POOL):
            context.log.warning(
                f"the pool {REGISTRY_POOL} has no limit: days that run at once ask the registry as if each were alone; "
                "set concurrency.pools.default_limit in dagster.yaml (see deploy/)"
            )
        with one_line_failures():
            registry = provider_registry.registry()
            # The launchpad sees to each resource alone; what `providers` would refuse is not fetched first.
            pinned_widths(day_storage, registry.format.layout)
            recorded = record_outcomes(
                root,
                day,
                kept_npi_list(root, day),
                registry,
                settings,
                checks=checks,
                asking=first_run_id(context.instance, context.run),
                snapshot=snapshot_of_day(root, day) if bulk_first else None,
                on_progress=lambda progress: context.log.info(str(progress)),
            )
            keep_fetch(root, day, registry.host, recorded.report)
        return dg.MaterializeResult(
            metadata=recorded_metadata(context, root, day, registry, recorded, bulk_first=bulk_first)
        )

    return npi_records


def recorded_metadata(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    root: DataRoot,
    day: dt.date,
    registry: Registry,
    recorded: RecordedDay,
    *,
    bulk_first: bool,
) -> dict[str, dg.MetadataValue | int | float | str]:
    """What the materialisation says of the day; the log gets one line of it."""
    journal = recorded.journal
    context.log.info(
        f"{journal.rows:,} NPIs have an outcome; {recorded.asked:,} of them were asked for in this run"
        f"{'; the journal is left as it was compacted' if recorded.is_unchanged else ''}"
    )
    return {
        "summary": dg.MetadataValue.md(_summary(journal.outcomes, recorded.report)),
        "dagster/partition_row_count": journal.rows,
        **files_below(root, journal_folder(day)),
        **journal.outcomes,
        **failure_table(root, day, journal.outcomes),
        "registry": registry.host,
        "asked_in_this_run": recorded.asked,
        "reused_from_other_days": recorded.reused,
        **({"taken_from_files": recorded.taken} if bulk_first else {}),
        **({"probed": recorded.probed} if recorded.probed else {}),
        **_fetch_metadata(recorded.report),
    }


def _summary(outcomes: Mapping[str, int], report: FetchReport) -> str:
    """The outcomes, and how the asking went, as a reader asks first."""
    counted = ", ".join(f"{npis:,} {outcome.replace('_', ' ')}" for outcome, npis in outcomes.items() if npis)
    if not report.attempts:
        return f"**{counted}**; the registry was not asked in this run."
    repeated = sum(report.retries.values())
    return (
        f"**{counted}**; in this run {report.rate:,.0f} NPIs a second, {repeated:,} of {report.attempts:,} requests "
        f"repeats, {report.refused:,} refused."
    )


def failure_table(root: DataRoot, day: dt.date, outcomes: Mapping[str, int]) -> dict[str, dg.TableMetadataValue]:
    """Why NPIs failed, the most common reasons first; nothing when none did by ``outcomes``."""
    if not outcomes[Outcome.failed.value]:
        return {}
    with one_line_failures():
        reasons = failure_reasons(root, day).head(_SHOWN_REASONS)
    in_percent = pl.format("{} %", (100 * pl.col("share")).round(1))
    return {"failure_reasons": table(reasons.with_columns(share=in_percent))}


def _fetch_metadata(report: FetchReport) -> dict[str, dg.MetadataValue | int | float]:
    """How the asking went, as numbers that the UI plots over the days."""
    return {
        "requests": report.attempts,
        "refused_requests": report.refused,
        "retries": sum(report.retries.values()),
        **({"retries_by_cause": counts_table(report.retries, "cause")} if report.retries else {}),
        "highest_limit_in_flight": report.highest_limit,
        "seconds": round(report.seconds, 3),
        "npis_per_second": round(report.rate, 1),
        **{f"latency_p{percent}_ms": round(1000 * seconds, 1) for percent, seconds in report.latency.items()},
    }
