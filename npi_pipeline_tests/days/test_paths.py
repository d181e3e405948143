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


def test_the_days_that_have_something_are_told_from_the_files(root: DataRoot) -> None:
    later = DAY + dt.timedelta(days=9)
    root.write(days.list_path(DAY), b"kept, but not yet where it came from")
    root.write(days.list_source_path(later), b"{}")
    root.write(f"{days.journal_folder(DAY)}/segments/part.parquet", b"")
    root.write(f"{days.state_files_folder('state_files', DAY)}/half.csv", b"")
    root.write(f"{days.state_files_folder('state_files', later)}/{days.MANIFEST_NAME}", b"")
    root.write(f"state_files/archive/2026-11-25/{days.MANIFEST_NAME}", b"")
    root.write("state_files/2026-99-99/manifest.json", b"")
    root.write("journal/notes.txt", b"")
    assert days.days_with_list(root) == [later]
    assert days.days_with_journal(root) == [DAY]
    assert days.published_days(root, "state_files") == [later]


def test_the_days_compacted_since_a_moment_are_told_by_when_their_journal_json_was_written(root: DataRoot) -> None:
    root.write(f"{days.journal_folder(DAY)}/segments/part.parquet", b"")
    root.write(f"{days.journal_folder(DAY + dt.timedelta(days=1))}/{days.JOURNAL_NAME}", b"")
    now = dt.datetime.now(dt.timezone.utc)
    assert days.days_compacted_since(root, now - dt.timedelta(hours=1)) == [DAY + dt.timedelta(days=1)]
    assert days.days_compacted_since(root, now + dt.timedelta(hours=1)) == []


def test_the_days_with_a_folder_are_told_without_looking_into_it(root: DataRoot) -> None:
    root.write(f"{days.state_files_folder('out/files', DAY)}/half.csv", b"")
    root.write("out/files/2026-11-25/archive/old.csv", b"")
    root.write("out/files/2026-99-99/manifest.json", b"")
    root.write("out/files/archive/2026-11-26/manifest.json", b"")
    root.write("out/files/2026-11-27", b"")
    assert days.days_with_folder(root, "out/files") == [DAY, DAY + dt.timedelta(days=2)]
    assert days.days_with_folder(root, "state_files") == []


def test_an_empty_root_has_no_days(root: DataRoot) -> None:
    assert days.days_with_list(root) == days.days_with_journal(root) == days.published_days(root, "state_files") == []
