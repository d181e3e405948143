"""One run per day at a time, and a lock that does not outlive its holder."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from multiprocessing.connection import Connection, Pipe

import pytest

from npi_pipeline.days.lock import DayLockedError, day_lock
from npi_pipeline.days.paths import lock_path
from npi_pipeline.storage import s3_lease
from npi_pipeline.storage.data_root import DataRoot, LockedError
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.sudden_death import running
from npi_pipeline_tests.watched_root import WatchedRoot

DAY = dt.date(2026, 11, 23)


def hold_for_ever(data_root: str, held: Connection) -> None:
    with day_lock(open_data_root(data_root), DAY, holder="the run that is killed"):
        held.send("held")
        threading.Event().wait()


def test_a_second_run_of_the_day_is_told_who_is_at_it_since_when_and_what_to_do(root: DataRoot) -> None:
    with (
        day_lock(root, DAY, holder="run 1234 on host"),
        pytest.raises(DayLockedError) as refused,
        day_lock(root, DAY),
    ):
        pass
    line = str(refused.value)
    assert "journal of 2026-11-23" in line
    assert "run 1234 on host since 20" in line
    assert "wait" in line
    assert "\n" not in line


def test_a_run_that_may_wait_has_the_lock_once_its_holder_lets_it_go(root: DataRoot) -> None:
    holding = contextlib.ExitStack()
    holding.enter_context(day_lock(root, DAY, holder="the first"))
    tries: list[str] = []

    def before(method: str, path: str) -> None:
        tries.append(method)
        if len(tries) == 3:
            holding.close()

    with day_lock(WatchedRoot(root, before), DAY, wait_seconds=60) as held:
        held.ensure_held()
    assert tries == ["lock"] * 3


def test_a_run_that_has_waited_long_enough_is_told_who_holds_the_day(root: DataRoot) -> None:
    with (
        day_lock(root, DAY, holder="the first"),
        pytest.raises(DayLockedError, match="the first"),
        day_lock(root, DAY, wait_seconds=0.01),
    ):
        pass


def test_other_days_and_other_files_of_the_day_are_free(root: DataRoot) -> None:
    with day_lock(root, DAY), day_lock(root, DAY + dt.timedelta(days=1)), day_lock(root, DAY, "state_files"):
        pass


def test_a_killed_run_does_not_keep_the_day(data_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = open_data_root(data_root)
    here, there = Pipe()
    with running(hold_for_ever, data_root, there):
        assert here.poll(60)
        with pytest.raises(DayLockedError, match="the run that is killed"), day_lock(root, DAY):
            pass
    # Local locks end with the process; for a lease one waits, to see that nobody renews it.
    monkeypatch.setattr(s3_lease, "LEASE_SECONDS", 2.0)
    with day_lock(root, DAY) as held:
        held.ensure_held()


def test_a_released_lease_is_free_at_once_however_young_it_is(root: DataRoot) -> None:
    for _ in range(3):
        with day_lock(root, DAY):
            pass


def test_an_error_within_the_lock_releases_it(root: DataRoot) -> None:
    with pytest.raises(KeyboardInterrupt), day_lock(root, DAY):
        raise KeyboardInterrupt
    with day_lock(root, DAY):
        pass


def test_a_lease_is_renewed_while_its_holder_lives(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_lease, "RENEW_SECONDS", 0.01)
    root = open_data_root(f"s3://{bucket}/root")
    with day_lock(root, DAY):
        contents: set[bytes] = set()
        # Ends at the third renewal; without renewals it never would, and the run's own time limit fails the test.
        while len(contents) < 4:
            contents.add(root.read(lock_path(DAY, "journal")))


def test_a_holder_whose_lease_was_taken_over_is_told_before_it_goes_on(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = open_data_root(f"s3://{bucket}/root")
    monkeypatch.setattr(s3_lease, "LEASE_SECONDS", -1.0)

    def first_and_second() -> None:
        with day_lock(root, DAY, holder="the first") as first:
            with day_lock(root, DAY, holder="the second") as second:
                with pytest.raises(LockedError):
                    first.ensure_held()
                second.ensure_held()
            first.ensure_held()

    with pytest.raises(DayLockedError, match="the second"):
        first_and_second()


def test_a_lease_is_held_through_an_s3_that_refuses_at_random(s3: LocalS3, bucket: str) -> None:
    s3.misbehave(refused_share=0.3, seed=5)
    with day_lock(open_data_root(f"s3://{bucket}/root"), DAY) as held:
        for _ in range(5):
            held.ensure_held()
