"""What a notebook or a downstream project reads: the tables of one day or of many, as polars LazyFrames.

    scan_providers("s3://bucket/npi", dt.date(2026, 11, 24))                                # a day
    scan_outcomes("npi-data", ["2026-11-20", "2026-11-24"])                                 # some days, all of them
    scan_changes("npi-data", (dt.date(2026, 11, 1), dt.date(2026, 11, 24)))                 # those there are of a range

Only which files a day consists of is read at once; rows are read by polars when they are collected, and of those only
the columns that are asked for. Each row has its ``day``. What is read is not proven anew: the checks did that.
Not here: how these files are written and proven (the rooms of the products).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import polars as pl

from npi_pipeline.changes.kept_changes import read_kept_changes
from npi_pipeline.changes.write_changes import COLUMNS as CHANGE_COLUMNS
from npi_pipeline.days.paths import JOURNAL_NAME, journal_folder
from npi_pipeline.journal import SCHEMA as JOURNAL_SCHEMA
from npi_pipeline.journal import load_compacted_journal
from npi_pipeline.providers.kept_table import read_kept_table
from npi_pipeline.providers.provider_table import ProviderTable
from npi_pipeline.registries import FORMATS
from npi_pipeline.schema.columns import COLUMN_TYPES, ColumnType, TableLayout, file_columns, record_columns
from npi_pipeline.schema.json_paths import STATES, UNRECOGNISED_STATES
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.engines import polars_options
from npi_pipeline.storage.open_root import open_data_root

logger = logging.getLogger(__name__)

Day: TypeAlias = "dt.date | str"
Days: TypeAlias = "Day | tuple[Day, Day] | Iterable[Day]"
"""A day; several, each of which must be there; or, as a tuple (first, last), those of a range that are there.

Which days of a range are not there is told by a warning of the logger ``npi_pipeline.scans``.
"""

OUTCOME_SCHEMA = pl.Schema({name: dtype for name, dtype in JOURNAL_SCHEMA.items() if name != "run"})
CHANGE_SCHEMA = pl.Schema({column.name: pl.String() for column in CHANGE_COLUMNS} | {"compared_with": pl.Date()})

_TYPES: dict[ColumnType, pl.DataType] = {
    ColumnType.string: pl.String(),
    ColumnType.integer: pl.Int64(),
    ColumnType.number: pl.Float64(),
    ColumnType.boolean: pl.Boolean(),
    ColumnType.date: pl.Date(),
}
# So many of the days that are not there are named.
_SHOWN_DAYS = 10
_OF_THE_TABLE_ALONE: dict[str, pl.DataType] = {STATES: pl.List(pl.String()), UNRECOGNISED_STATES: pl.List(pl.String())}


def scan_providers(root: DataRoot | str | os.PathLike[str], days: Days) -> pl.LazyFrame:
    """The provider table: one row per found NPI and day; a list of a declared format is a list of structs.

    Days of a format without a declared schema have the columns that their records need, all of them text (a number or
    boolean as its JSON text); what a day lacks is null. Raises FileNotFoundError when a day has no table, or a range
    none at all, TableError, StorageError.
    """
    return _scan(root, days, _providers_of_day)


def scan_outcomes(root: DataRoot | str | os.PathLike[str], days: Days) -> pl.LazyFrame:
    """What became of each NPI: one row per distinct NPI of the list and day, with the registry's answer as it came.

    Raises FileNotFoundError when the journal of a day is not compacted, or of a range none is, JournalError,
    StorageError.
    """
    return _scan(root, days, _outcomes_of_day)


def scan_changes(root: DataRoot | str | os.PathLike[str], days: Days) -> pl.LazyFrame:
    """What changed from the complete day before: the rows of the CSV as they lie there, all of them text.

    ``compared_with`` is that day; a first day has no rows. Raises FileNotFoundError when a day has no changes, or a
    range none at all, ChangesError, StorageError.
    """
    return _scan(root, days, _changes_of_day)


def provider_schema(format_name: str = "nppes") -> pl.Schema:
    """The schema of the provider table of a declared registry format, but for ``day``. Raises KeyError, ValueError."""
    layout = FORMATS[format_name].layout
    if not layout.declared:
        raise ValueError(f"the registry format {format_name} has no declared schema")
    return declared_schema(layout)


def declared_schema(layout: TableLayout) -> pl.Schema:
    """The schema of the provider table of a format whose ``layout`` is declared."""
    plain = {column.name: _TYPES[column.type] for column in file_columns(record_columns(layout, {}))}
    unknown_fields = plain.popitem()
    lists: dict[str, pl.DataType] = {
        part.name: pl.List(pl.Struct({field.name: _TYPES[COLUMN_TYPES[field.type]] for field in part.fields}))
        for part in layout.lists_of_columns()
    }
    return pl.Schema(plain | lists | dict([unknown_fields]) | _OF_THE_TABLE_ALONE)


def _scan(
    root: DataRoot | str | os.PathLike[str], days: Days, of_day: Callable[[DataRoot, dt.date], pl.LazyFrame]
) -> pl.LazyFrame:
    opened = open_data_root(os.fspath(root)) if isinstance(root, (str, os.PathLike)) else root
    wanted, is_range = _wanted(days)
    missing: dict[dt.date, FileNotFoundError] = {}
    frames = []
    for day in wanted:
        with _noted(missing, day):
            frames.append(of_day(opened, day).select(pl.lit(day).alias("day"), pl.all()))
    if missing and (not is_range or not frames):
        raise next(iter(missing.values()))
    if not frames:
        raise ValueError("no day was asked for")
    if missing:
        shown = ", ".join(map(str, list(missing)[:_SHOWN_DAYS])) + (", ..." if len(missing) > _SHOWN_DAYS else "")
        logger.warning("%d of %d days are not there and left out: %s", len(missing), len(wanted), shown)
    return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")


@contextlib.contextmanager
def _noted(missing: dict[dt.date, FileNotFoundError], day: dt.date) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        missing[day] = error


def _wanted(days: Days) -> tuple[list[dt.date], bool]:
    """The days, oldest first, and whether they are a range."""
    if isinstance(days, (str, dt.date)):
        return [_as_day(days)], False
    several = [_as_day(day) for day in days]
    if not isinstance(days, tuple):
        return sorted(set(several)), False
    if len(several) != 2:  # noqa: PLR2004
        raise ValueError(f"a tuple is a range (first, last); give {len(several)} days as a list")
    first, last = several
    if last < first:
        raise ValueError(f"there is no day from {first} to {last}: the first is the later one")
    return [first + dt.timedelta(days=number) for number in range((last - first).days + 1)], True


def _as_day(day: Day) -> dt.date:
    if isinstance(day, str):
        return dt.date.fromisoformat(day)
    return day.date() if isinstance(day, dt.datetime) else day


def _providers_of_day(root: DataRoot, day: dt.date) -> pl.LazyFrame:
    kept = read_kept_table(root, day)
    paths = kept.paths
    # Only a declared format has lists, and then each of its parts has all columns.
    if kept.table.widths:
        return _scan_parquet(root, paths) if paths else pl.LazyFrame(schema=provider_schema())
    # Else a part has the columns that its records need.
    schema = undeclared_schema(kept.table)
    return _scan_parquet(root, paths, schema=schema, missing_columns="insert") if paths else pl.LazyFrame(schema=schema)


def undeclared_schema(table: ProviderTable) -> pl.Schema:
    """The schema of a day's ``table`` of an undeclared format: what its columns hold is text, as JSON writes it."""
    plain: dict[str, pl.DataType] = {column.name: pl.String() for column in table.columns}
    return pl.Schema(plain | {"fetched_on": pl.Date()} | _OF_THE_TABLE_ALONE)


def _outcomes_of_day(root: DataRoot, day: dt.date) -> pl.LazyFrame:
    journal = load_compacted_journal(root, day)
    if journal is None:
        raise FileNotFoundError(f"there is no {root.uri(f'{journal_folder(day)}/{JOURNAL_NAME}')}")
    frame = _scan_parquet(root, journal.paths) if journal.paths else pl.LazyFrame(schema=OUTCOME_SCHEMA)
    return frame.select(OUTCOME_SCHEMA.names())


def _changes_of_day(root: DataRoot, day: dt.date) -> pl.LazyFrame:
    kept = read_kept_changes(root, day)
    frame = pl.scan_csv(
        root.uri(kept.path),
        schema={column.name: pl.String() for column in CHANGE_COLUMNS},
        empty_string_is_null=False,
        **polars_options(root),
    )
    other = kept.compared_with.day if kept.compared_with else None
    return frame.with_columns(compared_with=pl.lit(other, dtype=pl.Date()))


def _scan_parquet(root: DataRoot, paths: Iterable[str], **options: Any) -> pl.LazyFrame:
    # The folder is called day=...: the column is put in by ``_scan``, the same for every table.
    files = [root.uri(path) for path in paths]
    return pl.scan_parquet(files, glob=False, hive_partitioning=False, **options, **polars_options(root))
