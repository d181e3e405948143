"""Which dissemination files make a day's snapshot: the newest monthly one, the weekly ones after it, a report."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.files import (
    DisseminationFile,
    FileKind,
    FilesOfDay,
    dissemination_files,
    files_of_day,
    open_bulk_files,
    with_dates,
)
from npi_pipeline.settings import SettingsError
from npi_pipeline.storage.data_root import StoredFile
from npi_pipeline_tests.registries.nppes_bulk.made_files import monthly_name, weekly_name

_AT = dt.datetime(2026, 9, 1, tzinfo=dt.timezone.utc)
_AUGUST = dt.date(2026, 8, 9)
_WEEK = dt.timedelta(days=7)


def _stored(*names: str) -> list[StoredFile]:
    return [StoredFile(name, 10, _AT) for name in sorted(names)]


def _dated(file: DisseminationFile) -> DisseminationFile:
    """The monthly file's own date: the second Sunday, as a test's."""
    first = file.date.replace(day=1)
    return dataclasses.replace(file, date=first + dt.timedelta(days=(6 - first.weekday()) % 7 + 7), is_dated=True)


def _chosen(names: list[str], day: dt.date) -> FilesOfDay:
    return files_of_day(dissemination_files(_stored(*names)), day, _dated, place="there")


def test_files_are_known_by_the_names_that_cms_gives_them() -> None:
    found = dissemination_files(
        _stored(
            "NPPES_Data_Dissemination_August_2026_V2.zip",
            "NPPES_Data_Dissemination_Sep_2015.zip",
            "weekly/NPPES_Data_Dissemination_081026_081626_Weekly_V2.zip",
            "NPPES_Deactivated_NPI_Report_081026_V2.zip",
            "unpacked/npidata_pfile_20050523-20260712.csv",
            "unpacked/pl_pfile_20050523-20260712.csv",
            "unpacked/npidata_pfile_20050523-20260712_FileHeader.csv",
            "unpacked/pl_pfile_20260706-20260712.csv",
            "NPPES Deactivated NPI Report 20260713.xlsx",
            "NPPES_Data_Dissemination_Smarch_2026.zip",
            "NPPES_Data_Dissemination_083226_090626_Weekly.zip",
            "notes.txt",
        )
    )

    monthly, weekly, report = FileKind
    begin, tenth = dt.date(2005, 5, 23), dt.date(2026, 8, 10)
    assert [(file.name, file.kind, file.first, file.date, file.version, len(file.stored)) for file in found] == [
        ("NPPES_Data_Dissemination_Sep_2015.zip", monthly, begin, dt.date(2015, 9, 30), 1, 1),
        ("unpacked/npidata_pfile_20050523-20260712.csv", monthly, begin, dt.date(2026, 7, 12), 1, 2),
        ("NPPES Deactivated NPI Report 20260713.xlsx", report, dt.date(2026, 7, 13), dt.date(2026, 7, 13), 1, 1),
        ("NPPES_Deactivated_NPI_Report_081026_V2.zip", report, tenth, tenth, 2, 1),
        ("weekly/NPPES_Data_Dissemination_081026_081626_Weekly_V2.zip", weekly, tenth, dt.date(2026, 8, 16), 2, 1),
        ("NPPES_Data_Dissemination_August_2026_V2.zip", monthly, begin, dt.date(2026, 8, 31), 2, 1),
    ]


def test_of_a_file_that_lies_there_twice_the_second_version_is_taken_and_a_zip_before_its_csvs() -> None:
    week = "NPPES_Data_Dissemination_081026_081626_Weekly"
    found = dissemination_files(
        _stored(f"{week}.zip", f"{week}_V2.zip", "a/npidata_pfile_20260810-20260816.csv", f"copy/{week}.zip")
    )

    assert [file.name for file in found] == [f"{week}_V2.zip"]


def test_each_of_forty_days_has_the_newest_monthly_file_and_the_weekly_ones_after_it() -> None:
    months = [dt.date(2026, 6, 14), dt.date(2026, 7, 12), _AUGUST]
    sundays = [dt.date(2026, 7, 5) + _WEEK * number for number in range(8)]
    names = [monthly_name(day) for day in months] + [weekly_name(day) for day in sundays]

    for offset in range(40):
        day = dt.date(2026, 7, 12) + dt.timedelta(days=offset)
        month = max(date for date in months if date <= day)
        weeks = [sunday for sunday in sundays if month < sunday <= day]

        chosen = _chosen(names, day)

        assert [file.name for file in chosen.files] == [monthly_name(month), *map(weekly_name, weeks)], day
        assert chosen.as_of == max([month, *weeks]), day
        assert chosen.missing == (), day


def test_a_missing_weekly_file_ends_the_snapshot_before_it_and_is_named() -> None:
    sundays = [_AUGUST + _WEEK, _AUGUST + 3 * _WEEK, _AUGUST + 4 * _WEEK]
    names = [monthly_name(_AUGUST), *map(weekly_name, sundays), "NPPES_Deactivated_NPI_Report_090726_V2.zip"]

    chosen = _chosen(names, dt.date(2026, 9, 12))

    assert [file.name for file in chosen.files] == [monthly_name(_AUGUST), weekly_name(sundays[0])]
    assert chosen.as_of == sundays[0]
    (line,) = chosen.missing
    assert "no weekly file from 2026-08-17 to 2026-08-23 lies in there" in line
    assert weekly_name(sundays[1]) in line


def test_a_weekly_file_that_the_monthly_one_reaches_into_is_no_gap() -> None:
    monday = dt.date(2026, 8, 11)
    chosen = files_of_day(
        dissemination_files(_stored("npidata_pfile_20050523-20260811.csv", weekly_name(_AUGUST + _WEEK))),
        dt.date(2026, 8, 20),
        _dated,
        place="there",
    )

    assert [file.date for file in chosen.files] == [monday, _AUGUST + _WEEK]


def test_the_newest_report_up_to_the_day_stands_among_the_files_by_its_date() -> None:
    reports = [f"NPPES_Deactivated_NPI_Report_{date}_V2.zip" for date in ("071326", "081026", "091426")]
    names = [monthly_name(_AUGUST), weekly_name(_AUGUST + _WEEK), *reports]

    chosen = _chosen(names, dt.date(2026, 8, 20))

    assert [file.name for file in chosen.files] == [names[0], reports[1], names[1]]
    assert chosen.as_of == _AUGUST + _WEEK


def test_a_day_before_the_first_monthly_file_is_told_what_to_download() -> None:
    with pytest.raises(
        BulkFileError, match=r"no monthly dissemination file of 2026-08-08 or before in there: download"
    ):
        _chosen([monthly_name(_AUGUST), weekly_name(dt.date(2026, 8, 2))], dt.date(2026, 8, 8))


def test_only_monthly_zips_that_may_be_the_one_are_looked_into() -> None:
    months = [dt.date(2026, month, 1) for month in range(1, 10)]
    looked_into: list[str] = []

    def dated(file: DisseminationFile) -> DisseminationFile:
        looked_into.append(file.name)
        return _dated(file)

    found = dissemination_files(_stored(*map(monthly_name, months)))
    chosen = files_of_day(found, dt.date(2026, 6, 5), dated, place="there")

    assert [file.date for file in chosen.files] == [dt.date(2026, 5, 10)]
    assert looked_into == [monthly_name(month) for month in (months[5], months[4])]


@pytest.mark.parametrize("name", ["npidata_pfile_20260803-20260809.csv", "npidata_pfile_nodate.csv"])
def test_a_zip_that_holds_another_files_csv_is_refused(name: str) -> None:
    (weekly,) = dissemination_files(_stored(weekly_name(_AUGUST + _WEEK)))

    with pytest.raises(BulkFileError, match=rf"{weekly.name} holds {name}, "):
        with_dates(weekly, name)


def test_the_kinds_are_laid_on_top_of_each_other_in_their_order_on_one_date() -> None:
    found = dissemination_files(
        _stored(
            "NPPES_Deactivated_NPI_Report_081626_V2.zip",
            "npidata_pfile_20050523-20260816.csv",
            weekly_name(_AUGUST + _WEEK),
        )
    )

    assert [file.kind for file in found] == list(FileKind)


def test_no_place_and_a_foreign_one_are_told_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="NPI_BULK_FILES is not set"):
        open_bulk_files("")
    with pytest.raises(SettingsError, match=r"NPI_BULK_FILES='https://download\.cms\.gov' cannot be used"):
        open_bulk_files("https://download.cms.gov")
    assert open_bulk_files(str(tmp_path)).uri() == str(tmp_path)
