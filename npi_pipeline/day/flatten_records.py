"""Step 3: the day's records, from the sealed journal to the provider table."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path

from npi_pipeline.enrichment.journal import read_sealed_journal, rows_of
from npi_pipeline.settings import FileSettings, SettingsError
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.day_lock import day_lock
from npi_pipeline.storage.days import PROVIDER_TABLE
from npi_pipeline.storage.kept_table import keep_provider_table
from npi_pipeline.tables.columns import TableLayout
from npi_pipeline.tables.provider_table import ProviderTable, refuse_unknown_lists, write_provider_table


def flatten_records(root: DataRoot, day: dt.date, layout: TableLayout, list_widths: Mapping[str, int]) -> ProviderTable:
    """Make the provider table of ``day``. Raises JournalError, DayLockedError, StorageError."""
    # Before anything is read: so whoever is slower cannot put an older table in the place of a newer one.
    with day_lock(root, day, PROVIDER_TABLE) as held, tempfile.TemporaryDirectory(prefix="npi-") as scratch:
        journal = read_sealed_journal(root, day)
        read_outcomes = functools.partial(rows_of, root, journal)
        table = write_provider_table(read_outcomes, layout, Path(scratch), list_widths=list_widths)
        table = dataclasses.replace(table, journal_digest=journal.digest)
        keep_provider_table(root, day, Path(scratch), table, held)
    return table


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
