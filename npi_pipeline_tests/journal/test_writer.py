"""Outcomes are durable soon after they arrive, whatever happens next."""

from __future__ import annotations

import itertools
import resource
import threading
from pathlib import Path

import polars as pl
import pytest

from npi_pipeline.days.lock import day_lock
from npi_pipeline.days.paths import journal_folder
from npi_pipeline.journal import JournalWriter, compact_journal, read_outcomes, writer
from npi_pipeline.outcomes import Outcome
from npi_pipeline.storage.data_root import DataRoot, StorageError
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.journal.made_outcomes import DAY, compacted_rows, made, npi, npis, rows_of, write
from npi_pipeline_tests.sudden_death import running, was_killed_before

SEGMENTS = f"{journal_folder(DAY)}/segments"


class WatchedRoot(LocalRoot):
    """A local root that tells when a file was written, and can hold up writes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.written = threading.Event()
        self.may_write = threading.Event()
        self.may_write.set()

    def write(self, path: str, data: bytes) -> None:
        assert self.may_write.wait(60)
        super().write(path, data)
        self.written.set()


@pytest.mark.parametrize("async_writes", [True, False])
def test_what_was_appended_is_read_back_as_it_came(root: DataRoot, async_writes: bool) -> None:
    outcomes = [made(number, kind) for number, kind in enumerate(Outcome)]
    with JournalWriter(root, DAY, run=1, async_writes=async_writes) as journal:
        for outcome in outcomes:
            journal.append(outcome)
    with day_lock(root, DAY) as held:
        compact_journal(root, DAY, npis(range(len(outcomes))), held)
    assert compacted_rows(root) == rows_of(*outcomes)


def test_an_outcome_is_durable_while_the_fetch_goes_on(tmp_path: Path) -> None:
    root = WatchedRoot(tmp_path)
    with JournalWriter(root, DAY, run=1) as journal:
        journal.append(made(1))
        assert root.written.wait(60)
        assert read_outcomes(LocalRoot(tmp_path), DAY)["npi"].to_list() == [npi(1)]


def test_nothing_appended_writes_nothing(tmp_path: Path) -> None:
    write(LocalRoot(tmp_path), [])
    assert list(tmp_path.iterdir()) == []


def test_outcomes_may_be_appended_from_many_threads(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)

    def append(first: int) -> None:
        for number in range(first, first + 50):
            journal.append(made(number))

    with JournalWriter(root, DAY, run=1) as journal:
        threads = [threading.Thread(target=append, args=(50 * number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert read_outcomes(root, DAY)["npi"].to_list() == [npi(number) for number in range(400)]


def interrupted(root: DataRoot, interrupt: type[BaseException]) -> None:
    with JournalWriter(root, DAY, run=1) as journal:
        journal.append(made(1))
        raise interrupt


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_what_was_appended_before_an_interrupt_is_kept(tmp_path: Path, interrupt: type[BaseException]) -> None:
    root = LocalRoot(tmp_path)
    with pytest.raises(interrupt):
        interrupted(root, interrupt)
    assert read_outcomes(root, DAY)["npi"].to_list() == [npi(1)]


def test_an_interrupt_is_not_held_up_for_ever_by_a_root_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "_INTERRUPTED_SECONDS", 0.01)
    root = WatchedRoot(tmp_path)
    root.may_write.clear()
    with pytest.raises(KeyboardInterrupt):
        interrupted(root, KeyboardInterrupt)
    assert "could not be written" in caplog.text
    root.may_write.set()
    assert root.written.wait(60)


@pytest.mark.parametrize("async_writes", [True, False])
def test_a_root_slower_than_the_registry_holds_up_the_fetch_and_not_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, async_writes: bool
) -> None:
    monkeypatch.setattr(writer, "_PART_BYTES", 1000)
    monkeypatch.setattr(writer, "_WAITING_BYTES", 5000)
    root = WatchedRoot(tmp_path)
    root.may_write.clear()
    appended = itertools.count()

    def append_all() -> None:
        for number in range(100):
            journal.append(made(number, body="x" * 500))
            next(appended)

    with JournalWriter(root, DAY, run=1, async_writes=async_writes) as journal:
        appending = threading.Thread(target=append_all)
        appending.start()
        # However long one waits, the thread cannot end before a write may.
        appending.join(0.3)
        assert appending.is_alive()
        assert next(appended) < 20
        root.may_write.set()
        appending.join(60)
    assert read_outcomes(root, DAY).height == 100


def test_many_small_parts_are_gathered_into_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PART_BYTES", 1)
    monkeypatch.setattr(writer, "_GATHERED_PARTS", 5)
    root = WatchedRoot(tmp_path)
    with JournalWriter(root, DAY, run=1, async_writes=False) as journal:
        for number in range(17):
            root.written.clear()
            journal.append(made(number))
            assert root.written.wait(60)
    assert read_outcomes(root, DAY)["npi"].to_list() == [npi(number) for number in range(17)]
    assert len(root.list(SEGMENTS)) <= 3 + 4


def test_large_parts_are_not_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PART_BYTES", 1)
    monkeypatch.setattr(writer, "_GATHERED_PARTS", 2)
    monkeypatch.setattr(writer, "_SMALL_BYTES", 1)
    root = WatchedRoot(tmp_path)
    with JournalWriter(root, DAY, run=1) as journal:
        for number in range(4):
            root.written.clear()
            journal.append(made(number))
            assert root.written.wait(60)
    assert len(root.list(SEGMENTS)) == 4


def write_without_room(folder: str) -> None:
    root = LocalRoot(Path(folder))
    # The kernel refuses to let a file grow beyond this, as it does on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
    with pytest.raises(StorageError, match="make room"), JournalWriter(root, DAY, run=1) as journal:
        journal.append(made(2, body="".join(map(str, range(20_000)))))
    with JournalWriter(root, DAY, run=1) as journal:
        journal.append(made(3))


def test_a_full_disk_is_an_error_and_what_was_kept_before_is_whole(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    write(root, [made(1)])
    with running(write_without_room, str(tmp_path)) as process:
        process.join(60)
        assert process.exitcode == 0
    assert read_outcomes(root, DAY)["npi"].to_list() == [npi(1), npi(3)]


def test_an_error_stops_the_fetch_at_its_next_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PART_BYTES", 1)
    (tmp_path / "journal").write_bytes(b"in the way of the folder")

    def append_for_ever() -> None:
        with JournalWriter(LocalRoot(tmp_path), DAY, run=1) as journal:
            for number in itertools.count():
                journal.append(made(number))

    with pytest.raises(StorageError, match="cannot write"):
        append_for_ever()


def test_an_error_does_not_hide_the_interrupt_that_came_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "journal").write_bytes(b"in the way of the folder")
    with pytest.raises(KeyboardInterrupt):
        interrupted(LocalRoot(tmp_path), KeyboardInterrupt)
    assert "the journal could not be written: cannot write" in caplog.text


def test_an_s3_that_refuses_at_random_loses_nothing(s3: LocalS3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PART_BYTES", 1000)
    monkeypatch.setattr(writer, "_GATHERED_PARTS", 4)
    root = open_data_root(f"s3://{bucket}/root")
    s3.misbehave(refused_share=0.2, seed=11)
    write(root, (made(number, body="x" * 500) for number in range(40)))
    with day_lock(root, DAY) as held:
        assert compact_journal(root, DAY, npis(range(40)), held).rows == 40


def append_in_order(data_root: str) -> None:
    writer._PART_BYTES = writer._WAITING_BYTES = 600
    writer._GATHERED_PARTS = 3
    write(open_data_root(data_root), (made(number, body="x" * 200) for number in range(40)))


@pytest.mark.long_on_s3
def test_a_run_killed_at_any_point_leaves_whole_parts_without_a_gap(data_root: str) -> None:
    """Parts are written in the order of arrival, so that what is there is always the beginning of what arrived."""
    known = []
    for change in itertools.count(0, 9 if data_root.startswith("s3://") else 3):
        root = open_data_root(f"{data_root}/{change}")
        was_killed = was_killed_before(change, append_in_order, f"{data_root}/{change}")
        outcomes = read_outcomes(root, DAY)
        known.append(outcomes.height)
        assert outcomes["npi"].to_list() == [npi(number) for number in range(outcomes.height)]
        assert root.list(f"{journal_folder(DAY)}/damaged") == []
        if not was_killed:
            break
    assert known[0] == 0
    assert known[-1] == 40
    assert len(set(known)) > 5


@pytest.mark.parametrize("body", ["b" * 3_000, "b" * 700 + "\U0001f600"])
def test_parts_are_bounded_in_bytes_however_fast_answers_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(writer, "_PART_BYTES", 10_000)
    root = WatchedRoot(tmp_path)
    root.may_write.clear()
    outcomes = [made(number, body=body) for number in range(40)]
    with JournalWriter(root, DAY, run=1) as journal:
        for outcome in outcomes:
            journal.append(outcome)
        root.may_write.set()
    rows = [pl.read_parquet(tmp_path / file.path).height for file in root.list(SEGMENTS)]
    assert sum(rows) == 40
    assert max(rows) == 4, "the one that fills a part is in it"
