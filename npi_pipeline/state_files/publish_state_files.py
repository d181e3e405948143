"""Step 4: the day's state files, from the provider table and the journal to a published day."""

from __future__ import annotations

import dataclasses
import datetime as dt
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from npi_pipeline.days.input_digest import input_digest
from npi_pipeline.days.lock import day_lock
from npi_pipeline.days.paths import STATE_FILES, state_file_name
from npi_pipeline.findings import Npis, joined
from npi_pipeline.journal import WITHOUT_BODY, CompactedJournal, JournalError, read_compacted_journal, rows_of
from npi_pipeline.npi_list.keep_npi_list import kept_npi_list
from npi_pipeline.npi_list.kept_list import read_kept_source, source_of
from npi_pipeline.providers.kept_table import TableError, parts_of, read_kept_table
from npi_pipeline.providers.provider_table import ProviderTable
from npi_pipeline.registries.nppes_bulk.snapshot import load_snapshot
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.manifest import Manifest, ManifestError
from npi_pipeline.state_files.publish import publish, read_manifest
from npi_pipeline.state_files.verification import verify_published
from npi_pipeline.state_files.write_state_files import write_state_files
from npi_pipeline.storage.data_root import DataRoot, HeldLock


def publish_state_files(root: DataRoot, day: dt.date, files: FileSettings) -> Manifest:
    """Write and publish the state files of ``day``; what was published before is replaced whole.

    Raises FileNotFoundError when a step before has not run, JournalError also when list, journal and provider table do
    not belong together, DayLockedError, StorageError.
    """
    # Before anything is read: so whoever is slower cannot put an older day in the place of a newer one.
    with day_lock(root, day, STATE_FILES) as held:
        return _published(root, day, files, held)


def _published(root: DataRoot, day: dt.date, files: FileSettings, held: HeldLock) -> Manifest:
    source = read_kept_source(root, day)
    listed = kept_npi_list(root, day, source)
    kept = read_kept_table(root, day)
    table = kept.table
    journal = read_compacted_journal(root, day)
    if journal.digest != table.journal_digest:
        # The found of the one and the failed of the other would lose an NPI that failed and is found since.
        raise JournalError(
            f"the provider table of {day} was made from an earlier journal: materialise providers for that day first"
        )
    recorded: list[Npis] = []
    with tempfile.TemporaryDirectory(prefix="npi-") as scratch:
        written = write_state_files(
            table,
            parts_of(root, kept),
            _telling_npis(rows_of(root, journal, WITHOUT_BODY), recorded),
            Path(scratch),
            lambda state: state_file_name(files, day, state),
            failed_name=files.failed_name,
            escape_formulas=files.escape_formulas,
            byte_order_mark=files.byte_order_mark,
        )
        _ensure_same_npis(day, listed.as_set, joined(recorded))
        manifest = Manifest(
            day=day,
            published_at=dt.datetime.now(dt.timezone.utc),
            source=source_of(source),
            outcomes=journal.outcomes,
            columns=tuple(column.name for column in table.columns),
            files=tuple(written),
            list_sha256=source.sha256,
            journal_digest=journal.digest,
            registry_files=_registry_files(root, journal),
        )
        manifest = dataclasses.replace(manifest, input_digest=_input_digest(manifest, table, files))
        return publish(root, files.state_files_dir, Path(scratch), manifest, held)


def unchanged_publication(root: DataRoot, day: dt.date, files: FileSettings) -> Manifest | None:
    """The manifest of ``day``, if it is published whole and as it would be published; else None.

    Raises StorageError.
    """
    try:
        source = read_kept_source(root, day)
        table = read_kept_table(root, day).table
        journal = read_compacted_journal(root, day)
        manifest = read_manifest(root, files.state_files_dir, day)
    except (FileNotFoundError, JournalError, ManifestError, TableError):
        # What cannot be read is told of by the step that needs it.
        return None
    sources = (source_of(source), source.sha256, journal.digest, journal.digest)
    if sources != (manifest.source, manifest.list_sha256, manifest.journal_digest, table.journal_digest):
        return None
    if manifest.input_digest != _input_digest(manifest, table, files):
        return None
    return None if verify_published(root, files.state_files_dir, day) else manifest


def _registry_files(root: DataRoot, journal: CompactedJournal) -> tuple[Mapping[str, Any], ...]:
    """The files in which the day was looked up, where the registry is files."""
    if not journal.is_of_snapshot:
        return ()
    files = load_snapshot(root, journal.registry).files
    return tuple(
        {"name": file.name, "kind": file.kind, "date": file.date.isoformat(), "size": file.size, "sha256": file.sha256}
        for file in files
    )


def _input_digest(manifest: Manifest, table: ProviderTable, files: FileSettings) -> str:
    """What the state files were made from."""
    names = (files.file_prefix, files.date_format, files.failed_name)
    published = dataclasses.replace(manifest, input_digest="", folder="").to_json()
    return input_digest(table.input_digest, names, files.escape_formulas, files.byte_order_mark, published)


def _telling_npis(frames: Iterable[pl.DataFrame], npis: list[Npis]) -> Iterator[pl.DataFrame]:
    """The same frames; the NPIs of each are added to ``npis`` as it passes."""
    for frame in frames:
        npis.append(Npis.of([frame["npi"]]))
        yield frame


def _ensure_same_npis(day: dt.date, listed: Npis, recorded: Npis) -> None:
    """Raise JournalError unless the journal is of this list."""
    missing, strange = len(listed.without(recorded)), len(recorded.without(listed))
    if missing or strange:
        raise JournalError(
            f"the NPI list of {day} was read again since its journal was compacted, and {missing + strange:,} NPIs "
            "differ: materialise npi_records for that day first"
        )
