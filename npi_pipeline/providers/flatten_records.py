"""Step 3: the day's records, from the compacted journal to the provider table."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from npi_pipeline.days.input_digest import input_digest
from npi_pipeline.days.lock import day_lock
from npi_pipeline.days.paths import PROVIDER_TABLE
from npi_pipeline.journal import CompactedJournal, found_records, read_compacted_journal, rows_of
from npi_pipeline.providers.kept_table import TableError, keep_provider_table, parts_of, read_kept_table
from npi_pipeline.providers.provider_table import (
    OUTCOME_COLUMNS,
    Cell,
    ProviderTable,
    refuse_unknown_lists,
    write_provider_table,
    write_table_of_records,
)
from npi_pipeline.registries.nppes_bulk.store_schema import RECORD_COLUMNS
from npi_pipeline.schema.columns import TableLayout
from npi_pipeline.settings import FileSettings, SettingsError
from npi_pipeline.storage.data_root import DataRoot

_PREVIEW_ROWS = 5
_PREVIEW_COLUMNS = 12
_PREVIEW_CHARACTERS = 200


def flatten_records(root: DataRoot, day: dt.date, layout: TableLayout, list_widths: Mapping[str, int]) -> ProviderTable:
    """Make the provider table of ``day``. Raises JournalError, DayLockedError, StorageError."""
    # Before anything is read: so whoever is slower cannot put an older table in the place of a newer one.
    with day_lock(root, day, PROVIDER_TABLE) as held, tempfile.TemporaryDirectory(prefix="npi-") as scratch:
        journal = read_compacted_journal(root, day)
        table = _written(root, journal, layout, Path(scratch), list_widths)
        table = dataclasses.replace(table, preview=_preview(Path(scratch)), journal_digest=journal.digest)
        table = dataclasses.replace(table, input_digest=_input_digest(table, layout, list_widths))
        keep_provider_table(root, day, Path(scratch), table, held)
    return table


def _written(
    root: DataRoot, journal: CompactedJournal, layout: TableLayout, folder: Path, list_widths: Mapping[str, int]
) -> ProviderTable:
    if not journal.is_of_snapshot:
        read_outcomes = functools.partial(rows_of, root, journal, OUTCOME_COLUMNS)
        return write_provider_table(read_outcomes, layout, folder, list_widths=list_widths)
    outcomes = rows_of(root, journal, [name for name in OUTCOME_COLUMNS if name != "body"])
    found = found_records(root, journal, outcomes, RECORD_COLUMNS)
    return write_table_of_records(found, layout, folder, list_widths=list_widths)


def _preview(folder: Path) -> tuple[dict[str, Cell], ...]:
    """The first rows with their first columns, of the parts in the local ``folder``."""
    first = min(folder.iterdir(), default=None)
    if first is None:
        return ()
    rows = pl.read_parquet(first, n_rows=_PREVIEW_ROWS).select(~pl.selectors.nested())[:, :_PREVIEW_COLUMNS]
    # Texts come from outside, and what is shown to a person is no place for long ones.
    texts = pl.col(pl.String, pl.Date).cast(pl.String).str.head(_PREVIEW_CHARACTERS)
    return tuple(rows.with_columns(texts).to_dicts())


def unchanged_table(
    root: DataRoot, day: dt.date, layout: TableLayout, list_widths: Mapping[str, int]
) -> ProviderTable | None:
    """The provider table that is kept of ``day``, if it is whole and the one that would be made; else None.

    Raises JournalError, StorageError.
    """
    journal = read_compacted_journal(root, day)
    try:
        kept = read_kept_table(root, day)
        is_same = kept.table.input_digest == _input_digest(kept.table, layout, list_widths)
        if not is_same or kept.table.journal_digest != journal.digest:
            return None
        # Read to be proven whole.
        for _ in parts_of(root, kept):
            pass
    except (FileNotFoundError, TableError):
        return None
    return kept.table


def _input_digest(table: ProviderTable, layout: TableLayout, list_widths: Mapping[str, int]) -> str:
    return input_digest(layout, sorted(list_widths.items()), dataclasses.replace(table, input_digest=""))


def pinned_widths(files: FileSettings, layout: TableLayout) -> dict[str, int]:
    """The list widths that ``files`` pins, for records of ``layout``.

    Raises SettingsError when these do not go together; whoever is to make the table asks before it fetches anything.
    """
    widths = files.pinned_widths()
    try:
        refuse_unknown_lists(layout, widths)
    except ValueError as error:
        raise SettingsError(f"NPI_LIST_WIDTHS={files.list_widths!r} cannot be used: {error}") from error
    return widths
