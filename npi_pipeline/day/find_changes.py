"""Step 5: what changed against the complete day right before, from the two days' journals.

Days are run in any order and made anew, so a day's changes may come to be against the wrong day. Hence this holds:
*the changes of each complete day are against the complete day right before it, as it is published now*. Whoever has
published a day and found its changes looks at the next complete day too, and finds the changes of that one anew when
they are against another day, or an earlier publication of this one.

Two runs at once cannot leave wrong changes behind: both have published their days before they look at others, and what
a day is compared with is chosen under the lock on its changes. So of two runs that publish neighbouring days, at least
the one that has that lock last sees what the other has published.
Not here: the comparing (``tables.changes``) and the files (``storage.kept_changes``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import tempfile
from pathlib import Path

from npi_pipeline.enrichment.journal import JournalError, SealedJournal, read_sealed_journal, sealed_parts
from npi_pipeline.enrichment.registry import format_of
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.data_root import DataRoot, HeldLock
from npi_pipeline.storage.day_lock import day_lock
from npi_pipeline.storage.days import PROVIDER_CHANGES, provider_changes_name
from npi_pipeline.storage.kept_changes import ChangesError, KeptChanges, Publication, keep_changes, read_kept_changes
from npi_pipeline.storage.kept_table import read_provider_table
from npi_pipeline.storage.publish import published_after, published_before, read_manifest
from npi_pipeline.tables.changed_fields import Cells
from npi_pipeline.tables.changes import Changes, write_changes
from npi_pipeline.tables.columns import ColumnType, TableLayout

# Longer than the changes of a million NPIs take.
WAIT_SECONDS = 120.0


@dataclasses.dataclass(frozen=True)
class FoundChanges:
    """The changes of one day: what is kept of them, and what more is to be said of them."""

    kept: KeptChanges
    changes: Changes

    @property
    def days_apart(self) -> int | None:
        """Days from the day compared with to this one; None when there is no complete day before it."""
        other = self.kept.compared_with
        return (self.kept.day - other.day).days if other else None


def find_changes(
    root: DataRoot, day: dt.date, files: FileSettings, *, wait_seconds: float = WAIT_SECONDS
) -> tuple[FoundChanges, FoundChanges | None]:
    """Find and keep the changes of ``day``, which is published; and those of the next complete day, if need be.

    The second of the two is None when the next complete day had no changes yet (its own run will find them), or the
    right ones. While another run is at work on a day's changes it is waited for, so long at most.
    Raises FileNotFoundError when ``day`` is not published, ManifestError, JournalError, DayLockedError, StorageError,
    and ValueError when an answer cannot be read.
    """
    with day_lock(root, day, PROVIDER_CHANGES, wait_seconds=wait_seconds) as held:
        publication = Publication.of(read_manifest(root, files.state_files_dir, day))
        found = _found(root, publication, _compared_with(root, files, day), files, held)
    following = published_after(root, files.state_files_dir, day)
    if following is None:
        return found, None
    with day_lock(root, following.day, PROVIDER_CHANGES, wait_seconds=wait_seconds) as held:
        right = _compared_with(root, files, following.day)
        if _is_right_or_to_come(root, following.day, right):
            return found, None
        return found, _found(root, Publication.of(following), right, files, held)


def _compared_with(root: DataRoot, files: FileSettings, day: dt.date) -> Publication | None:
    """The complete day right before ``day``, as it is published now."""
    before = published_before(root, files.state_files_dir, day)
    return Publication.of(before) if before else None


def _is_right_or_to_come(root: DataRoot, day: dt.date, right: Publication | None) -> bool:
    """Whether the changes kept for ``day`` are against ``right``, or there are none yet."""
    try:
        return read_kept_changes(root, day).compared_with == right
    except FileNotFoundError:
        return True
    except ChangesError:
        return False


def _found(
    root: DataRoot, publication: Publication, other: Publication | None, files: FileSettings, held: HeldLock
) -> FoundChanges:
    """Find the changes of the day of ``publication`` against ``other`` and keep them."""
    with tempfile.TemporaryDirectory(prefix="npi-") as scratch:
        path = Path(scratch) / provider_changes_name(files, publication.day)
        if other is None:
            changes = write_changes([], [], None, path, Cells())
            fields_compared = True
        else:
            changes, fields_compared = _compared(root, other.day, publication.day, files, path)
        kept = KeptChanges(publication, other, fields_compared, changes.counts, changes.file)
        keep_changes(root, Path(scratch), kept, held)
    return FoundChanges(kept, changes)


def _compared(
    root: DataRoot, old_day: dt.date, new_day: dt.date, files: FileSettings, path: Path
) -> tuple[Changes, bool]:
    """The changes between two days, written to ``path``, and whether fields could be compared."""
    while True:
        journals = [read_sealed_journal(root, day) for day in (old_day, new_day)]
        layout = _layout_of_both(*journals)
        cells = _cells(root, old_day, new_day, files, layout)
        try:
            changes = write_changes(sealed_parts(root, old_day), sealed_parts(root, new_day), layout, path, cells)
        except JournalError:
            # A part that went while it was to be read: another run has sealed that journal anew.
            if journals == [read_sealed_journal(root, day) for day in (old_day, new_day)]:
                raise
            continue
        return changes, layout is not None


def _layout_of_both(old: SealedJournal, new: SealedJournal) -> TableLayout | None:
    """The layout of the registry format in which both days were recorded; None when it is not the same."""
    old_format, new_format = format_of(old.registry), format_of(new.registry)
    return new_format.layout if new_format is not None and new_format is old_format else None


def _cells(
    root: DataRoot, old_day: dt.date, new_day: dt.date, files: FileSettings, layout: TableLayout | None
) -> Cells:
    cells = Cells(list_widths=files.pinned_widths(), defuse_formulas=files.defuse_formulas)
    if layout is None or layout.declared or not files.defuse_formulas:
        return cells
    return dataclasses.replace(
        cells, old_numbers=_number_columns(root, old_day), new_numbers=_number_columns(root, new_day)
    )


def _number_columns(root: DataRoot, day: dt.date) -> frozenset[str]:
    """The columns of the state files of ``day`` that hold no text."""
    columns = read_provider_table(root, day).columns
    return frozenset(column.name for column in columns if column.type is not ColumnType.string)
