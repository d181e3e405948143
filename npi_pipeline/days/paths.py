"""The paths of a day below the data root, in one place, and which days have what.

Not here: what is in the files (the rooms of the products).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re

from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.data_root import DataRoot

NPI_LIST = "npi_list"
JOURNAL = "journal"
COMPACTIONS = "compactions"
PROVIDER_TABLE = "provider_table"
PROVIDER_CHANGES = "provider_changes"
STATE_FILES = "state_files"
DAY_REPORT = "day_report"
FINDINGS = "findings"
FETCHES = "fetches"
LOCKS = "locks"

MANIFEST_NAME = "manifest.json"
LIST_NAME = "npi_list.txt"
LIST_SOURCE_NAME = "source.json"
NPIS_NAME = "npis.parquet"
PARSED_NAME = "npis.json"
TABLE_NAME = "table.json"
CHANGES_NAME = "changes.json"
JOURNAL_NAME = "journal.json"
REPORT_PAGE_NAME = "day_report.html"
REPORT_JSON_NAME = "day_report.json"

HIVE_KEY = "day="
"""Begins the name of a day's folder of Parquet files: any tool then reads many days as one table with that column."""

_DAY = re.compile(rf"(?:{HIVE_KEY})?(\d{{4}}-\d{{2}}-\d{{2}})")


def list_path(day: dt.date) -> str:
    """The kept NPI list, verbatim."""
    return f"{NPI_LIST}/{day}/{LIST_NAME}"


def list_source_path(day: dt.date) -> str:
    """Where the kept NPI list came from; written after it."""
    return f"{NPI_LIST}/{day}/{LIST_SOURCE_NAME}"


def npis_path(day: dt.date) -> str:
    """The distinct NPIs of the kept list, as they were parsed from it."""
    return f"{NPI_LIST}/{day}/{NPIS_NAME}"


def parsed_path(day: dt.date) -> str:
    """Which bytes, which parser and which setting the distinct NPIs are of; written after them."""
    return f"{NPI_LIST}/{day}/{PARSED_NAME}"


def journal_folder(day: dt.date) -> str:
    """The folder of the day's journal."""
    return f"{JOURNAL}/{HIVE_KEY}{day}"


def provider_table_folder(day: dt.date) -> str:
    """The folder of the day's provider table."""
    return f"{PROVIDER_TABLE}/{HIVE_KEY}{day}"


def provider_changes_folder(day: dt.date) -> str:
    """The folder of the day's changes."""
    return f"{PROVIDER_CHANGES}/{day}"


def provider_changes_name(files: FileSettings, day: dt.date) -> str:
    """The name of the file of the day's changes."""
    return f"{PROVIDER_CHANGES}_{day.strftime(files.date_format)}.csv"


def state_files_folder(state_files_dir: str, day: dt.date) -> str:
    """The folder of the day's state files and manifest."""
    return f"{state_files_dir}/{day}"


def state_file_name(files: FileSettings, day: dt.date, state: str) -> str:
    """The name of one state file; ``state`` is a recognised code, ``None`` or the name that stands for failed."""
    return f"{files.file_prefix}{day.strftime(files.date_format)}_{state}.csv"


def day_report_folder(day: dt.date) -> str:
    """The folder of the day's report."""
    return f"{DAY_REPORT}/{day}"


def findings_path(day: dt.date, product: str) -> str:
    """What was found of the claims about one product of the day."""
    return f"{FINDINGS}/{day}/{product}.json"


def fetches_folder(day: dt.date) -> str:
    """The folder with a file for each fetch of the day."""
    return f"{FETCHES}/{day}"


def lock_path(day: dt.date, what: str) -> str:
    """The lock that whoever changes ``what`` of the day holds."""
    return f"{LOCKS}/{day}/{what}"


def compaction_mark(day: dt.date, on: dt.date) -> str:
    """Says by its name that the journal of ``day`` was compacted ``on`` that date (UTC). It has no content."""
    return f"{COMPACTIONS}/{on}/{day}"


def days_compacted_since(root: DataRoot, date: dt.date) -> list[dt.date]:
    """The days whose journal was compacted on ``date`` (UTC) or later, oldest first; a killed compaction counts too.

    What is listed are the marks of these dates, however many days there are.
    """
    dates = [on for on in days_with_folder(root, COMPACTIONS) if on >= date]
    marks = [file.path.rpartition("/")[2] for on in dates for file in root.list(f"{COMPACTIONS}/{on}")]
    return sorted({day for day in map(_day_called, marks) if day is not None})


def published_days(root: DataRoot, state_files_dir: str, first: dt.date, last: dt.date) -> list[dt.date]:
    """The days from ``first`` to ``last`` whose manifest is there, oldest first; a request for each of them."""
    days = [day for day in days_with_folder(root, state_files_dir) if first <= day <= last]
    return [day for day in days if _has_file(root, state_files_folder(state_files_dir, day), MANIFEST_NAME)]


def has_list(root: DataRoot, day: dt.date) -> bool:
    """Whether the day's NPI list is kept; one request, however many days there are."""
    return _has_file(root, f"{NPI_LIST}/{day}", LIST_SOURCE_NAME)


def has_journal(root: DataRoot, day: dt.date) -> bool:
    """Whether anything of the day was fetched, compacted or not; one request, however many days there are."""
    return bool(root.list(journal_folder(day)))


def _has_file(root: DataRoot, folder: str, name: str) -> bool:
    return any(file.path == f"{folder}/{name}" for file in root.list(folder))


def days_with_folder(root: DataRoot, folder: str) -> list[dt.date]:
    """The days that have a folder below ``folder``, oldest first, whatever is in it.

    A thousand days of fifty files are one request to S3 this way.
    """
    return sorted(day for day in map(_day_called, root.folders(folder)) if day is not None)


def _day_called(name: str) -> dt.date | None:
    """The day whose folder is called ``name``, if it is a day's."""
    if named := _DAY.fullmatch(name):
        with contextlib.suppress(ValueError):
            return dt.date.fromisoformat(named[1])
    return None
