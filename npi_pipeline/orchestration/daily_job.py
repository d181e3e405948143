"""The daily job: all assets of one day and their checks. Not here: when it is run by itself (``schedules``)."""

from __future__ import annotations

import dagster as dg

JOB_NAME = "npi_daily"
STATE_FILES = dg.AssetKey("state_files")
"""The asset whose files are what a day is run for."""
ASSETS = frozenset(
    {
        STATE_FILES,
        *(dg.AssetKey(name) for name in ("npi_list", "npi_records", "providers", "provider_changes", "day_report")),
    }
)
SNAPSHOT = dg.AssetKey("registry_snapshot")
"""The asset of a registry that is files: it comes first."""


def is_daily_run(run: dg.DagsterRun) -> bool:
    """Whether a run is the daily job's, or makes any of its assets (the UI and backfills have a job of their own)."""
    return run.job_name == JOB_NAME or not (ASSETS | {SNAPSHOT}).isdisjoint(run.asset_selection or ())


def daily_job(*, has_snapshot: bool = False) -> dg.UnresolvedAssetJobDefinition:
    """The six assets of one day and their checks, and ``registry_snapshot`` where there is one."""
    return dg.define_asset_job(
        JOB_NAME,
        # And no others: a project that is merged with ours has assets whose failure is none of the day's.
        selection=dg.AssetSelection.assets(*sorted(ASSETS | ({SNAPSHOT} if has_snapshot else set()))),
        description="One day: its NPI list is read from S3, each NPI is looked up in the provider registry, and the "
        "result is published as one CSV for each US state, with what changed since the day before. The schedule runs "
        "it every day and makes up for missed ones; run again, it goes on where it was interrupted.",
    )
