"""What is claimed of the snapshot that a day is looked up in: how old it is, and whether a file of it is missing."""

from __future__ import annotations

import datetime as dt

from npi_pipeline.findings import Finding
from npi_pipeline.registries.nppes_bulk.day_snapshot import snapshot_of_day
from npi_pipeline.settings import CheckSettings
from npi_pipeline.storage.data_root import DataRoot


def snapshot_is_recent(root: DataRoot, day: dt.date, settings: CheckSettings) -> Finding:
    """The newest file of the snapshot is not much older than the day."""
    snapshot = snapshot_of_day(root, day)
    age, limit = (day - snapshot.as_of).days, settings.bulk_age_limit_days
    line = f"the registry is as of {snapshot.as_of}, {age} days before {day} (limit {limit})"
    remedy = "; download the newer weekly files to NPI_BULK_FILES and run the day again" if age > limit else ""
    return Finding(holds=age <= limit, line=line + remedy, figures={"days": age, "as_of": snapshot.as_of.isoformat()})


def no_file_is_missing(root: DataRoot, day: dt.date) -> Finding:
    """The weekly files of the snapshot follow each other without a gap, up to the newest that there was."""
    snapshot = snapshot_of_day(root, day)
    if not snapshot.missing:
        return Finding(holds=True, line=f"{len(snapshot.files)} files without a gap", figures={"missing": 0})
    return Finding(holds=False, line="; ".join(snapshot.missing), figures={"missing": len(snapshot.missing)})
