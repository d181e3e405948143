"""Running days in tests: real runs in ephemeral Dagster instances, and reading what they left.

Not here: the servers (``conftest``) and what is asserted (the tests).
"""

from __future__ import annotations

import csv
import datetime as dt
import json
from pathlib import Path
from typing import Any

from npi_pipeline.orchestration.day_run import DayRun, run_day
from npi_pipeline.settings import Settings

DAY = dt.date(2026, 11, 23)
Row = dict[str, str]


class Pipeline:
    """One deployment: its settings, its data root, and its days."""

    def __init__(self, data_root: Path | str, **settings: Any) -> None:
        self.data_root = Path(data_root)
        self.settings = Settings.from_environment({}, data_root=str(data_root), start_date="2026-11-01", **settings)

    def run(self, day: dt.date = DAY) -> DayRun:
        """Run one day as the command line does."""
        return run_day(self.settings, day, log_level="CRITICAL")

    def folder(self, day: dt.date = DAY) -> Path:
        """Where the state files of a day lie on a local root."""
        return self.data_root / self.settings.files.state_files_dir / str(day)

    def state_files(self, day: dt.date = DAY) -> dict[str, list[Row]]:
        """The rows of each state file of a day, by state. Every row is as wide as its header, or this fails."""
        return {path.stem.rpartition("_")[2]: read_rows(path) for path in sorted(self.folder(day).glob("*.csv"))}

    def manifest(self, day: dt.date = DAY) -> dict[str, Any]:
        """The manifest of a day."""
        content: dict[str, Any] = json.loads((self.folder(day) / "manifest.json").read_text())
        return content

    def bytes_by_name(self, day: dt.date = DAY) -> dict[str, bytes]:
        """The content of each CSV of a day."""
        return {path.name: path.read_bytes() for path in sorted(self.folder(day).glob("*.csv"))}


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV by header, as Python's own reader sees them."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader)
        return [dict(zip(header, row, strict=True)) for row in reader]


def npis_of(rows: list[Row]) -> list[str]:
    """The NPIs of some rows, in their order."""
    return [row["npi"] for row in rows]
