"""What is promised of either kind of data root."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from npi_pipeline.storage.data_root import CHUNK_BYTES, DataRoot, HeldLock, LockedError
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.storage.s3 import S3Root


class AlwaysHeld:
    def ensure_held(self) -> None:
        pass


class Lost:
    def ensure_held(self) -> None:
        raise LockedError("another run", "a minute ago")


def folder_with(folder: Path, **contents: bytes) -> Path:
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def contents_of(root: DataRoot, folder: str) -> dict[str, bytes]:
    return {file.path.removeprefix(f"{folder}/"): root.read(file.path) for file in root.list(folder)}


def test_a_written_file_is_read_back(root: DataRoot) -> None:
    root.write("a/b/file.txt", b"first")
    root.write("a/b/file.txt", b"second")
    assert root.read("a/b/file.txt") == b"second"


def test_a_large_file_goes_up_and_comes_down_in_pieces(root: DataRoot, tmp_path: Path) -> None:
    content = os.urandom(2 * CHUNK_BYTES + 17)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    root.upload("big.bin", source)
    root.download("big.bin", target)
    pieces = list(root.chunks("big.bin"))
    assert target.read_bytes() == content
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= CHUNK_BYTES


@pytest.mark.parametrize(
    "read",
    [
        lambda root, _: root.read("no/such.txt"),
        lambda root, folder: root.download("no/such.txt", folder / "target"),
        lambda root, _: list(root.chunks("no/such.txt")),
    ],
)
def test_a_file_that_is_not_there_is_named(
    root: DataRoot, tmp_path: Path, read: Callable[[DataRoot, Path], object]
) -> None:
    with pytest.raises(FileNotFoundError, match=r"no/such\.txt"):
        read(root, tmp_path)


def test_files_below_a_folder_are_listed_in_order_with_their_sizes(root: DataRoot) -> None:
    for path in ("b/2", "b/10", "b/sub/3", "a/1", "bb/4"):
        root.write(path, path.encode())
    assert [(file.path, file.size) for file in root.list("b")] == [("b/10", 4), ("b/2", 3), ("b/sub/3", 7)]
    assert len(root.list("")) == 5
    assert root.list("nothing/here") == []


def test_a_listed_file_tells_when_it_was_written(root: DataRoot) -> None:
    # S3 tells it to the second, and a file system's clock ticks more coarsely than Python's.
    before = dt.datetime.now(dt.timezone.utc) - dt.timedelta(seconds=1)
    root.write("a", b"x")
    (file,) = root.list("")
    assert before <= file.modified <= dt.datetime.now(dt.timezone.utc)


def test_deleted_files_are_gone_and_deleting_what_is_not_there_is_no_error(root: DataRoot) -> None:
    paths = [f"many/{number}" for number in range(5)]
    for path in paths:
        root.write(path, b"x")
    root.delete(*paths[:4], "many/never")
    root.delete()
    assert [file.path for file in root.list("many")] == paths[4:]


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../x", "a/./x", "a//x", "a/", "a\\x", ".hidden", "a/.hidden/x", "a\nx", "a\0x"],
)
def test_a_path_that_leaves_the_root_or_is_hidden_is_refused(root: DataRoot, path: str) -> None:
    with pytest.raises(ValueError, match="path below the data root"):
        root.write(path, b"x")
    with pytest.raises(ValueError, match="path below the data root"):
        root.replace_folder(path, Path(), "index", lambda _: b"", AlwaysHeld())


def replace(root: DataRoot, source: Path, held: HeldLock, **contents: bytes) -> None:
    """Replace the folder ``a/day``, whose index says in which subfolder the files are."""
    root.replace_folder("a/day", folder_with(source, **contents), "index", str.encode, held)


def indexed(root: DataRoot) -> dict[str, bytes]:
    """What a reader sees of ``a/day`` that goes by the index."""
    folder = "/".join(filter(None, ["a/day", root.read("a/day/index").decode()]))
    return {name: content for name, content in contents_of(root, folder).items() if name != "index"}


def test_a_replaced_folder_holds_the_new_files_and_nothing_stale(root: DataRoot, tmp_path: Path) -> None:
    replace(root, tmp_path / "1", AlwaysHeld(), one=b"1", two=b"2")
    root.write("a/other", b"untouched")
    replace(root, tmp_path / "2", AlwaysHeld(), two=b"22", three=b"3")
    assert indexed(root) == {"two": b"22", "three": b"3"}
    assert len(root.list("a/day")) == 3
    assert root.read("a/other") == b"untouched"


def test_a_folder_is_not_replaced_once_the_lock_is_lost(root: DataRoot, tmp_path: Path) -> None:
    replace(root, tmp_path / "1", AlwaysHeld(), one=b"old")
    with pytest.raises(LockedError):
        replace(root, tmp_path / "2", Lost(), one=b"new")
    assert indexed(root) == {"one": b"old"}
    assert len(root.list("a/day")) == 2


class HeldWhile:
    """A lock whose holder is paused when it has made sure of it, while ``meanwhile`` is done."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = [meanwhile]

    def ensure_held(self) -> None:
        if not self._meanwhile:
            raise LockedError("another run", "a minute ago")
        self._meanwhile.pop()()


def test_who_is_paused_right_before_the_commit_while_another_commits_changes_nothing(
    root: DataRoot, tmp_path: Path
) -> None:
    replace(root, tmp_path / "1", AlwaysHeld(), one=b"old")

    def another_run() -> None:
        replace(root, tmp_path / "2", AlwaysHeld(), one=b"theirs", two=b"theirs")

    with pytest.raises(LockedError):
        replace(root, tmp_path / "3", HeldWhile(another_run), one=b"ours", three=b"ours")
    assert indexed(root) == {"one": b"theirs", "two": b"theirs"}
    assert len(root.list("a/day")) == 3


def test_a_commit_removes_nothing_of_a_run_that_is_about_to_commit(bucket: str, tmp_path: Path) -> None:
    """Paused between its commit and what it has to remove, a run goes on while the next one has uploaded its files."""
    root = S3Root(bucket)
    replace(root, tmp_path / "1", AlwaysHeld(), one=b"old")
    deleted: list[str] = []

    class PausedBeforeDeleting(S3Root):
        def delete(self, *paths: str) -> None:
            if not deleted:
                deleted.extend(paths)
                replace(root, tmp_path / "3", HeldWhile(lambda: super(PausedBeforeDeleting, self).delete(*paths)))
            super().delete(*paths)

    replace(PausedBeforeDeleting(bucket), tmp_path / "2", AlwaysHeld(), one=b"new")
    assert deleted
    assert indexed(root) == {}


def test_a_file_is_written_on_the_condition_that_it_is_still_what_was_read(root: DataRoot) -> None:
    first = root.write_if("a/index", b"1", None)
    assert first == root.read_tagged("a/index")[1]
    assert root.write_if("a/index", b"another", None) is None
    second = root.write_if("a/index", b"2", first)
    assert second not in (None, first)
    assert root.write_if("a/index", b"3", first) is None
    assert root.read_tagged("a/index") == (b"2", second)
    assert root.write_if("a/none", b"3", first) is None
    assert [file.path for file in root.list("a")] == ["a/index"]


def test_of_many_that_write_on_the_same_condition_one_does(data_root: str) -> None:
    tag = open_data_root(data_root).write_if("index", b"before", None)
    at_once = threading.Barrier(6)

    def write(number: int) -> str | None:
        root = open_data_root(data_root)
        at_once.wait(60)
        return root.write_if("index", str(number).encode(), tag)

    with ThreadPoolExecutor(6) as six:
        written = list(six.map(write, range(6)))
    (winner,) = (number for number, tag in enumerate(written) if tag)
    assert open_data_root(data_root).read_tagged("index") == (str(winner).encode(), written[winner])


def test_a_lock_is_held_by_one_at_a_time(root: DataRoot) -> None:
    with root.lock("locks/x", "the first") as held:
        held.ensure_held()
        with pytest.raises(LockedError) as refused, root.lock("locks/x", "the second"):
            pass
        assert refused.value.holder == "the first"
        with root.lock("locks/y", "the second"):
            pass
    with root.lock("locks/x", "the second") as held:
        held.ensure_held()


def test_of_many_that_want_a_lock_at_once_one_gets_it(data_root: str) -> None:
    at_once, decided = threading.Barrier(6), threading.Barrier(6)
    got: list[HeldLock] = []
    refused: list[LockedError] = []

    def want() -> None:
        root = open_data_root(data_root)
        at_once.wait(60)
        try:
            with root.lock("locks/x", "one of many") as held:
                got.append(held)
                decided.wait(60)
        except LockedError as error:
            refused.append(error)
            decided.wait(60)

    threads = [threading.Thread(target=want) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 5)


def test_a_root_is_used_from_many_threads(root: DataRoot) -> None:
    def write_and_read(number: int) -> None:
        for turn in range(5):
            root.write(f"threads/{number}", f"{number} {turn}".encode())
            assert root.read(f"threads/{number}") == f"{number} {turn}".encode()

    threads = [threading.Thread(target=write_and_read, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents_of(root, "threads") == {str(number): f"{number} 4".encode() for number in range(6)}


@pytest.mark.parametrize("address", ["s3://", "s3:///prefix", "gs://bucket/x", "http://x/y"])
def test_an_address_that_is_no_root_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="NPI_DATA_ROOT"):
        open_data_root(address)
