"""Publishing a day whole, and finding out whatever is wrong with a published day."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import hashlib
import io
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npi_pipeline.days.lock import DayLockedError, day_lock
from npi_pipeline.days.paths import state_files_folder
from npi_pipeline.state_files.manifest import Manifest, ManifestError, StateFile
from npi_pipeline.state_files.publish import (
    path_of_state_file,
    publish,
    published_after,
    published_before,
    read_manifest,
)
from npi_pipeline.state_files.verification import RowCounter, read_published, verify_published
from npi_pipeline.storage import local, s3_lease
from npi_pipeline.storage.data_root import DataRoot, StorageError
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.sudden_death import was_killed_before
from npi_pipeline_tests.watched_root import WatchedRoot

DAY = dt.date(2026, 11, 23)
DIR = "state_files"
FOLDER = state_files_folder(DIR, DAY)

FIRST = {"CA": b"npi,name\n1,a\n2,b\n", "TX": b"npi,name\n2,b\n", "Failed": b"npi,outcome\n"}
# Other states, other content of one that stays, and a cell with line feeds, quotes and a comma.
SECOND = {"CA": b'npi,name\n1,"a\n""x"",\n"\n', "NY": b"npi,name\n3,c\n", "Failed": b"npi,outcome\n4,failed\n"}


THIRD = {"AL": b"npi,name\n5,e\n", "Failed": b"npi,outcome\n"}


def finished(folder: Path, contents: dict[str, bytes]) -> Manifest:
    """Write state files into ``folder``, as the step before publishing does."""
    folder.mkdir(parents=True)
    files = []
    for state, content in contents.items():
        name = f"npi_data_{DAY}_{state}.csv"
        (folder / name).write_bytes(content)
        rows = len(list(csv.reader(io.StringIO(content.decode())))) - 1
        files.append(StateFile(name, state, rows, len(content), hashlib.sha256(content).hexdigest()))
    now = dt.datetime(2026, 11, 23, tzinfo=dt.timezone.utc)
    return Manifest(DAY, now, {"bucket": "lists"}, {"found": 3}, ("npi", "name"), tuple(files), "01", "ef")


def publish_contents(root: DataRoot, folder: Path, contents: dict[str, bytes]) -> None:
    with day_lock(root, DAY, "state_files") as held:
        publish(root, DIR, folder, finished(folder, contents), held)


def published(root: DataRoot) -> dict[str, bytes] | None:
    """What a reader sees that goes by the manifest: the day's files by state, or None when there is no day."""
    try:
        manifest = read_manifest(root, DIR, DAY)
    except FileNotFoundError:
        return None
    return {file.state: root.read(path_of_state_file(DIR, manifest, file)) for file in manifest.files}


def test_a_published_day_is_whole_and_verified(root: DataRoot, tmp_path: Path) -> None:
    publish_contents(root, tmp_path / "source", FIRST)
    assert published(root) == FIRST
    assert verify_published(root, DIR, DAY) == ()


def test_files_are_verified_and_their_npis_told_in_one_pass(root: DataRoot, tmp_path: Path) -> None:
    publish_contents(root, tmp_path / "source", SECOND)
    read: list[str] = []
    watched = WatchedRoot(root, lambda method, path: read.append(path) if method in {"chunks", "read"} else None)
    published_files = read_published(watched, DIR, DAY)  # type: ignore[arg-type]
    assert published_files.problems == ()
    assert {name: npis.others.to_list() for name, npis in published_files.npis.items()} == {
        f"npi_data_{DAY}_CA.csv": ["1"],
        f"npi_data_{DAY}_NY.csv": ["3"],
        f"npi_data_{DAY}_Failed.csv": ["4"],
    }
    assert sorted(read) == sorted(file.path for file in root.list(FOLDER))


def test_a_day_published_again_leaves_nothing_stale(root: DataRoot, tmp_path: Path) -> None:
    publish_contents(root, tmp_path / "1", FIRST)
    publish_contents(root, tmp_path / "2", SECOND)
    assert published(root) == SECOND
    assert verify_published(root, DIR, DAY) == ()
    assert len(root.list(FOLDER)) == len(SECOND) + 1


def test_files_that_are_not_the_manifests_are_not_published(root: DataRoot, tmp_path: Path) -> None:
    manifest = finished(tmp_path / "source", FIRST)
    (tmp_path / "source" / "stray.csv").write_bytes(b"x")
    with day_lock(root, DAY, "state_files") as held, pytest.raises(ValueError, match=r"stray\.csv"):
        publish(root, DIR, tmp_path / "source", manifest, held)
    assert published(root) is None


def test_a_day_is_not_published_while_another_run_publishes_it(root: DataRoot, tmp_path: Path) -> None:
    publish_contents(root, tmp_path / "1", FIRST)
    with day_lock(root, DAY, "state_files"), pytest.raises(DayLockedError, match="state files of 2026-11-23"):
        publish_contents(root, tmp_path / "2", SECOND)
    assert published(root) == FIRST


def publish_later(data_root: str, folder: str, contents: dict[str, bytes]) -> None:
    s3_lease.LEASE_SECONDS = -1.0  # the leases of those killed before have run out
    publish_contents(open_data_root(data_root), Path(folder), contents)


@pytest.mark.long_on_s3
def test_a_publish_killed_at_any_point_shows_the_old_day_or_the_new_and_never_none(
    data_root: str, tmp_path: Path
) -> None:
    root = open_data_root(data_root)
    publish_contents(root, tmp_path / "first", FIRST)
    seen = []
    # Of the points on S3 every third: there a process costs ten times as much.
    for change in itertools.count(0, 3 if data_root.startswith("s3://") else 1):
        # Not twice the same files, so that what one leaves behind would be stale in the next.
        contents = (SECOND, THIRD)[change % 2]
        was_killed = was_killed_before(change, publish_later, data_root, str(tmp_path / f"{change}"), contents)
        seen.append(published(root))
        assert seen[-1] in (FIRST, SECOND, THIRD)
        assert verify_published(root, DIR, DAY) == ()
        if not was_killed:
            break
    assert seen[0] == FIRST
    assert seen[-1] == contents
    assert len(seen) > 8
    if not data_root.startswith("s3://"):
        assert [path.name for path in (Path(data_root) / DIR).iterdir()] == [str(DAY)]


def publish_later_in_two_steps(data_root: str, folder: str, contents: dict[str, bytes]) -> None:
    local.exchange = lambda one, other: False  # a file system that cannot exchange two folders
    publish_later(data_root, folder, contents)


def test_an_old_day_that_a_killed_publish_moved_aside_is_back_even_when_the_next_publish_fails(tmp_path: Path) -> None:
    data_root = str(tmp_path / "root")
    root = open_data_root(data_root)
    publish_contents(root, tmp_path / "first", FIRST)
    change = 0
    while published(root) is not None:
        assert was_killed_before(change, publish_later_in_two_steps, data_root, str(tmp_path / f"{change}"), SECOND)
        change += 1
    source = tmp_path / "source-that-cannot-be-moved"
    (source / "folder").mkdir(parents=True)
    with day_lock(root, DAY, "state_files") as held, pytest.raises(StorageError):
        root.replace_folder(FOLDER, source, "manifest.json", lambda _: b"", held)
    assert published(root) == FIRST


def test_a_day_is_published_through_an_s3_that_refuses_at_random(s3: LocalS3, bucket: str, tmp_path: Path) -> None:
    root = open_data_root(f"s3://{bucket}/root")
    s3.misbehave(refused_share=0.1, seed=7)
    publish_contents(root, tmp_path / "1", FIRST)
    publish_contents(root, tmp_path / "2", SECOND)
    assert published(root) == SECOND
    assert verify_published(root, DIR, DAY) == ()


def problems_after(root: DataRoot, tmp_path: Path, path: str, content: bytes | None) -> list[str]:
    """What is found out after one file of a published day was changed, or removed."""
    publish_contents(root, tmp_path / "source", SECOND)
    folder = read_manifest(root, DIR, DAY).folder
    changed = f"{FOLDER}/{folder}/{path}" if folder and path != "manifest.json" else f"{FOLDER}/{path}"
    if content is None:
        root.delete(changed)
    else:
        root.write(changed, content)
    return list(verify_published(root, DIR, DAY))


CA = f"npi_data_{DAY}_CA.csv"


def test_a_changed_file_is_found_out_even_if_rows_and_bytes_are_the_same(root: DataRoot, tmp_path: Path) -> None:
    (problem,) = problems_after(root, tmp_path, CA, SECOND["CA"].replace(b"1", b"2"))
    assert CA in problem
    assert "sha256" in problem


def test_a_file_with_other_rows_is_found_out(root: DataRoot, tmp_path: Path) -> None:
    problems = problems_after(root, tmp_path, CA, SECOND["CA"] + b"9,z\n")
    assert [word for problem in problems for word in ("rows 2", "bytes", "sha256") if word in problem] == [
        "rows 2",
        "bytes",
        "sha256",
    ]


def test_a_file_that_is_gone_is_found_out(root: DataRoot, tmp_path: Path) -> None:
    (problem,) = problems_after(root, tmp_path, CA, None)
    assert problem.endswith("is in the manifest and not there")


def test_a_file_that_should_not_be_there_is_found_out(root: DataRoot, tmp_path: Path) -> None:
    (problem,) = problems_after(root, tmp_path, "stray.csv", b"")
    assert problem.endswith("stray.csv is not in the manifest")


def test_a_day_without_a_manifest_is_not_published(root: DataRoot, tmp_path: Path) -> None:
    (problem,) = problems_after(root, tmp_path, "manifest.json", None)
    assert "is not published" in problem


def test_a_manifest_that_cannot_be_understood_is_found_out(root: DataRoot, tmp_path: Path) -> None:
    (problem,) = problems_after(root, tmp_path, "manifest.json", b"{")
    assert "cannot be understood" in problem


def test_the_manifest_of_another_day_is_found_out(root: DataRoot, tmp_path: Path) -> None:
    publish_contents(root, tmp_path / "source", FIRST)
    other = DAY + dt.timedelta(days=1)
    for file in root.list(FOLDER):
        root.write(file.path.replace(f"{DIR}/{DAY}", f"{DIR}/{other}"), root.read(file.path))
    assert "manifest of 2026-11-23" in verify_published(root, DIR, other)[0]


@given(
    rows=st.lists(st.lists(st.text('a,"\n ', max_size=5), min_size=2, max_size=3), min_size=1, max_size=8),
    sizes=st.lists(st.integers(0, 7), min_size=1),
)
def test_rows_are_counted_as_a_csv_reader_does_wherever_the_pieces_break(
    rows: list[list[str]], sizes: list[int]
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    content = text.getvalue().encode()
    counter = RowCounter()
    for size in itertools.chain(sizes, [len(content)]):
        counter.feed(content[:size])
        content = content[size:]
    assert counter.rows == len(rows) - 1


@pytest.mark.parametrize(("content", "rows"), [(b"", 0), (b"h\n", 0), (b"h", 0), (b"h\n1", 1), (b"h\n1\n", 1)])
def test_a_last_line_counts_with_or_without_its_line_feed(content: bytes, rows: int) -> None:
    counter = RowCounter()
    counter.feed(content)
    assert counter.rows == rows


def test_the_published_days_before_and_after_are_found_past_days_that_are_not(root: DataRoot, tmp_path: Path) -> None:
    first, last = DAY - dt.timedelta(days=3), DAY + dt.timedelta(days=2)
    for day in (first, last):
        manifest = dataclasses.replace(finished(tmp_path / str(day), FIRST), day=day)
        with day_lock(root, day, "state_files") as held:
            publish(root, DIR, tmp_path / str(day), manifest, held)
    for day in (DAY - dt.timedelta(days=1), DAY, DAY + dt.timedelta(days=1)):
        root.write(f"{state_files_folder(DIR, day)}/half.csv", b"")
    before, after = published_before(root, DIR, DAY), published_after(root, DIR, DAY)
    assert before is not None
    assert after is not None
    assert (before.day, after.day) == (first, last)
    assert published_before(root, DIR, first) is published_after(root, DIR, last) is None


def test_the_day_before_costs_one_listing_and_one_read_however_many_days_and_files_there_are(
    root: DataRoot, tmp_path: Path
) -> None:
    calls: list[tuple[str, str]] = []
    for ago in range(1, 4):
        day = DAY - dt.timedelta(days=ago)
        manifest = dataclasses.replace(finished(tmp_path / str(day), FIRST), day=day)
        with day_lock(root, day, "state_files") as held:
            publish(root, DIR, tmp_path / str(day), manifest, held)
    published_before(WatchedRoot(root, lambda *call: calls.append(call)), DIR, DAY)
    assert calls == [("folders", DIR), ("read", f"{DIR}/2026-11-22/manifest.json")]


def test_a_manifest_that_cannot_be_understood_is_named_with_its_place_and_remedy(root: DataRoot) -> None:
    root.write(f"{FOLDER}/manifest.json", b"{}")
    with pytest.raises(ManifestError) as refused:
        read_manifest(root, DIR, DAY)
    assert root.uri(f"{FOLDER}/manifest.json") in str(refused.value)
    assert "materialise state_files for 2026-11-23 again" in str(refused.value)
