"""Step 5: what changed against the complete day right before, from the two days' journals.

Days are run in any order and made anew, so a day's changes may come to be against the wrong day. Hence this holds:
*the changes of each complete day are against the complete day right before it, as it is published now*. Whoever has
published a day and found its changes looks at the next complete day too, and finds the changes of that one anew when
they are against another day, or an earlier publication of this one.

Answers are in the journals, so a day is comparable only while its journal is the one that it was published from. One
that was recorded anew since is skipped like any day that is not complete: what it had published can no longer be
told, and its run, once it is finished, finds the changes after it anew. So is a day whose files are damaged: that is
its own problem, with its own cure, and none of the day that is run.

Changes are proven before they are kept: those of the next day are found by a run that makes no check of that day.

Two runs at once cannot leave wrong changes behind: both have published their days before they look at others, and what
a day is compared with is chosen under the lock on its changes. So of two runs that publish neighbouring days, at least
the one that has that lock last sees what the other has published.
Not here: the comparing (``write_changes``) and the files (``kept_changes``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from npi_pipeline.changes.changed_fields import Cells
from npi_pipeline.changes.kept_changes import ChangesError, KeptChanges, Publication, keep_changes, read_kept_changes
from npi_pipeline.changes.proof import changes_match_the_lists
from npi_pipeline.changes.write_changes import OUTCOME_COLUMNS, Changes, write_changes
from npi_pipeline.days.input_digest import input_digest
from npi_pipeline.days.lock import day_lock
from npi_pipeline.days.paths import PROVIDER_CHANGES, provider_changes_name
from npi_pipeline.errors import PipelineError
from npi_pipeline.journal import (
    CompactedJournal,
    JournalError,
    bodies_of,
    read_compacted_journal,
    rows_of,
    with_digests,
)
from npi_pipeline.providers.kept_table import TableError, read_provider_table
from npi_pipeline.registries.registry import format_of
from npi_pipeline.schema.columns import Column, ColumnType, TableLayout
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.manifest import Manifest, ManifestError
from npi_pipeline.state_files.publish import days_before, published_after, read_manifest
from npi_pipeline.storage.data_root import CHUNK_BYTES, DataRoot, HeldLock

# Longer than the changes of a million NPIs take.
WAIT_SECONDS = 120.0

# A day's files that cannot be read: each says which it is, and what to do.
_Damaged = (JournalError, ManifestError, TableError)


class UnprovenChangesError(PipelineError):
    """Changes that do not agree with the lists and journals that they are of. One line says how, and the remedy."""


@dataclasses.dataclass(frozen=True)
class FoundChanges:
    """The changes of one day: what is kept of them, and what more is to be said of them.

    ``recorded_anew`` are published days that were skipped on the way to the day compared with: their journals are
    not those that they were published from. ``is_unchanged``: they were kept already, and are left as they are.
    ``problem_of_next_day`` says why the changes of the next complete day could not be found anew, and the remedy.
    """

    kept: KeptChanges
    changes: Changes
    recorded_anew: tuple[dt.date, ...] = ()
    is_unchanged: bool = False
    problem_of_next_day: str | None = None

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
    Raises FileNotFoundError when ``day`` is not published, ManifestError, JournalError also when ``day`` was recorded
    anew since it was published, UnprovenChangesError, UnreadableAnswerError, DayLockedError,
    StorageError. What is wrong with other days is told in what is found.
    """
    with day_lock(root, day, PROVIDER_CHANGES, wait_seconds=wait_seconds) as held:
        found = _found(root, read_manifest(root, files.state_files_dir, day), files, held)
    if found is None:
        raise JournalError(
            f"{day} was recorded anew since it was published: materialise providers and state_files for that day first"
        )
    try:
        return found, _found_of_next_day(root, day, files, wait_seconds)
    except (*_Damaged, UnprovenChangesError) as error:
        return dataclasses.replace(found, problem_of_next_day=str(error)), None


def _found_of_next_day(root: DataRoot, day: dt.date, files: FileSettings, wait_seconds: float) -> FoundChanges | None:
    """The changes of the next complete day after ``day``, found anew; None when there is no need."""
    following = published_after(root, files.state_files_dir, day)
    while following is not None:
        with day_lock(root, following.day, PROVIDER_CHANGES, wait_seconds=wait_seconds) as held:
            if _is_right_or_to_come(root, files, following.day):
                return None
            found = _found(root, following, files, held)
        if found is not None:
            return found
        # Recorded anew and not published yet: its run will find its changes, and ``day`` may be before the next one.
        following = published_after(root, files.state_files_dir, following.day)
    return None


@dataclasses.dataclass(frozen=True)
class _Before:
    """The complete day right before another, as it is published now, and what was skipped on the way to it.

    ``published`` is the published day right before, whether it is skipped or not; None when it cannot be read.
    """

    complete: Manifest | None
    published: Manifest | None
    recorded_anew: tuple[dt.date, ...]
    lines: tuple[str, ...]


def _before(root: DataRoot, files: FileSettings, day: dt.date, damaged: Mapping[dt.date, str] | None = None) -> _Before:
    """What is before ``day``. ``damaged`` are days that are known to be so, with what is to be said of them."""
    published: list[Manifest | None] = []
    recorded_anew: list[dt.date] = []
    lines: list[str] = []
    for other in days_before(root, files.state_files_dir, day):
        manifest, line = _comparable(root, files, other)
        if manifest is None and line is None:
            continue
        line = (damaged or {}).get(other, line)
        published.append(manifest)
        if line is None:
            return _Before(manifest, published[0], tuple(recorded_anew), tuple(lines))
        lines.append(line)
        if line == _recorded_anew(other):
            recorded_anew.append(other)
    return _Before(None, published[0] if published else None, tuple(recorded_anew), tuple(lines))


def _comparable(root: DataRoot, files: FileSettings, day: dt.date) -> tuple[Manifest | None, str | None]:
    """The manifest of ``day`` if it is published, and why it cannot be compared with, if so."""
    manifest = None
    try:
        manifest = read_manifest(root, files.state_files_dir, day)
        return manifest, None if _published_journal(root, manifest) else _recorded_anew(day)
    except FileNotFoundError:
        return None, None
    except _Damaged as error:
        return manifest, str(error)


def _recorded_anew(day: dt.date) -> str:
    return f"{day} was recorded anew but not published anew: run it again, to its end"


def _published_journal(root: DataRoot, manifest: Manifest) -> CompactedJournal | None:
    """The journal that the day was published from; None when another one has been compacted since."""
    journal = read_compacted_journal(root, manifest.day)
    return journal if journal.digest == manifest.journal_digest else None


def _is_right_or_to_come(root: DataRoot, files: FileSettings, day: dt.date) -> bool:
    """Whether the changes kept for ``day`` are against the complete day right before it, or there are none yet.

    Those against a day that was recorded anew after they were found are right until that day is published anew.
    """
    try:
        other = read_kept_changes(root, day).compared_with
    except FileNotFoundError:
        return True
    except ChangesError:
        return False
    before = _before(root, files, day)
    return other in [Publication.of(manifest) if manifest else None for manifest in (before.complete, before.published)]


def _found(root: DataRoot, manifest: Manifest, files: FileSettings, held: HeldLock) -> FoundChanges | None:
    """Find the changes of the day of ``manifest`` and keep them; None when that day was recorded anew since."""
    damaged: dict[dt.date, str] = {}
    with tempfile.TemporaryDirectory(prefix="npi-") as scratch:
        path = Path(scratch) / provider_changes_name(files, manifest.day)
        while True:
            before = _before(root, files, manifest.day, damaged)
            other = before.complete
            old = _published_journal(root, other) if other else None
            new = _published_journal(root, manifest) if other else None
            if other is not None and new is None:
                return None
            if other is not None and old is None:
                continue
            compared_with = Publication.of(other) if other else None
            settings = (sorted(files.pinned_widths().items()), files.escape_formulas, files.byte_order_mark)
            source = (old and old.digest, new and new.digest, settings, path.name, before.lines)
            unchanged = _unchanged(root, Publication.of(manifest), compared_with, source)
            if unchanged is not None:
                return dataclasses.replace(unchanged, recorded_anew=before.recorded_anew)
            if old is None or new is None:
                cells = Cells(byte_order_mark=files.byte_order_mark)
                changes, fields_compared = write_changes([], [], None, path, cells), True
                break
            try:
                changes, fields_compared = _compared(root, old, new, files, path)
                break
            except (JournalError, TableError):
                # A part that went while it was to be read: another run has compacted that journal anew.
                if (old, new) != tuple(read_compacted_journal(root, journal.day) for journal in (old, new)):
                    continue
                problem = _problem_with(root, old)
                if problem is None:
                    raise
                damaged[old.day] = problem
        kept = KeptChanges(
            publication=Publication.of(manifest),
            compared_with=compared_with,
            fields_compared=fields_compared,
            escape_formulas=files.escape_formulas,
            counts=changes.counts,
            file=changes.file,
            summary=changes.summary(),
            skipped=before.lines,
        )
        kept = dataclasses.replace(kept, input_digest=input_digest(source, kept.to_json()))
        _ensure_proven(root, kept, path, files)
        kept = keep_changes(root, Path(scratch), kept, held)
    return FoundChanges(kept, changes, before.recorded_anew)


def _ensure_proven(root: DataRoot, kept: KeptChanges, path: Path, files: FileSettings) -> None:
    """Raise UnprovenChangesError unless the changes in the local file ``path`` hold what is claimed of them."""
    with path.open("rb") as csv:
        proof = changes_match_the_lists(root, kept, iter(functools.partial(csv.read, CHUNK_BYTES), b""), files)
    if not proof.holds:
        raise UnprovenChangesError(
            f"the changes of {kept.day} are not kept, for they do not hold: {proof.line}; "
            f"run {kept.day} again, to its end"
        )


def _problem_with(root: DataRoot, journal: CompactedJournal) -> str | None:
    """What is wrong with the files of a day that is to be compared with; None when they can all be read."""
    try:
        for _ in rows_of(root, journal):
            pass
        layout = _layout_of_both(journal, journal)
        if layout is not None and not layout.declared:
            read_provider_table(root, journal.day)
    except (JournalError, TableError) as error:
        return str(error)
    return None


def _unchanged(
    root: DataRoot, publication: Publication, compared_with: Publication | None, source: tuple[object, ...]
) -> FoundChanges | None:
    """The changes that are kept, if they are whole and those that would be found from ``source``; else None."""
    try:
        kept = read_kept_changes(root, publication.day)
        if (kept.publication, kept.compared_with) != (publication, compared_with):
            return None
        plain = dataclasses.replace(kept.in_folder(""), input_digest="")
        is_same = kept.input_digest == input_digest(source, plain.to_json())
        if not is_same or _sha256(root, kept) != kept.file.sha256:
            return None
    except (FileNotFoundError, ChangesError):
        return None
    return FoundChanges(kept, Changes.of_kept(kept), is_unchanged=True)


def _sha256(root: DataRoot, kept: KeptChanges) -> str:
    digest = hashlib.sha256()
    for chunk in root.chunks(kept.path):
        digest.update(chunk)
    return digest.hexdigest()


def _compared(
    root: DataRoot, old: CompactedJournal, new: CompactedJournal, files: FileSettings, path: Path
) -> tuple[Changes, bool]:
    """The changes between two days, written to ``path``, and whether fields could be compared."""
    layout = _layout_of_both(old, new)
    cells = _cells(root, old.day, new.day, files, layout)
    if old.is_of_snapshot and new.is_of_snapshot:
        # Nine million records are told apart by their digests, and only those are read that differ.
        outcomes = (rows_of(root, journal, ("npi", "outcome")) for journal in (old, new))
        before, after = (with_digests(root, of, rows) for of, rows in zip((old, new), outcomes, strict=True))
        bodies = functools.partial(_bodies, root, old, new)
        return write_changes(before, after, layout, path, cells, bodies=bodies), True
    before, after = (rows_of(root, journal, OUTCOME_COLUMNS) for journal in (old, new))
    return write_changes(before, after, layout, path, cells), layout is not None


def _bodies(root: DataRoot, old: CompactedJournal, new: CompactedJournal, npis: pl.Series) -> pl.DataFrame:
    return pl.DataFrame([npis, bodies_of(root, old, npis).alias("body"), bodies_of(root, new, npis).alias("body_new")])


def _layout_of_both(old: CompactedJournal, new: CompactedJournal) -> TableLayout | None:
    """The layout of the registry format in which both days were recorded; None when it is not the same."""
    old_format, new_format = format_of(old.registry), format_of(new.registry)
    return new_format.layout if new_format is not None and new_format is old_format else None


def _cells(
    root: DataRoot, old_day: dt.date, new_day: dt.date, files: FileSettings, layout: TableLayout | None
) -> Cells:
    cells = Cells(files.pinned_widths(), files.escape_formulas, files.byte_order_mark)
    if layout is None or layout.declared:
        return cells
    old, new = (read_provider_table(root, day).columns for day in (old_day, new_day))
    return dataclasses.replace(
        cells,
        old_numbers=_numbers(old),
        new_numbers=_numbers(new),
        columns=frozenset(column.name for column in (*old, *new)),
    )


def _numbers(columns: Iterable[Column]) -> frozenset[str]:
    """The names of those of ``columns`` that hold no text."""
    return frozenset(column.name for column in columns if column.type is not ColumnType.string)
