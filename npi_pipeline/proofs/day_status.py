"""How a day stands, read from its files: complete, partial or missing, with counts and where it lies.

Not here: what is proven of it (the other modules), and how it is printed (``cli.rendering``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from npi_pipeline.days.paths import has_journal, has_list, state_files_folder
from npi_pipeline.journal import JournalDamagedError, JournalError, read_compacted_journal
from npi_pipeline.outcomes import Outcome
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.manifest import ManifestError
from npi_pipeline.state_files.publish import read_manifest
from npi_pipeline.storage.data_root import DataRoot

# For S3's latency.
_THREADS = 8


class DayState(str, enum.Enum):
    """How far a day has come. ``complete`` is a day whose manifest is there and can be understood."""

    complete = "complete"
    partial = "partial"
    missing = "missing"


@dataclasses.dataclass(frozen=True)
class DayStatus:
    """One day: its state, NPIs by outcome as far as they are known, and its state files.

    ``problem`` says what of its files cannot be read, and the remedy.
    """

    day: dt.date
    state: DayState
    outcomes: dict[str, int]
    files: int
    rows: int
    where: str
    published_at: dt.datetime | None
    problem: str | None = None

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
            "state": self.state.value,
            "npis": self.npis,
            "outcomes": self.outcomes,
            "files": self.files,
            "rows": self.rows,
            "where": self.where,
            "published_at": self.published_at.isoformat() if self.published_at else None,
            "problem": self.problem,
        }


def status_of_days(root: DataRoot, files: FileSettings, days: Iterable[dt.date]) -> list[DayStatus]:
    """The status of each of ``days``. Only their own files are looked at, however many days are kept.

    What cannot be understood of one day is that day's problem. Raises StorageError.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda day: status_of_day(root, files, day), days))


def status_of_day(root: DataRoot, files: FileSettings, day: dt.date) -> DayStatus:
    """The status of ``day``. Raises StorageError."""
    folder = state_files_folder(files.state_files_dir, day)
    problem = None
    try:
        manifest = read_manifest(root, files.state_files_dir, day)
    except FileNotFoundError:
        pass
    except ManifestError as error:
        problem = str(error)
    else:
        return DayStatus(
            day=day,
            state=DayState.complete,
            outcomes=dict(manifest.outcomes),
            files=len(manifest.files),
            rows=sum(file.rows for file in manifest.files),
            where=root.uri(f"{folder}/{manifest.folder}" if manifest.folder else folder),
            published_at=manifest.published_at,
        )
    outcomes: dict[str, int] = {}
    try:
        outcomes = read_compacted_journal(root, day).outcomes
    except JournalDamagedError as error:
        problem = problem or str(error)
    except JournalError:
        pass
    is_begun = bool(problem or outcomes) or has_list(root, day) or has_journal(root, day)
    state = DayState.partial if is_begun else DayState.missing
    return DayStatus(day, state, outcomes, 0, 0, root.uri(folder), published_at=None, problem=problem)
