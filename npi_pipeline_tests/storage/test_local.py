"""What is true of a local root alone: durability against kills and full disks."""

from __future__ import annotations

import itertools
import os
import resource
from pathlib import Path

import pytest

from npi_pipeline.storage.data_root import StorageError
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.sudden_death import running, was_killed_before

OLD, NEW = b"old" * 1000, b"new" * 2000


def write_new(folder: str) -> None:
    LocalRoot(Path(folder)).write("a/file", NEW)


def test_a_write_killed_at_any_point_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    root.write("a/file", OLD)
    for change in itertools.count():
        was_killed = was_killed_before(change, write_new, str(tmp_path))
        assert root.read("a/file") in {OLD, NEW}
        assert [file.path for file in root.list("")] == ["a/file"]
        if not was_killed:
            break
    assert change >= 2
    assert root.read("a/file") == NEW


def test_what_a_killed_write_left_is_removed_a_day_later(tmp_path: Path) -> None:
    while_writing = 1
    root = LocalRoot(tmp_path)
    root.write("a/file", OLD)
    assert was_killed_before(while_writing, write_new, str(tmp_path))
    left = [path for path in (tmp_path / "a").iterdir() if path.name.startswith(".")]
    assert left

    LocalRoot(tmp_path).write("a/other", b"x")
    assert all(path.exists() for path in left)

    for path in left:
        two_days_ago = path.stat().st_mtime - 2 * 24 * 3600
        os.utime(path, (two_days_ago, two_days_ago))
    LocalRoot(tmp_path).write("a/other", b"x")
    assert not any(path.exists() for path in left)


def test_a_file_that_is_being_written_is_not_removed_though_the_clock_jumps_forward(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    with root._new_file("a/file") as file:
        file.write(NEW)
        # As a clock sees it that has jumped two days ahead.
        (unfinished,) = (tmp_path / "a").iterdir()
        two_days_ago = unfinished.stat().st_mtime - 2 * 24 * 3600
        os.utime(unfinished, (two_days_ago, two_days_ago))
        LocalRoot(tmp_path).write("a/other", b"x")
    assert root.read("a/file") == NEW


def write_too_much(folder: str) -> None:
    root = LocalRoot(Path(folder))
    # The kernel refuses to let a file grow beyond this, as it does on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    with pytest.raises(StorageError, match=r"cannot write .*a/file.*make room"):
        root.write("a/file", NEW)


def test_a_write_without_room_is_one_line_and_leaves_the_old_content(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    root.write("a/file", OLD)
    with running(write_too_much, str(tmp_path)) as process:
        process.join(60)
        assert process.exitcode == 0
    assert root.read("a/file") == OLD
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


def test_a_root_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(StorageError, match="NPI_DATA_ROOT") as refused:
        LocalRoot(tmp_path / "file" / "root").write("a", b"x")
    assert "\n" not in str(refused.value)


def test_opening_a_root_makes_no_folder(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path / "root")
    assert root.list("") == []
    assert not (tmp_path / "root").exists()


class AlwaysHeld:
    def ensure_held(self) -> None:
        pass


def test_a_symbolic_link_in_the_place_of_a_folder_that_is_replaced_is_named_as_that(tmp_path: Path) -> None:
    elsewhere, source, link = tmp_path / "elsewhere", tmp_path / "source", tmp_path / "root" / "state_files" / "day"
    for folder in (elsewhere, source, link.parent):
        folder.mkdir(parents=True)
    (elsewhere / "theirs").touch()
    link.symlink_to(elsewhere)
    root = LocalRoot(tmp_path / "root")
    with pytest.raises(
        StorageError, match=rf"{link}: it is a symbolic link to {elsewhere}.*remove the link"
    ) as refused:
        root.replace_folder("state_files/day", source, "index", str.encode, AlwaysHeld())
    assert "\n" not in str(refused.value)
    assert [path.name for path in elsewhere.iterdir()] == ["theirs"]
    link.unlink()
    root.replace_folder("state_files/day", source, "index", str.encode, AlwaysHeld())
    assert root.read("state_files/day/index") == b""


def test_a_link_to_nowhere_above_a_file_is_named_as_that(tmp_path: Path) -> None:
    (tmp_path / "state_files").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match=r"state_files is a symbolic link that leads to no folder"):
        LocalRoot(tmp_path).write("state_files/day/file", b"x")


def test_a_folder_in_the_place_of_a_file_is_named_as_that(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    (tmp_path / "file").mkdir()
    with pytest.raises(FileNotFoundError, match="a folder lies there; move it away"):
        root.read("file")
    with pytest.raises(StorageError, match="a folder lies where a file belongs: move it away"):
        root.write("file", b"x")
