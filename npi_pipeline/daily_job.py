"""The daily job: all assets of one day and their checks. Not here: when it is run by itself (``schedules``)."""

from __future__ import annotations

import dagster as dg

JOB_NAME = "npi_daily"
STATE_FILES = dg.AssetKey("state_files")
"""The asset whose files are what a day is run for."""


def daily_job() -> dg.UnresolvedAssetJobDefinition:
    """The assets of one day and their checks."""
    return dg.define_asset_job(
        JOB_NAME,
        selection=dg.AssetSelection.all(),
        description="One day: its NPI list is read from S3, each NPI is looked up in the provider registry, and the "
        "result is published as one CSV for each US state, with what changed since the day before. The schedule runs "
        "it every day and makes up for missed ones; run again, it goes on where it was interrupted.",
    )
