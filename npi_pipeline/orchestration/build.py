"""The only place where the parts are put together: assets, checks, resources, jobs, schedules, sensors.

Dagster, the command line, a test and a downstream project each build their own set with it.
Not here: what Dagster loads by name (``npi_pipeline.definitions``).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import dagster as dg

from npi_pipeline.delivery.destinations import check_destinations
from npi_pipeline.orchestration.assets.day_report import day_report_asset
from npi_pipeline.orchestration.assets.npi_list import npi_list_asset, npi_list_of_registry_asset
from npi_pipeline.orchestration.assets.npi_records import npi_records_asset
from npi_pipeline.orchestration.assets.npi_records_in_shards import npi_records_in_shards_asset
from npi_pipeline.orchestration.assets.npi_records_of_snapshot import npi_records_of_snapshot_asset
from npi_pipeline.orchestration.assets.provider_changes import provider_changes_asset
from npi_pipeline.orchestration.assets.providers import providers_asset
from npi_pipeline.orchestration.assets.registry_snapshot import registry_snapshot_asset
from npi_pipeline.orchestration.assets.state_files import state_files_asset
from npi_pipeline.orchestration.checks import asset_checks
from npi_pipeline.orchestration.daily_job import daily_job
from npi_pipeline.orchestration.deliveries.assets import delivery_asset, delivery_checks
from npi_pipeline.orchestration.deliveries.job import deliveries_job
from npi_pipeline.orchestration.deliveries.sensor import deliveries_sensor
from npi_pipeline.orchestration.engines import executor_of
from npi_pipeline.orchestration.launchpad import settings_resource
from npi_pipeline.orchestration.monitoring.alert import Alert, alert_of
from npi_pipeline.orchestration.monitoring.audit import audit_job
from npi_pipeline.orchestration.partitions import daily_partitions
from npi_pipeline.orchestration.resources import DayStorage, NpiListSource, ProviderRegistry
from npi_pipeline.orchestration.retention import retention_job, retention_schedule
from npi_pipeline.orchestration.run_log import log_as_json
from npi_pipeline.orchestration.s3_resource import S3
from npi_pipeline.orchestration.schedules import audit_schedule, daily_schedule
from npi_pipeline.orchestration.sensors import failed_run_sensor, late_list_sensor, orphaned_run_sensor
from npi_pipeline.orchestration.table_io import TABLES, table_io_manager
from npi_pipeline.providers.flatten_records import pinned_widths
from npi_pipeline.registries import FORMATS
from npi_pipeline.settings import LogFormat, Settings, unknown_variables

logger = logging.getLogger(__name__)


def build_definitions(
    settings: Settings | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
    alert: Alert | None = None,
) -> dg.Definitions:
    """The whole pipeline with ``settings``, by default those of the environment. Raises SettingsError.

    ``alert`` is given a line about each failed run, by default as the settings say: to the log or to others.
    """
    settings = settings or _from_environment()
    # `providers` would refuse them too, but only once the day is fetched.
    pinned_widths(settings.files, FORMATS[settings.registry.registry_format.value].layout)
    sinks = settings.deliveries.sinks
    check_destinations(sinks)
    days = daily_partitions(settings.days.start_date)
    has_snapshot = settings.registry.has_snapshot
    return dg.Definitions(
        assets=[
            *_first_assets(settings, days),
            providers_asset(days),
            state_files_asset(days, settings.monitoring),
            provider_changes_asset(days),
            day_report_asset(days),
            *(delivery_asset(sink, days) for sink in sinks),
        ],
        asset_checks=[
            *asset_checks(settings.checks, has_snapshot=has_snapshot, keep_days=settings.retention.keep_days),
            *map(delivery_checks, sinks),
        ],
        jobs=[
            daily_job(has_snapshot=has_snapshot),
            audit_job(settings),
            *([deliveries_job(sinks)] if sinks else []),
            *([retention_job(settings)] if settings.retention.is_any_removed else []),
        ],
        schedules=[
            daily_schedule(settings),
            audit_schedule(settings),
            *([retention_schedule(settings)] if settings.retention.is_any_removed else []),
        ],
        sensors=[
            late_list_sensor(settings),
            orphaned_run_sensor(),
            failed_run_sensor(alert or alert_of(settings.monitoring)),
            *([deliveries_sensor(settings, sinks)] if sinks else []),
        ],
        resources={
            "s3": S3(),
            "npi_list_source": settings_resource(NpiListSource, settings.npi_list),
            "provider_registry": settings_resource(ProviderRegistry, settings.registry),
            "day_storage": settings_resource(DayStorage, settings.files),
            TABLES: table_io_manager,
        },
        executor=executor_of(settings.engine),
        loggers=loggers,
    )


def _first_assets(settings: Settings, days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The list and the outcomes: of a registry that is asked, or of one that is files."""
    registry = settings.registry
    if not registry.is_bulk:
        snapshot = [registry_snapshot_asset(days)] if registry.bulk_first else []
        return [*snapshot, npi_list_asset(days), _asked_records(settings, days)]
    npi_list = npi_list_of_registry_asset(days) if settings.is_list_of_registry else npi_list_asset(days)
    return [registry_snapshot_asset(days), npi_list, npi_records_of_snapshot_asset(days)]


def _asked_records(settings: Settings, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """One step while there is one shard: three would cost as much again, and win nothing."""
    fetch, checks, bulk_first = settings.fetch, settings.checks, settings.registry.bulk_first
    if settings.engine.shards == 1:
        return npi_records_asset(days, fetch, checks, bulk_first=bulk_first)
    return npi_records_in_shards_asset(days, fetch, checks, settings.engine, bulk_first=bulk_first)


def _from_environment() -> Settings:
    """Of a process that is Dagster's: how it logs is set here, too."""
    settings = Settings.from_environment(os.environ)
    if settings.logs.log_format is LogFormat.json:
        log_as_json()
    if unknown := unknown_variables(os.environ):
        logger.warning(unknown)
    return settings
