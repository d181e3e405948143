"""What is promised of either kind of data root."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from npi_pipeline.storage.data_root import CHUNK_BYTES, DataRoot, HeldLock, LockedError
from npi_pipeline.storage.open_root import open_data_root


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
        root.replace_folder(path, Path(), "last", AlwaysHeld())


def test_a_replaced_folder_holds_the_new_files_and_nothing_stale(root: DataRoot, tmp_path: Path) -> None:
    root.replace_folder("a/day", folder_with(tmp_path / "1", one=b"1", two=b"2", last=b"L"), "last", AlwaysHeld())
    root.write("a/other", b"untouched")
    root.replace_folder("a/day", folder_with(tmp_path / "2", two=b"22", three=b"3", last=b"LL"), "last", AlwaysHeld())
    assert contents_of(root, "a/day") == {"two": b"22", "three": b"3", "last": b"LL"}
    assert root.read("a/other") == b"untouched"


def test_a_folder_is_not_replaced_once_the_lock_is_lost(root: DataRoot, tmp_path: Path) -> None:
    root.replace_folder("day", folder_with(tmp_path / "1", last=b"old"), "last", AlwaysHeld())
    with pytest.raises(LockedError):
        root.replace_folder("day", folder_with(tmp_path / "2", last=b"new"), "last", Lost())
    assert contents_of(root, "day") == {"last": b"old"}


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
