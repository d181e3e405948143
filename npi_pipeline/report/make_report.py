"""Making the report of a day: the page and its JSON beside the day's files, and which of older days are kept."""

from __future__ import annotations

import datetime as dt

import msgspec

from npi_pipeline.days.paths import DAY_REPORT, REPORT_JSON_NAME, REPORT_PAGE_NAME, day_report_folder, days_with_folder
from npi_pipeline.report.day_report import DayReport
from npi_pipeline.report.page import page_of
from npi_pipeline.report.read_day import read_day
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.data_root import DataRoot


def make_report(root: DataRoot, files: FileSettings, day: dt.date) -> DayReport:
    """Make the report of ``day`` from what is kept of it, complete or not, and keep no more than the settings say.

    The same files give the same bytes. Raises StorageError.
    """
    report = read_day(root, files, day)
    folder = day_report_folder(day)
    root.write(f"{folder}/{REPORT_JSON_NAME}", json_of(report))
    root.write(f"{folder}/{REPORT_PAGE_NAME}", page_of(report).encode())
    _remove_old(root, day, files.report_keep)
    return report


def report_page_path(day: dt.date) -> str:
    """Where the page lies below the data root."""
    return f"{day_report_folder(day)}/{REPORT_PAGE_NAME}"


def has_report(root: DataRoot, day: dt.date) -> bool:
    """Whether a report of ``day`` was made."""
    return any(file.path == report_page_path(day) for file in root.list(day_report_folder(day)))


def json_of(report: DayReport) -> bytes:
    """The report for machines: its verdict and all that it says."""
    said = {"verdict": report.verdict.value, "headline": report.headline} | msgspec.to_builtins(report, str_keys=True)
    return msgspec.json.format(msgspec.json.encode(said), indent=2) + b"\n"


def _remove_old(root: DataRoot, day: dt.date, keep: int) -> None:
    """Remove the reports of all but the newest ``keep`` days (0: of none), and never the one made just now."""
    older = days_with_folder(root, DAY_REPORT)[:-keep] if keep else []
    for other in older:
        if other != day:
            root.delete(*(file.path for file in root.list(day_report_folder(other))))
