"""A dissemination file is prepared once, whatever ends or disturbs it, in little memory and the same by every way."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import polars as pl
import pytest

from npi_pipeline.registries.nppes_bulk import csv_blocks, sorted_rows
from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.columns import CHILD_COLUMNS
from npi_pipeline.registries.nppes_bulk.prepared import load_prepared
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot, prepare_snapshot, slices
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline_tests.registries.nppes_bulk.made_files import (
    csv_of,
    make_monthly,
    make_weekly,
    monthly_name,
    person,
    practice_location,
)
from npi_pipeline_tests.sudden_death import was_killed_before
from npi_pipeline_tests.watched_root import WatchedRoot

_AUGUST = dt.date(2026, 8, 9)
_WEEK = dt.timedelta(days=7)
_NPIS = [1000000000 + 7 * number for number in range(300)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A month and a week, not in the order of their NPIs."""
    folder = tmp_path_factory.mktemp("files")
    shuffled = sorted(_NPIS, key=lambda npi: npi * 7919 % 1009)
    locations = [practice_location(npi, f"CITY {number}") for number in range(2) for npi in shuffled[::3]]
    make_monthly(
        folder,
        _AUGUST,
        csv_of(person(npi, city=f"TOWN {npi}") for npi in shuffled),
        pl=csv_of(locations, CHILD_COLUMNS["pl"]),
    )
    make_weekly(folder, _AUGUST + _WEEK, csv_of(person(npi, city="NEW") for npi in shuffled[::9]))
    return folder


@pytest.fixture(scope="module")
def truth(files: Path, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """All rows as of the week, prepared without any trouble."""
    return _all(LocalRoot(tmp_path_factory.mktemp("undisturbed")), files)


def _all(root: DataRoot, files: Path | str, day: dt.date = _AUGUST + _WEEK) -> pl.DataFrame:
    return pl.concat(slices(root, prepare_snapshot(root, day, str(files))))


def _prepare(data_root: str, files: str) -> Snapshot:
    return prepare_snapshot(open_data_root(data_root), _AUGUST + _WEEK, files)


def test_what_does_not_fit_into_memory_is_merged_from_runs_on_disk(
    files: Path, truth: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_rows, "_RUN_BYTES", 1)
    monkeypatch.setattr(sorted_rows, "_CHUNK_BYTES", 3000)
    monkeypatch.setattr(sorted_rows.Sorter.__init__, "__defaults__", (20_000,))
    monkeypatch.setattr(csv_blocks.raw_blocks, "__defaults__", (20_000,))
    monkeypatch.setattr("npi_pipeline.registries.nppes_bulk.prepare._RANGE_ROWS", 64)

    assert _all(LocalRoot(tmp_path), files).equals(truth)


def test_files_are_read_from_s3_as_from_a_folder(files: Path, truth: pl.DataFrame, bucket: str, tmp_path: Path) -> None:
    there = open_data_root(f"s3://{bucket}/downloads")
    for file in files.iterdir():
        there.upload(file.name, file)

    assert _all(LocalRoot(tmp_path), there.uri()).equals(truth)


def test_unpacked_csvs_are_read_as_the_zip_that_they_are_from(files: Path, truth: pl.DataFrame, tmp_path: Path) -> None:
    for file in files.iterdir():
        with zipfile.ZipFile(file) as archive:
            archive.extractall(tmp_path / "unpacked" / file.stem)

    assert _all(LocalRoot(tmp_path / "root"), tmp_path / "unpacked").equals(truth)


def test_a_file_is_prepared_once_and_not_even_read_again(files: Path, tmp_path: Path) -> None:
    shutil.copytree(files, tmp_path / "files")
    root = LocalRoot(tmp_path / "root")
    lines: list[str] = []
    first = prepare_snapshot(root, _AUGUST, str(tmp_path / "files"), lines.append)
    written: list[str] = []

    def note(method: str, path: str) -> None:
        if method in {"write", "upload", "delete"} and not path.startswith("registry_snapshots/"):
            written.append(path)

    weekly = next((tmp_path / "files").glob("*Weekly*"))
    weekly.chmod(0)
    again = prepare_snapshot(WatchedRoot(root, note), _AUGUST, str(tmp_path / "files"), lines.append)  # type: ignore[arg-type]

    assert again == first
    assert written == []
    assert lines == [
        f"prepared {monthly_name(_AUGUST)}: 300 NPIs, 0 of them out of service and 0 with a row that cannot be read"
    ]


def test_another_file_of_the_same_name_makes_another_snapshot(files: Path, tmp_path: Path) -> None:
    shutil.copytree(files, tmp_path / "files")
    root = LocalRoot(tmp_path / "root")
    first = prepare_snapshot(root, _AUGUST, str(tmp_path / "files"))
    make_monthly(tmp_path / "files", _AUGUST, csv_of([person(_NPIS[0], city="ELSEWHERE")]))
    second = prepare_snapshot(root, _AUGUST, str(tmp_path / "files"))

    assert first.identity != second.identity
    assert first.files[0].name == second.files[0].name
    assert pl.concat(slices(root, second))["location_address.city"].to_list() == ["ELSEWHERE"]
    assert pl.concat(slices(root, first)).height == len(_NPIS)


def test_two_that_prepare_at_once_make_it_once(root: DataRoot, files: Path, truth: pl.DataFrame) -> None:
    lines: list[str] = []
    snapshots: list[Snapshot] = []
    begin = threading.Barrier(2)

    def prepare() -> None:
        begin.wait()
        snapshots.append(prepare_snapshot(root, _AUGUST + _WEEK, str(files), lines.append))

    threads = [threading.Thread(target=prepare) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert snapshots[0] == snapshots[1]
    assert len(lines) == len(snapshots[0].files)
    assert pl.concat(slices(root, snapshots[0])).equals(truth)


def test_who_finds_it_in_others_hands_for_too_long_is_told_whose(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = LocalRoot(tmp_path)
    held: list[object] = []

    def hold(method: str, path: str) -> None:
        if method == "lock":
            lock = root.lock(path, "the nightly run")
            lock.__enter__()
            held.append(lock)

    monkeypatch.setattr("npi_pipeline.registries.nppes_bulk.prepare._PATIENCE_SECONDS", 0.0)
    with pytest.raises(BulkFileError, match=r"is being prepared by the nightly run since .*: wait until") as caught:
        prepare_snapshot(WatchedRoot(root, hold), _AUGUST, str(files))  # type: ignore[arg-type]
    assert caught.value.retryable
    assert held


# Killed in the month, and in the week after it.
_MOMENTS = [20, 60]


@pytest.mark.parametrize("change", _MOMENTS)
def test_killed_while_it_prepares_it_is_done_anew_and_nothing_half_is_believed(
    change: int, files: Path, truth: pl.DataFrame, tmp_path: Path
) -> None:
    assert was_killed_before(change, _prepare, str(tmp_path), str(files))

    _is_put_right_after_a_kill(LocalRoot(tmp_path), files, truth)


@pytest.mark.long
def test_killed_at_any_moment_it_is_done_anew(data_root: str, files: Path, truth: pl.DataFrame) -> None:
    change = 0
    while was_killed_before(change, _prepare, f"{data_root}/{change}", str(files)):
        _is_put_right_after_a_kill(open_data_root(f"{data_root}/{change}"), files, truth)
        change += 3
    assert change > 50


def _is_put_right_after_a_kill(root: DataRoot, files: Path, truth: pl.DataFrame) -> None:
    snapshot = prepare_snapshot(root, _AUGUST + _WEEK, str(files))
    assert pl.concat(slices(root, snapshot)).equals(truth)
    for file in snapshot.files:
        prepared = load_prepared(root, file.prepared)
        assert prepared is not None
        kept = {stored.path.rpartition("/")[2] for stored in root.list(f"registry_files/{file.prepared}")}
        assert kept == {"index.json", *(part.name for part in prepared.parts)}


def test_what_a_killed_process_left_on_this_machine_is_removed(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    left, young = tmp_path / "scratch" / "npi-bulk-left", tmp_path / "scratch" / "npi-bulk-young"
    for folder in (left, young):
        (folder / "records").mkdir(parents=True)
    an_hour_ago = time.time() - 3600
    os.utime(left, (an_hour_ago, an_hour_ago))

    prepare_snapshot(LocalRoot(tmp_path / "root"), _AUGUST, str(files))

    assert [folder.name for folder in (tmp_path / "scratch").iterdir()] == ["npi-bulk-young"]


def test_no_room_on_this_machine_is_told_with_what_to_set(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    with pytest.raises(BulkFileError, match=rf"cannot write to {tmp_path}/nowhere .*set TMPDIR"):
        prepare_snapshot(LocalRoot(tmp_path / "root"), _AUGUST, str(files))
