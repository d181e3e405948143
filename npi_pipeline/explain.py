"""Everything that is known of one NPI on a day: in the list, the journal, the provider table, the files, the changes.

It is told from what lies there, whatever of it there is: a day may be fetched this moment, or damaged. Of the compacted
journal and of the provider table only the part is read that may have the NPI. Nothing is written and nothing locked.
Not here: whether a day is right as a whole (``proofs``), and how this is printed (``cli.rendering``).
"""

from __future__ import annotations

import bisect
import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from npi_pipeline.changes.kept_changes import ChangesError, read_kept_changes
from npi_pipeline.days.paths import state_files_folder
from npi_pipeline.journal import (
    SCHEMA,
    WITHOUT_BODY,
    CompactedJournal,
    bodies_of,
    load_compacted_journal,
    rows_of,
)
from npi_pipeline.journal.segments import contents, is_whole, rows_in, segments_folder
from npi_pipeline.npi_list.keep_npi_list import kept_npi_list
from npi_pipeline.npi_list.kept_list import read_kept_source
from npi_pipeline.outcomes import Outcome
from npi_pipeline.providers.kept_table import KeptTable, TableError, parts_of, read_kept_table
from npi_pipeline.providers.provider_table import NO_STATE
from npi_pipeline.scans import scan_changes
from npi_pipeline.schema.json_paths import STATES
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.manifest import Manifest
from npi_pipeline.state_files.publish import read_manifest
from npi_pipeline.state_files.published import UNESCAPED
from npi_pipeline.storage.damaged import read_or_note
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.engines import polars_options

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Listed:
    """Where an NPI stands in the list: the first ``line``, how often, and why it is invalid, if it is."""

    where: str
    line: int
    occurrences: int
    invalid: str | None


@dataclasses.dataclass(frozen=True)
class Changed:
    """What changed about an NPI since ``compared_with``, the complete day before: rows of the day's changes."""

    compared_with: dt.date | None
    rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What is known of one NPI on a day; what is not there (yet) is None or empty.

    ``journal`` has the rows of the NPI, that which stands last: SCHEMA, its ``place`` (compacted, or segments: arrived
    since) and its ``registry``, None where a segment's is not the compacted journal's. ``provider`` is its row of the
    provider table. ``files`` are the state files that its row is in. ``problems`` has a line for what could not be
    read, or does not go together.
    """

    day: dt.date
    npi: str
    listed: Listed | None
    journal: tuple[Row, ...]
    provider: Row | None
    files: tuple[str, ...]
    changes: Changed | None
    problems: tuple[str, ...]

    @property
    def is_known(self) -> bool:
        """Whether anything is known of the NPI on that day."""
        return bool(self.listed or self.journal or self.provider or (self.changes and self.changes.rows))

    def as_json(self) -> dict[str, object]:
        """The explanation for machines; dates are still dates."""
        return dataclasses.asdict(self)


def explain(root: DataRoot, files: FileSettings, day: dt.date, npi: str) -> Explanation:
    """Everything that is known of ``npi`` on ``day``. ``npi`` is as it was parsed from the list, valid or not.

    What is damaged is told among the problems, and the rest nevertheless. Raises StorageError when the root cannot be
    reached.
    """
    problems: list[str] = []

    compacted = read_or_note(problems, lambda: load_compacted_journal(root, day), None)
    listed = read_or_note(problems, lambda: _listed(root, day, npi), None)
    stands = read_or_note(problems, lambda: _compacted_row(root, compacted, npi), None)
    arrived: list[Row] = read_or_note(problems, lambda: _arrived(root, day, npi, compacted, problems), [])
    provider = read_or_note(problems, lambda: _provider(root, day, npi), None)
    manifest = read_or_note(problems, lambda: read_manifest(root, files.state_files_dir, day), None)
    if manifest and compacted and manifest.journal_digest != compacted.digest:
        problems.append(f"the state files of {day} are of an earlier journal: materialise state_files for {day} again")
    return Explanation(
        day=day,
        npi=npi,
        listed=listed,
        journal=tuple(sorted(arrived, key=_run_and_time)) + ((stands,) if stands else ()),
        provider=provider,
        files=tuple(_files(root, files, manifest, provider, is_there=stands is not None)) if manifest else (),
        changes=read_or_note(problems, lambda: _changed(root, day, npi), None),
        problems=tuple(problems),
    )


def _listed(root: DataRoot, day: dt.date, npi: str) -> Listed | None:
    source = read_kept_source(root, day)
    for row in kept_npi_list(root, day, source).npis.filter(pl.col("npi") == npi).to_dicts():
        return Listed(source.where, row["line"], row["occurrences"], row["reason"])
    return None


def _compacted_row(root: DataRoot, journal: CompactedJournal | None, npi: str) -> Row | None:
    """The row of the compacted journal, with its answer."""
    if journal is None:
        return None
    parts = tuple(part for part in journal.parts if part.first <= npi <= part.last)
    columns = WITHOUT_BODY if journal.is_of_snapshot else list(SCHEMA)
    for rows in rows_of(root, dataclasses.replace(journal, parts=parts), columns):
        for row in rows.filter(pl.col("npi") == npi).to_dicts():
            # Where the bodies stand in a snapshot, only this one is read there.
            is_in_snapshot = journal.is_of_snapshot and row["outcome"] == Outcome.found.value
            body = bodies_of(root, journal, pl.Series([npi]))[0] if is_in_snapshot else row.get("body")
            return {"place": "compacted", "registry": journal.registry} | row | {"body": body}
    return None


def _arrived(
    root: DataRoot, day: dt.date, npi: str, compacted: CompactedJournal | None, problems: list[str]
) -> list[Row]:
    """The rows that arrived since the journal was compacted. They are in no order, so that each part is read."""
    folder = segments_folder(day)
    of_compacted = segments_folder(day, compacted.registry) + "/" if compacted and compacted.registry else None
    found = []
    for path, content in contents(root, [file.path for file in root.list(folder)]):
        # One that is gone meanwhile was compacted.
        if content is None:
            continue
        if not is_whole(path, content):
            problems.append(f"{root.uri(path)} is damaged: the next run of {day} sets it aside and asks again")
            continue
        registry = compacted.registry if compacted and of_compacted and path.startswith(of_compacted) else None
        rows = rows_in(content, list(SCHEMA)).filter(pl.col("npi") == npi)
        found += [{"place": "segments", "registry": registry} | row for row in rows.to_dicts()]
    return found


def _run_and_time(row: Row) -> tuple[int, dt.datetime]:
    return row["run"], row["fetched_at"]


def _provider(root: DataRoot, day: dt.date, npi: str) -> Row | None:
    kept = read_kept_table(root, day)
    number = bisect.bisect_right(kept.paths, npi, key=lambda path: _first_npi(root, kept, path)) - 1
    if number < 0:
        return None
    for part in parts_of(root, _only(kept, number)):
        for row in pl.scan_parquet(part, glob=False).filter(pl.col("npi") == npi).collect().to_dicts():
            return row
    return None


def _only(kept: KeptTable, number: int) -> KeptTable:
    return dataclasses.replace(kept, parts=kept.parts[number : number + 1])


def _first_npi(root: DataRoot, kept: KeptTable, path: str) -> str:
    """The first NPI of a part: of a file on S3 no more is read than that."""
    try:
        scan = pl.scan_parquet(root.uri(path), glob=False, hive_partitioning=False, **polars_options(root))
        return str(scan.select("npi").head(1).collect().item())
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TableError(
            f"{root.uri(path)} is missing or damaged: materialise providers for {kept.day} again"
        ) from error


def _files(
    root: DataRoot, files: FileSettings, manifest: Manifest, provider: Mapping[str, Any] | None, *, is_there: bool
) -> Iterator[str]:
    """The files of the manifest that its row is in: those of the provider's states, ``None``, or ``Failed``."""
    if not provider and not is_there:
        return
    states = (provider[STATES] or [NO_STATE]) if provider else [files.failed_name]
    for file in manifest.files:
        if file.state in states:
            yield root.uri(f"{state_files_folder(files.state_files_dir, manifest.day)}/{manifest.path_of(file)}")


def _changed(root: DataRoot, day: dt.date, npi: str) -> Changed:
    kept = read_kept_changes(root, day)
    try:
        rows = scan_changes(root, day).filter(UNESCAPED.eq(npi)).select("change", "field", "old", "new").collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ChangesError(
            f"{root.uri(kept.path)} is missing or damaged: materialise provider_changes for {day} again"
        ) from error
    return Changed(kept.compared_with.day if kept.compared_with else None, tuple(rows.to_dicts()))
