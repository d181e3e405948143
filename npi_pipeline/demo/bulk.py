"""What the demo shows of the registry as files: the same day looked up in them, and held against the API's.

Not here: the made-up files (``npi_pipeline.testing.bulk``), and the day that asked the API (``session``).
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from rich.console import Console

from npi_pipeline.orchestration.day_run import DayRun, run_day
from npi_pipeline.registries.nppes_bulk.records import CAPITALS_IN_BULK, DASHES_IN_API, NOT_IN_BULK
from npi_pipeline.settings import Settings
from npi_pipeline.testing.bulk import Country, write_monthly

_FILES, _DATA, _EVERYBODY = FOLDERS = ("nppes-files", "npi-data-bulk", "npi-data-everybody")
"""What it puts beside the demo's other files."""
_NOT_COMPARED = {"fetched_on", "reason", *NOT_IN_BULK}


def show_files_as_registry(console: Console, folder: Path, by_api: DayRun, npis: int) -> int:
    """Run the day of ``by_api`` from made-up dissemination files of ``npis`` NPIs; returns the exit code."""
    day = by_api.status.day
    country = Country(npis, start=_last_sunday(day))
    files = folder / _FILES
    files.mkdir()
    monthly = write_monthly(country, files)
    console.print(f"\n[bold]The same registry as a file[/]: {monthly} ({monthly.stat().st_size / 1e6:.1f} MB)")
    by_files = _run(day, folder / _DATA, files)
    everybody = _run(day, folder / _EVERYBODY, files, list_bucket="")
    if not (by_files.ok and everybody.ok):
        console.print("; ".join((*by_files.problems, *everybody.problems)))
        return 1
    console.print(f"by API       {by_api.status.npis:>9,} NPIs in {by_api.seconds:.1f} s")
    console.print(
        f"by file      {by_files.status.npis:>9,} NPIs in {by_files.seconds:.1f} s, the file prepared with them"
    )
    console.print(f"without list {everybody.status.npis:>9,} NPIs in {everybody.seconds:.1f} s: everybody in the file")
    differing = list(differing_state_files(Path(by_api.status.where), Path(by_files.status.where)))
    console.print(
        f"{by_api.status.files} state files by API and by file are "
        + (f"not equal: {', '.join(differing)}" if differing else "equal in every column that the file can fill")
    )
    return 1 if differing else 0


def _run(day: dt.date, data_root: Path, files: Path, **settings: object) -> DayRun:
    of_files = {"registry_format": "nppes_bulk", "bulk_files": str(files), "data_root": str(data_root), **settings}
    return run_day(Settings.from_environment(os.environ, **of_files), day, log_level="ERROR")


def _last_sunday(day: dt.date) -> dt.date:
    """Of the week before: what CMS has published by ``day``."""
    return day - dt.timedelta(days=day.isoweekday() % 7)


def differing_state_files(by_api: Path, by_files: Path) -> Iterator[str]:
    """The names of the state files that are not the same in both folders, in all that the files can tell.

    See the data dictionary for what they cannot.
    """
    names = {path.name for folder in (by_api, by_files) for path in folder.glob("*.csv")}
    for name in sorted(names):
        one, other = by_api / name, by_files / name
        if not (one.exists() and other.exists() and _cells(one).equals(_cells(other))):
            yield name


def _cells(path: Path) -> pl.DataFrame:
    rows = pl.read_csv(path, infer_schema=False)
    return rows.select(_cell(name) for name in sorted(rows.columns) if _pattern(name) not in _NOT_COMPARED)


def _cell(name: str) -> pl.Expr:
    """A column as both ways have it."""
    pattern, cell = _pattern(name), pl.col(name)
    if pattern in DASHES_IN_API:
        return pl.when(cell.str.strip_prefix("'") != "--").then(cell)
    return cell.str.to_uppercase() if pattern in CAPITALS_IN_BULK else cell


def _pattern(name: str) -> str:
    """The name of a column with ``[*]`` for the position in a list."""
    head, bracket, tail = name.partition("[")
    return f"{head}[*]{tail.partition(']')[2]}" if bracket else name
