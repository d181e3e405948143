"""How a day stands, read from its files: complete, partial or missing, with counts and where it lies.

Not here: proofs (``accounting``), and how it is printed (``npi_pipeline.cli``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Iterable

from npi_pipeline.enrichment.journal import JournalError, read_sealed_journal
from npi_pipeline.enrichment.outcomes import Outcome
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.days import days_with_journal, days_with_list, published_days, state_files_folder
from npi_pipeline.storage.publish import read_manifest


class Standing(str, enum.Enum):
    """How far a day has come. ``complete`` is a day whose manifest is there."""

    complete = "complete"
    partial = "partial"
    missing = "missing"


@dataclasses.dataclass(frozen=True)
class DayStatus:
    """One day: its standing, NPIs by outcome as far as they are known, and its state files."""

    day: dt.date
    standing: Standing
    outcomes: dict[str, int]
    files: int
    rows: int
    where: str
    published_at: dt.datetime | None

    @property
    def npis(self) -> int:
        """Distinct NPIs with an outcome."""
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        """NPIs that could not be had."""
        return self.outcomes.get(Outcome.failed.value, 0)

    def as_json(self) -> dict[str, object]:
        """The status for machines."""
        return {
            "day": self.day.isoformat(),
            "standing": self.standing.value,
            "npis": self.npis,
            "outcomes": self.outcomes,
            "files": self.files,
            "rows": self.rows,
            "where": self.where,
            "published_at": self.published_at.isoformat() if self.published_at else None,
        }


def status_of_days(root: DataRoot, files: FileSettings, days: Iterable[dt.date]) -> list[DayStatus]:
    """The status of each of ``days``."""
    published = set(published_days(root, files.state_files_dir))
    begun = {*days_with_list(root), *days_with_journal(root)}
    return [_status(root, files, day, is_published=day in published, is_begun=day in begun) for day in days]


def status_of_day(root: DataRoot, files: FileSettings, day: dt.date) -> DayStatus:
    """The status of ``day``."""
    return status_of_days(root, files, [day])[0]


def _status(root: DataRoot, files: FileSettings, day: dt.date, *, is_published: bool, is_begun: bool) -> DayStatus:
    folder = state_files_folder(files.state_files_dir, day)
    if not is_published:
        standing = Standing.partial if is_begun else Standing.missing
        outcomes = _sealed_outcomes(root, day) if is_begun else {}
        return DayStatus(day, standing, outcomes, files=0, rows=0, where=root.uri(folder), published_at=None)
    manifest = read_manifest(root, files.state_files_dir, day)
    return DayStatus(
        day=day,
        standing=Standing.complete,
        outcomes=dict(manifest.outcomes),
        files=len(manifest.files),
        rows=sum(file.rows for file in manifest.files),
        where=root.uri(f"{folder}/{manifest.folder}" if manifest.folder else folder),
        published_at=manifest.published_at,
    )


def _sealed_outcomes(root: DataRoot, day: dt.date) -> dict[str, int]:
    try:
        return read_sealed_journal(root, day).outcomes
    except JournalError:
        return {}
