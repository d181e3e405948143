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
        description="One day: from the NPI list to its published state files and what changed since the day before.",
    )
