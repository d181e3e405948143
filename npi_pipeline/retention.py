"""What is removed of old days, and removing it: journals and provider tables, and state files where that is wanted.

Only what can be done without goes: of a day that is published, and that nobody is at work on. What is not published
stays, however old, and is told of. Not here: when it is done (``orchestration.retention``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Iterator

from npi_pipeline.days.lock import DayLockedError, day_lock
from npi_pipeline.days.paths import (
    COMPACTIONS,
    DAY_REPORT,
    FETCHES,
    FINDINGS,
    JOURNAL,
    NPI_LIST,
    PROVIDER_CHANGES,
    PROVIDER_TABLE,
    STATE_FILES,
    days_with_folder,
    journal_folder,
    provider_changes_folder,
    provider_table_folder,
    state_files_folder,
)
from npi_pipeline.journal import JournalError, load_compacted_journal
from npi_pipeline.npi_records.shard_plan import withdraw_plan
from npi_pipeline.registries.nppes_bulk.day_snapshot import identities_by_day, snapshot_files
from npi_pipeline.registries.nppes_bulk.unused import has_files, unused_files
from npi_pipeline.settings import Settings, SettingsError
from npi_pipeline.state_files.publish import is_published
from npi_pipeline.storage.data_root import DataRoot, StoredFile

_DAYS_OF_FILES = (NPI_LIST, PROVIDER_CHANGES, DAY_REPORT, FINDINGS, FETCHES)


@dataclasses.dataclass(frozen=True)
class Removed:
    """What was removed, or would be: days, files and bytes. ``left``: why an old day was left alone, by day."""

    days: int
    files: int
    bytes: int
    left: dict[dt.date, str]
    is_dry_run: bool

    def __str__(self) -> str:
        verb = "would be removed" if self.is_dry_run else "removed"
        line = f"{self.files:,} files of {self.days:,} days, {self.bytes:,} bytes, {verb}"
        if not self.left:
            return line
        day, why = next(iter(self.left.items()))
        return f"{line}; {len(self.left)} older days are left alone, the first is {day}: {why}"


def remove_old_days(root: DataRoot, settings: Settings, today: dt.date, *, dry_run: bool = False) -> Removed:
    """Remove what ``settings.retention`` keeps no longer on ``today``; with ``dry_run`` only say what that is.

    Killed at any point it has removed some of it, and the next call removes the rest. Raises SettingsError when days
    that the schedule still looks after would go, StorageError, BulkFileError.
    """
    retention, files = settings.retention, settings.files
    if not retention.keep_days:
        return Removed(0, 0, 0, {}, dry_run)
    check_retention(settings)
    before = today - dt.timedelta(days=retention.keep_days)
    files_before = today - dt.timedelta(days=retention.keep_files_days) if retention.keep_files_days else dt.date.min
    of_snapshots = snapshot_files(root)
    removed: dict[dt.date, list[StoredFile]] = {}
    left: dict[dt.date, str] = {}
    for day in _old_days(root, files.state_files_dir, before, files_before):
        if root.list(journal_folder(day)) and not is_published(root, files.state_files_dir, day):
            left[day] = "it is not published, and its journal is all that there is of it; run it, or remove it yourself"
            continue
        try:
            removed[day] = _remove_day(
                root,
                day,
                files.state_files_dir,
                of_snapshots.get(day),
                with_files=day < files_before,
                dry_run=dry_run,
            )
        except DayLockedError as error:
            left[day] = str(error)
    of_no_day = [*_unused_snapshots(root, removed, before), *_old_compaction_marks(root, before)]
    if not dry_run:
        root.delete(*(file.path for file in of_no_day))
    gone = [*(file for of_day in removed.values() for file in of_day), *of_no_day]
    days = sum(bool(of_day) for of_day in removed.values())
    return Removed(days, len(gone), sum(file.size for file in gone), left, dry_run)


def check_retention(settings: Settings) -> None:
    """Raise SettingsError when what the schedule still looks after, or compares with, would go: days or their runs."""
    least = settings.monitoring.catch_up_days + 1
    kept = {"NPI_KEEP_DAYS": settings.retention.keep_days, "NPI_KEEP_RUNS_DAYS": settings.retention.keep_runs_days}
    for variable, days in kept.items():
        if 0 < days <= least:
            raise SettingsError(
                f"{variable}={days} would remove days that the schedule still looks after, or compares with: set it to "
                f"more than {least} (NPI_CATCH_UP_DAYS and one), or to 0"
            )


def _old_days(root: DataRoot, state_files_dir: str, before: dt.date, files_before: dt.date) -> list[dt.date]:
    """The days of which there is anything that is kept no longer, oldest first."""
    old = {day for folder in (JOURNAL, PROVIDER_TABLE) for day in days_with_folder(root, folder) if day < before}
    old |= {
        day
        for folder in (state_files_dir, *_DAYS_OF_FILES)
        for day in days_with_folder(root, folder)
        if day < files_before
    }
    return sorted(old)


def _remove_day(
    root: DataRoot,
    day: dt.date,
    state_files_dir: str,
    of_snapshot: StoredFile | None,
    *,
    with_files: bool,
    dry_run: bool,
) -> list[StoredFile]:
    """Remove what there is of a day, each product under its lock; which files it was."""
    with contextlib.ExitStack() as locks:
        for what in ("journal", PROVIDER_TABLE, STATE_FILES, PROVIDER_CHANGES):
            locks.enter_context(day_lock(root, day, what))
        files = list(_files_of(root, day, state_files_dir, with_files=with_files))
        files += [of_snapshot] if of_snapshot else []
        if not dry_run:
            withdraw_plan(root, day)
            root.delete(*(file.path for file in files))
    return files


def _files_of(root: DataRoot, day: dt.date, state_files_dir: str, *, with_files: bool) -> Iterator[StoredFile]:
    """Those of a day, in the order in which they are removed.

    The journal before the manifest: killed in between, the day is one of which only the files are kept. Of each product
    first what says that it is there.
    """
    folders = [provider_table_folder(day), journal_folder(day)]
    if with_files:
        folders += [state_files_folder(state_files_dir, day), provider_changes_folder(day)]
        folders += [f"{folder}/{day}" for folder in (NPI_LIST, DAY_REPORT, FINDINGS, FETCHES)]
    for folder in folders:
        yield from sorted(root.list(folder), key=lambda file: not file.path.endswith(".json"))


def _unused_snapshots(root: DataRoot, removed: dict[dt.date, list[StoredFile]], before: dt.date) -> list[StoredFile]:
    """The files of the registry that no day names which is kept, by its snapshot or by its journal."""
    if not has_files(root):
        # Else each night the journal of every day that is kept would be looked into for nothing.
        return []
    kept = {identity for day, identity in identities_by_day(root).items() if day not in removed}
    for day in days_with_folder(root, JOURNAL):
        if day not in removed:
            with contextlib.suppress(JournalError):
                journal = load_compacted_journal(root, day)
                kept |= {journal.registry} if journal is not None and journal.is_of_snapshot else set()
    return unused_files(root, kept, dt.datetime.combine(before, dt.time(), dt.timezone.utc))


def _old_compaction_marks(root: DataRoot, before: dt.date) -> list[StoredFile]:
    """Those by which nobody will look for a journal any more: an answer as old as that is not taken over."""
    dates = [date for date in days_with_folder(root, COMPACTIONS) if date < before]
    return [file for date in dates for file in root.list(f"{COMPACTIONS}/{date}")]
