"""A dissemination file is prepared once, whatever ends or disturbs it, in little memory and the same by every way."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import multiprocessing.util
import os
import shutil
import signal
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from npi_pipeline.registries.nppes_bulk import csv_blocks, finish_ranges, sorter
from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.columns import CHILD_COLUMNS
from npi_pipeline.registries.nppes_bulk.prepared import load_prepared
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot, prepare_snapshot, slices
from npi_pipeline.storage.data_root import DataRoot, StorageError
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
from npi_pipeline_tests.sudden_death import running, was_killed_before
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


def _make_everything_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks, runs, chunks and ranges of few rows each."""
    monkeypatch.setattr(csv_blocks.raw_blocks, "__defaults__", (20_000,))
    monkeypatch.setattr(sorter, "_RUN_BYTES", 20_000)
    monkeypatch.setattr(sorter, "_CHUNK_BYTES", 3000)
    monkeypatch.setattr(finish_ranges, "_RANGE_ROWS", 64)


def test_what_does_not_fit_into_memory_is_merged_from_runs_on_disk(
    files: Path, truth: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make_everything_small(monkeypatch)

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
_MOMENTS = [70, 180]


@pytest.mark.parametrize("change", _MOMENTS)
def test_killed_while_it_prepares_nothing_half_is_believed(
    change: int, files: Path, truth: pl.DataFrame, scratch: Path, tmp_path: Path
) -> None:
    assert was_killed_before(change, _prepare_in_small_steps, str(tmp_path / "root"), str(files), str(scratch))

    _is_put_right_after_a_kill(LocalRoot(tmp_path / "root"), files, truth)


@pytest.mark.long
def test_killed_at_any_moment_it_is_put_right(
    data_root: str, files: Path, truth: pl.DataFrame, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in the processes that are killed: blocks are counted, and their size is of the code that a folder is kept for.
    _make_everything_small(monkeypatch)
    change = 0
    while was_killed_before(change, _prepare_in_small_steps, f"{data_root}/{change}", str(files), str(scratch)):
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


def _prepare_in_small_steps(data_root: str, files: str, scratch: str) -> Snapshot:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", scratch)
        _make_everything_small(patch)
        return _prepare(data_root, files)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's temporary folder."""
    # Chosen once in each process: where the server lives that forks those that are killed.
    multiprocessing.util.get_temp_dir()
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def _from_part(count: int, do: Callable[[], None]) -> Callable[[str, str], None]:
    """For a WatchedRoot: ``do`` before the ``count``-th part is written, and before each one after it."""
    numbers = itertools.count(1)

    def before(method: str, path: str) -> None:
        if method == "write" and path.endswith(".arrow") and next(numbers) >= count:
            do()

    return before


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _killed_with_runs(count: int, data_root: str, files: str, scratch: str) -> None:
    """Prepare, but be killed once so many runs of the month's main file are kept."""
    write = sorter.Sorter._write

    def write_and_die(self: sorter.Sorter, number: int, waiting: list[pl.DataFrame], note: str) -> object:
        run = write(self, number, waiting, note)
        if number + 1 == count:
            _die()
        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorter.Sorter, "_write", write_and_die)
        _prepare_in_small_steps(data_root, files, scratch)


def _killed_before_part(count: int, data_root: str, files: str, scratch: str) -> None:
    """Prepare, but be killed before so many parts are written."""
    root = WatchedRoot(open_data_root(data_root), _from_part(count, _die))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", scratch)
        _make_everything_small(patch)
        prepare_snapshot(root, _AUGUST + _WEEK, files)  # type: ignore[arg-type]


def _kill(do: Callable[..., None], count: int, root: LocalRoot, files: Path, scratch: Path) -> Path:
    """The scratch folder that is left."""
    with running(do, count, root.uri(), str(files), str(scratch)) as process:
        process.join(60)
    assert process.exitcode == -signal.SIGKILL
    (left,) = scratch.iterdir()
    return left


# While the month is read, right after that, and while its ranges are finished.
@pytest.mark.parametrize(
    ("killed", "count", "least", "most"),
    [(_killed_with_runs, 1, 50, 250), (_killed_with_runs, 3, 300, 300), (_killed_before_part, 5, 300, 300)],
)
def test_killed_it_goes_on_where_it_was(
    killed: Callable[..., None],
    count: int,
    least: int,
    most: int,
    files: Path,
    scratch: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed, root = LocalRoot(tmp_path / "undisturbed"), LocalRoot(tmp_path / "root")
    truth = _prepare_in_small_steps(undisturbed.uri(), str(files), str(scratch))
    left = _kill(killed, count, root, files, scratch)
    finished = [json.loads(line) for line in _lines(left / "finished.jsonl")]
    assert bool(finished) == (killed is _killed_before_part)
    written: list[str] = []
    lines: list[str] = []

    _make_everything_small(monkeypatch)
    watched = WatchedRoot(root, lambda method, path: written.append(path) if method == "write" else None)
    again = prepare_snapshot(watched, _AUGUST + _WEEK, str(files), lines.append)  # type: ignore[arg-type]

    # The same to the last byte and count: nothing was read twice, and nothing left out.
    assert again == truth
    for file in truth.files:
        assert load_prepared(root, file.prepared) == load_prepared(undisturbed, file.prepared)
    assert least <= int(lines[0].split("had read ")[1].removesuffix(" NPIs")) <= most
    once = {part["name"] for each in finished for part in each["parts"]}
    assert once.isdisjoint(path.rpartition("/")[2] for path in written)
    assert list(scratch.iterdir()) == []


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _lose_the_data_root(parts: int, root: LocalRoot, files: Path, scratch: Path) -> list[str]:
    """Prepare until so many parts are written; the lines about finished ranges that are left."""

    def fail() -> None:
        raise StorageError("the data root cannot be reached")

    watched = WatchedRoot(root, _from_part(parts + 1, fail))
    with pytest.raises(StorageError):
        prepare_snapshot(watched, _AUGUST + _WEEK, str(files))  # type: ignore[arg-type]
    (left,) = scratch.iterdir()
    return _lines(left / "finished.jsonl")


def test_when_the_data_root_fails_it_goes_on_where_it_was_once_it_is_back(
    files: Path, truth: pl.DataFrame, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make_everything_small(monkeypatch)
    root = LocalRoot(tmp_path / "root")
    assert _lose_the_data_root(3, root, files, scratch)
    lines: list[str] = []

    snapshot = prepare_snapshot(root, _AUGUST + _WEEK, str(files), lines.append)

    assert lines[0].endswith("goes on where a run was ended that had read 300 NPIs")
    assert pl.concat(slices(root, snapshot)).equals(truth)
    assert list(scratch.iterdir()) == []


def test_parts_that_were_removed_meanwhile_are_written_again(
    files: Path, truth: pl.DataFrame, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make_everything_small(monkeypatch)
    root = LocalRoot(tmp_path / "root")
    first = json.loads(_lose_the_data_root(4, root, files, scratch)[0])["parts"][0]["name"]
    root.delete(*(file.path for file in root.list("registry_files") if file.path.endswith(first)))

    assert _all(root, files).equals(truth)


def test_what_a_killed_process_left_damaged_is_read_anew(
    files: Path, truth: pl.DataFrame, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = LocalRoot(tmp_path / "root")
    left = _kill(_killed_with_runs, 3, root, files, scratch)
    chunk = left / "npidata" / "1-0.arrow"
    chunk.write_bytes(chunk.read_bytes()[:-10])
    _make_everything_small(monkeypatch)
    lines: list[str] = []

    snapshot = prepare_snapshot(root, _AUGUST + _WEEK, str(files), lines.append)

    assert pl.concat(slices(root, snapshot)).equals(truth)
    assert "goes on where a run was ended" in lines[0]
    assert not lines[0].endswith("had read 300 NPIs")


def test_nothing_is_left_on_this_machine_of_a_file_that_is_refused(scratch: Path, tmp_path: Path) -> None:
    make_monthly(tmp_path / "files", _AUGUST, csv_of([]))

    with pytest.raises(BulkFileError, match="has no rows"):
        prepare_snapshot(LocalRoot(tmp_path / "root"), _AUGUST, str(tmp_path / "files"))

    assert list(scratch.iterdir()) == []


def test_no_room_on_this_machine_is_told_with_what_to_set(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    with pytest.raises(BulkFileError, match=rf"cannot write to {tmp_path}/nowhere .*set TMPDIR"):
        prepare_snapshot(LocalRoot(tmp_path / "root"), _AUGUST, str(files))
