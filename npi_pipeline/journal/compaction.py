"""Compacting the journal: what arrived becomes one row for each NPI of the list, in order, in bounded memory.

Not here: which of several rows stands (``rows.latest``), and how parts are written and named (``segments``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl

from npi_pipeline import clock
from npi_pipeline.journal.rows import NO_ROWS, SCHEMA, WITHOUT_BODY, latest
from npi_pipeline.journal.segments import (
    CompactedJournal,
    CompactedPart,
    JournalError,
    compacted_folder,
    contents,
    is_whole,
    load_compacted_journal,
    new_stem,
    outcomes_folder,
    part_paths,
    read_parts,
    save_compacted_journal,
    segments_folder,
    tag_of_compacted_journal,
    write_part,
)
from npi_pipeline.outcomes import Outcome
from npi_pipeline.storage.data_root import DataRoot, HeldLock, LockedError

# A part has so many rows, and where they are more than one no more than so many bytes of answers.
COMPACTED_PART_ROWS = 5_000
COMPACTED_PART_BYTES = 12 << 20
# So many bytes of rows are held in memory; more go to files in a temporary folder, split so many ways at a time.
_BYTES_IN_MEMORY = 16 << 20
_FAN_OUT = 16
# Whoever holds the lock is overtaken by those that have lost it, each at most once.
_MAX_OVERTAKEN = 3
_OVERTAKER = "another run that compacts again and again"


def compact_journal(
    root: DataRoot, day: dt.date, npis: pl.Series, held: HeldLock, *, registry: str = ""
) -> CompactedJournal:
    """Merge everything that arrived for ``day`` into compacted parts: one row for each of ``npis``, the day's list.

    Of several rows of an NPI that of the last run stands; rows of NPIs that are not on the list are dropped, and so is
    what another ``registry`` answered, if one is named. Killed at any point it loses nothing, and the next call
    completes it. ``held`` is the day's lock.
    Raises JournalError when an NPI has no outcome, StorageError, LockedError when the lock was lost.
    """
    npis = npis.unique().sort()
    for _ in range(_MAX_OVERTAKEN):
        compacted = _compacted(root, day, npis, held, registry)
        if compacted is not None:
            return compacted
    raise LockedError(_OVERTAKER, "just now")


def keep_snapshot_outcomes(
    root: DataRoot,
    day: dt.date,
    frames: Callable[[], Iterable[pl.DataFrame]],
    held: HeldLock,
    *,
    registry: str,
) -> CompactedJournal:
    """Make the rows of ``frames`` the compacted journal of ``day``, in the place of whatever was recorded before.

    For outcomes that stand in a snapshot of the registry, which ``registry`` names: WITHOUT_BODY, in the order of
    their NPIs, each frame a part. ``held`` is the day's lock. Raises StorageError, LockedError when the lock was lost.
    """
    for _ in range(_MAX_OVERTAKEN):
        before = _Before.of(root, day)
        kept = _committed(root, _written(root, day, frames(), registry, with_bodies=False), before, held)
        if kept is not None:
            return kept
    raise LockedError(_OVERTAKER, "just now")


def _compacted(root: DataRoot, day: dt.date, npis: pl.Series, held: HeldLock, registry: str) -> CompactedJournal | None:
    """Merge once; None when somebody who had lost the lock before has compacted meanwhile.

    ``journal.json`` is read first and written on the condition that it is what was read. So whatever is listed in
    between is either merged here, or superseded, or a part of somebody who can compact no more: only that is removed.
    """
    before = _Before.of(root, day)
    merged = part_paths(root, day, registry)
    with tempfile.TemporaryDirectory(prefix="npi-journal-") as scratch:
        standing = _standing(day, read_parts(root, day, merged, list(SCHEMA)), npis, Path(scratch))
        compacted = _written(root, day, _in_parts(standing), registry, with_bodies=True)
    return _committed(root, compacted, before, held, merged)


@dataclasses.dataclass(frozen=True)
class _Before:
    """What there was before anything was merged: the tag of ``journal.json``, and the segments."""

    tag: str | None
    arrived: frozenset[str]

    @classmethod
    def of(cls, root: DataRoot, day: dt.date) -> _Before:
        return cls(
            tag_of_compacted_journal(root, day), frozenset(file.path for file in root.list(segments_folder(day)))
        )


def _written(
    root: DataRoot, day: dt.date, frames: Iterable[pl.DataFrame], registry: str, *, with_bodies: bool
) -> CompactedJournal:
    """The frames as the parts of a journal, which nothing names yet."""
    stem = new_stem(day)
    parts: list[CompactedPart] = []
    outcomes = {outcome.value: 0 for outcome in Outcome}
    for number, part in enumerate(frames):
        name = write_part(root, compacted_folder(day), f"{stem}-{number:05}", part) if with_bodies else None
        without_bodies = write_part(root, outcomes_folder(day), f"{stem}-{number:05}", part.select(WITHOUT_BODY))
        parts.append(CompactedPart(name, without_bodies, part.height, part["npi"][0], part["npi"][-1]))
        for outcome, count in part["outcome"].value_counts().iter_rows():
            outcomes[outcome] += count
    return CompactedJournal(day, clock.utc_now(), registry, outcomes, tuple(parts))


def _committed(
    root: DataRoot, compacted: CompactedJournal, before: _Before, held: HeldLock, merged: Iterable[str] = ()
) -> CompactedJournal | None:
    """Make the written parts the compacted ones, and remove what they supersede; None when somebody else was faster."""
    day = compacted.day
    compacted_before = {file.path for of in (compacted_folder, outcomes_folder) for file in root.list(of(day))}
    # After the index was read: whoever takes the lock over from here on changes the index.
    held.ensure_held()
    # From here on the new parts are the compacted ones; until here, what they were made from is.
    if not save_compacted_journal(root, compacted, before.tag):
        return None
    superseded = compacted_before | before.arrived | set(merged)
    root.delete(*sorted(superseded.difference(compacted.paths, compacted.outcome_paths)))
    return compacted


def unchanged_journal(
    root: DataRoot, day: dt.date, npis: pl.Series, known: pl.DataFrame, *, registry: str = ""
) -> CompactedJournal | None:
    """The compacted journal of ``day``, if compacting it again for ``npis`` would change nothing; else None.

    ``known`` is what ``read_outcomes`` gave under the same lock, of which every part was whole.
    Raises JournalError, StorageError.
    """
    compacted = load_compacted_journal(root, day)
    if compacted is None or compacted.registry != registry or root.list(segments_folder(day)):
        return None
    if compacted.rows != known.height or not known["npi"].equals(npis.unique().sort()):
        return None
    outcomes = contents(root, compacted.outcome_paths)
    return compacted if all(content and is_whole(path, content) for path, content in outcomes) else None


def _in_parts(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows as the parts in which they are kept: the same rows are always cut the same way."""
    held: list[pl.DataFrame] = []
    rows = size = 0
    for frame in frames:
        start = 0
        for place, body_bytes in enumerate(frame["body"].str.len_bytes().fill_null(0).to_list()):
            if rows == COMPACTED_PART_ROWS or (rows and size + body_bytes > COMPACTED_PART_BYTES):
                yield pl.concat([*held, frame[start:place]], rechunk=True)
                held, rows, size, start = [], 0, 0, place
            rows += 1
            size += body_bytes
        held.append(frame[start:])
    if rows:
        yield pl.concat(held, rechunk=True)


def _standing(day: dt.date, frames: Iterable[pl.DataFrame], npis: pl.Series, scratch: Path) -> Iterator[pl.DataFrame]:
    """The row that stands of each of the sorted ``npis``, in order, as many at a time as are held in memory.

    Rows that do not fit in memory go to files in ``scratch``, one for each slice of the NPIs, and from there the same
    way again. Slices of several parts, because many small files cost three times the time.
    """
    if npis.is_empty():
        return
    batches = _batches(frames)
    begun = list(itertools.islice(batches, 2))
    # Popped: the first two would stay in memory for as long as the name does.
    all_batches = itertools.chain((begun.pop(0) for _ in range(len(begun))), batches)
    if len(begun) < 2 or npis.len() == 1:  # noqa: PLR2004 - there is a second one: it does not fit
        standing = NO_ROWS
        for batch in all_batches:
            standing = latest(pl.concat([standing, batch.join(npis.to_frame("npi"), on="npi", how="semi")]))
        if standing.height < npis.len():
            raise _no_outcome(day, npis, standing)
        yield standing
        return
    slices = _slices(npis)
    folders = [scratch / str(number) for number in range(len(slices))]
    for folder in folders:
        folder.mkdir()
    for number, batch in enumerate(all_batches):
        for folder, rows in zip(folders, _split(batch, slices), strict=True):
            rows.write_parquet(folder / f"{number}.parquet", compression_level=1, statistics=False)
    for folder, wanted in zip(folders, slices, strict=True):
        spilled = sorted(folder.glob("*.parquet"))
        yield from _standing(day, (pl.read_parquet(path) for path in spilled), wanted, folder)
        shutil.rmtree(folder)


def _slices(npis: pl.Series) -> list[pl.Series]:
    """The sorted ``npis`` in slices, of whole parts where there are enough."""
    unit = COMPACTED_PART_ROWS if npis.len() > COMPACTED_PART_ROWS else 1
    width = unit * -(-npis.len() // (unit * _FAN_OUT))
    return [npis.slice(start, width) for start in range(0, npis.len(), width)]


def _batches(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows, as much at a time as is held in memory."""
    held: list[pl.DataFrame] = []
    held_bytes = 0
    for frame in frames:
        held.append(frame)
        held_bytes += int(frame.estimated_size())
        if held_bytes > _BYTES_IN_MEMORY:
            yield pl.concat(held)
            held, held_bytes = [], 0
    if held:
        yield pl.concat(held)


def _split(rows: pl.DataFrame, slices: list[pl.Series]) -> list[pl.DataFrame]:
    """The rows of each slice: those from its first NPI up to the first of the next."""
    starts = pl.Series("npi", [wanted[0] for wanted in slices[1:]], dtype=pl.String)
    numbered = rows.with_columns(slice=starts.search_sorted(rows["npi"], side="right"))
    parts = numbered.partition_by("slice", as_dict=True, include_key=False)
    return [parts.get((number,), NO_ROWS) for number in range(len(slices))]


def _no_outcome(day: dt.date, npis: pl.Series, standing: pl.DataFrame) -> JournalError:
    without = npis.filter(~npis.is_in(standing["npi"].implode()))
    return JournalError(
        f"the journal of {day} has no outcome for {without[0]} (nor, from there on, for {without.len() - 1} or more "
        "NPIs of the list): materialise npi_records for that day again, it asks for them"
    )
