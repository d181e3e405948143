"""The only place where the parts are put together: assets, checks, resources, job and schedule.

``build_definitions`` gives a test or the command line its own set; ``defs`` is what Dagster loads. It is a function,
so that importing this module reads nothing of the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import dagster as dg
from dagster_aws.s3 import S3Resource

from npi_pipeline.assets.npi_list import npi_list_asset
from npi_pipeline.assets.npi_records import npi_records_asset
from npi_pipeline.assets.provider_changes import provider_changes_asset
from npi_pipeline.assets.providers import providers_asset
from npi_pipeline.assets.state_files import state_files_asset
from npi_pipeline.checks import asset_checks
from npi_pipeline.partitions import daily_partitions
from npi_pipeline.resources import DayStorage, NpiListSource, ProviderRegistry
from npi_pipeline.schedules import daily_job, daily_schedule
from npi_pipeline.settings import Settings


def build_definitions(
    settings: Settings | None = None, loggers: Mapping[str, dg.LoggerDefinition] | None = None
) -> dg.Definitions:
    """The whole pipeline with ``settings``, by default those of the environment. Raises SettingsError."""
    settings = settings or Settings.from_environment(os.environ)
    days = daily_partitions(settings.days.start_date)
    return dg.Definitions(
        assets=[
            npi_list_asset(days),
            npi_records_asset(days, settings.fetch),
            providers_asset(days),
            state_files_asset(days),
            provider_changes_asset(days),
        ],
        asset_checks=asset_checks(settings.checks),
        jobs=[daily_job()],
        schedules=[daily_schedule(days)],
        resources={
            "s3": S3Resource(use_unsigned_session=settings.npi_list.list_unsigned),
            "npi_list_source": NpiListSource(**settings.npi_list.model_dump()),
            "provider_registry": ProviderRegistry(**settings.registry.model_dump()),
            "day_storage": DayStorage(**settings.files.model_dump()),
        },
        # One process for the day: a process a step costs two CPU seconds each and would win nothing.
        executor=dg.in_process_executor,
        loggers=loggers,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads (see workspace.yaml and [tool.dg] in pyproject.toml)."""
    return build_definitions()
