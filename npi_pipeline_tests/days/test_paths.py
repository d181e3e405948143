"""The paths of a day, and which days have what."""

from __future__ import annotations

import datetime as dt

import pytest

from npi_pipeline.days import paths as days
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.data_root import DataRoot, checked_path

DAY = dt.date(2026, 11, 23)


def test_a_state_file_is_named_by_prefix_day_and_state() -> None:
    assert days.state_file_name(FileSettings(), DAY, "CA") == "npi_data_2026-11-23_CA.csv"
    as_the_script = FileSettings(file_prefix="npi_", date_format="%d-%m-%Y")
    assert days.state_file_name(as_the_script, DAY, "Failed") == "npi_23-11-2026_Failed.csv"
    assert days.provider_changes_name(as_the_script, DAY) == "provider_changes_23-11-2026.csv"


@pytest.mark.parametrize(
    "path",
    [
        days.list_path(DAY),
        days.list_source_path(DAY),
        days.journal_folder(DAY),
        days.provider_table_folder(DAY),
        days.provider_changes_folder(DAY),
        days.state_files_folder("out/state_files", DAY),
        days.lock_path(DAY, "journal"),
    ],
)
def test_every_path_of_a_day_names_the_day_and_lies_below_the_root(path: str) -> None:
    assert {"2026-11-23", "day=2026-11-23"} & set(path.split("/"))
    assert checked_path(path) == path


def test_the_published_days_of_a_range_are_those_whose_manifest_is_there(root: DataRoot) -> None:
    later, latest = DAY + dt.timedelta(days=9), DAY + dt.timedelta(days=10)
    root.write(f"{days.state_files_folder('state_files', DAY)}/half.csv", b"")
    for day in (later, latest):
        root.write(f"{days.state_files_folder('state_files', day)}/{days.MANIFEST_NAME}", b"")
    root.write(f"state_files/archive/2026-11-25/{days.MANIFEST_NAME}", b"")
    root.write("state_files/2026-99-99/manifest.json", b"")
    assert days.published_days(root, "state_files", DAY, later) == [later]
    assert days.published_days(root, "state_files", DAY, latest) == [later, latest]


def test_the_days_compacted_since_a_date_are_told_by_their_marks(root: DataRoot) -> None:
    evening, morning = dt.date(2026, 11, 30), dt.date(2026, 12, 1)
    for day, on in [(DAY, evening), (DAY, morning), (DAY + dt.timedelta(days=1), evening)]:
        root.write(days.compaction_mark(day, on), b"")
    root.write(f"{days.COMPACTIONS}/{morning}/notes.txt", b"")
    assert days.days_compacted_since(root, evening) == [DAY, DAY + dt.timedelta(days=1)]
    assert days.days_compacted_since(root, morning) == [DAY]
    assert days.days_compacted_since(root, morning + dt.timedelta(days=1)) == []


def test_the_days_with_a_folder_are_told_without_looking_into_it(root: DataRoot) -> None:
    root.write(f"{days.state_files_folder('out/files', DAY)}/half.csv", b"")
    root.write("out/files/2026-11-25/archive/old.csv", b"")
    root.write("out/files/2026-99-99/manifest.json", b"")
    root.write("out/files/archive/2026-11-26/manifest.json", b"")
    root.write("out/files/2026-11-27", b"")
    assert days.days_with_folder(root, "out/files") == [DAY, DAY + dt.timedelta(days=2)]
    assert days.days_with_folder(root, "state_files") == []


def test_an_empty_root_has_no_days(root: DataRoot) -> None:
    assert days.days_with_folder(root, "state_files") == days.published_days(root, "state_files", DAY, DAY) == []
    assert days.days_compacted_since(root, DAY) == []
