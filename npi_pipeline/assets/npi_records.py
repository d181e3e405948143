"""The asset ``npi_records``: every NPI of the day looked up in the registry, one outcome each."""

import dagster as dg

from npi_pipeline.assets.conventions import GROUP, NETWORK_RETRIES, OWNERS, counts_table, one_line_failures
from npi_pipeline.day.keep_npi_list import kept_npi_list
from npi_pipeline.day.record_outcomes import record_outcomes
from npi_pipeline.enrichment.progress import FetchReport
from npi_pipeline.launchpad import launchpad_config, settings_of
from npi_pipeline.partitions import day_of
from npi_pipeline.resources import DayStorage, ProviderRegistry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.storage.days import journal_folder

REGISTRY_POOL = "provider_registry"
"""Days that are fetched at the same time share this pool: its limit (see ``dagster_home``) is the registry's budget."""

DESCRIPTION = """What the provider registry says about each NPI of the list.

Every distinct NPI gets exactly one **outcome**: `found`, `not_found`, `deactivated`, `invalid` or `failed`.
Outcomes go to the day's journal about a second after they arrive, with the registry's answer as it came; a run that is
cancelled, killed or tried again asks only for what is missing. How the registry is asked can be set at the launchpad.
"""


def npi_records_asset(days: dg.DailyPartitionsDefinition, defaults: FetchSettings) -> dg.AssetsDefinition:
    """The asset, one partition for each of ``days``; ``defaults`` is what the launchpad starts from."""
    config_class = launchpad_config("NpiRecordsConfig", defaults)

    @dg.asset(
        partitions_def=days,
        deps=["npi_list"],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"python", "api"},
        description=DESCRIPTION,
        retry_policy=NETWORK_RETRIES,
        pool=REGISTRY_POOL,
    )
    def npi_records(
        context: dg.AssetExecutionContext,
        config: config_class,  # type: ignore[valid-type]
        provider_registry: ProviderRegistry,
        day_storage: DayStorage,
    ) -> dg.MaterializeResult[None]:
        day = day_of(context)
        settings = settings_of(config, FetchSettings)
        root = day_storage.open()
        with one_line_failures():
            registry = provider_registry.registry()
            recorded = record_outcomes(
                root,
                day,
                kept_npi_list(root, day),
                registry,
                settings,
                on_progress=lambda progress: context.log.info(str(progress)),
            )
        journal = recorded.journal
        context.log.info(
            f"{journal.rows:,} NPIs have an outcome; {recorded.asked:,} of them were asked for in this run"
        )
        return dg.MaterializeResult(
            metadata={
                "dagster/partition_row_count": journal.rows,
                "dagster/uri": root.uri(journal_folder(day)),
                "where": dg.MetadataValue.path(root.uri(journal_folder(day))),
                **journal.outcomes,
                "registry": registry.host,
                "asked_in_this_run": recorded.asked,
                "reused_from_other_days": recorded.reused,
                **_fetch_metadata(recorded.report),
            }
        )

    return npi_records


def _fetch_metadata(report: FetchReport) -> dict[str, dg.MetadataValue | int | float]:
    """How the asking went, as numbers that the UI plots over the days."""
    return {
        "requests": report.attempts,
        "refused_requests": report.refused,
        "retries": sum(report.retries.values()),
        **({"retries_by_cause": counts_table(report.retries, "cause")} if report.retries else {}),
        "highest_limit_in_flight": report.highest_limit,
        "seconds": round(report.seconds, 3),
        "npis_a_second": round(report.rate, 1),
        **{f"latency_p{percent}_ms": round(1000 * seconds, 1) for percent, seconds in report.latency.items()},
    }
