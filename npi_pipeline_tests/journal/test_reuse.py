"""Answers of one day serve another, when they are young enough and from the same registry."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from npi_pipeline import clock
from npi_pipeline.days.lock import day_lock
from npi_pipeline.journal import compact_journal, compaction, read_outcomes, reuse_answers
from npi_pipeline.outcomes import NpiOutcome, Outcome
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.journal.made_outcomes import (
    DAY,
    MORNING,
    compacted_rows,
    made,
    npi,
    npis,
    rows_of,
    write,
)
from npi_pipeline_tests.watched_root import WatchedRoot

EARLIER, OTHER = DAY - dt.timedelta(days=1), DAY - dt.timedelta(days=2)


def compacted_day(root: DataRoot, day: dt.date, *outcomes: NpiOutcome, registry: str = "nppes") -> None:
    write(root, outcomes, day, registry)
    with day_lock(root, day) as held:
        wanted = npis(int(outcome.npi) - 1_000_000_000 for outcome in outcomes)
        compact_journal(root, day, wanted, held, registry=registry)


def reuse(root: DataRoot, *numbers: int, not_before: dt.datetime = MORNING) -> int:
    return reuse_answers(root, DAY, npis(numbers), "nppes", not_before, known=read_outcomes(root, DAY))


def test_answers_of_another_day_are_taken_with_the_moment_they_were_fetched(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "COMPACTED_PART_ROWS", 2)
    compacted_day(root, EARLIER, *(made(number, second=number) for number in range(6)))
    assert reuse(root, 1, 2, 5, 9) == 3
    assert read_outcomes(root, DAY)["npi"].to_list() == [npi(1), npi(2), npi(5)]
    write(root, [made(9)])
    with day_lock(root, DAY) as held:
        compact_journal(root, DAY, npis([1, 2, 5, 9]), held)
    assert compacted_rows(root) == rows_of(made(1, second=1), made(2, second=2), made(5, second=5), made(9))


def test_only_answers_are_taken(root: DataRoot) -> None:
    compacted_day(root, EARLIER, *(made(number, kind) for number, kind in enumerate(Outcome)))
    assert reuse(root, *range(5)) == 3
    assert set(read_outcomes(root, DAY)["outcome"]) == {"found", "not_found", "deactivated"}


def test_answers_that_are_too_old_are_not_taken(root: DataRoot) -> None:
    compacted_day(root, EARLIER, made(1, second=10), made(2, second=20))
    assert reuse(root, 1, 2, not_before=MORNING + dt.timedelta(seconds=15)) == 1
    assert reuse(root, 1, 2, not_before=dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=1)) == 0
    assert read_outcomes(root, DAY)["npi"].to_list() == [npi(2)]


@pytest.mark.parametrize("ahead", [dt.timedelta(hours=2), dt.timedelta(days=300)])
def test_answers_that_are_dated_in_the_future_are_not_taken(root: DataRoot, ahead: dt.timedelta) -> None:
    now = dt.datetime.now(dt.timezone.utc)
    second = (now - MORNING).total_seconds()
    compacted_day(root, EARLIER, made(1, second=second + ahead.total_seconds()), made(2, second=second))
    assert reuse(root, 1, 2) == 1
    assert read_outcomes(root, DAY)["npi"].to_list() == [npi(2)]


@pytest.mark.parametrize("behind", [dt.timedelta(hours=2), dt.timedelta(days=300)])
def test_a_clock_that_is_behind_makes_no_old_answer_young(
    root: DataRoot, behind: dt.timedelta, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = dt.datetime.now(dt.timezone.utc)
    monkeypatch.setattr(clock, "utc_now", lambda: now - behind)
    compacted_day(root, OTHER, made(1, second=(now - behind - MORNING).total_seconds()))
    monkeypatch.setattr(clock, "utc_now", lambda: now)
    compacted_day(root, EARLIER, made(2, second=(now - MORNING).total_seconds()))
    monkeypatch.setattr(clock, "utc_now", lambda: now - behind)
    assert reuse(root, 1, 2, not_before=now - behind - dt.timedelta(hours=1)) == 0
    assert f"the journal of {EARLIER} was compacted in the future" in caplog.text


def test_answers_that_are_taken_stand_before_what_the_day_had(root: DataRoot) -> None:
    write(root, [made(1, Outcome.failed)])
    compacted_day(root, EARLIER, made(1, second=30))
    assert reuse(root, 1) == 1
    outcomes = read_outcomes(root, DAY)
    assert outcomes["outcome"].to_list() == ["found"]


def test_answers_of_another_registry_are_not_taken(root: DataRoot) -> None:
    compacted_day(root, EARLIER, made(1), registry="another")
    assert reuse(root, 1) == 0


def test_an_npi_that_several_days_know_is_taken_once(root: DataRoot) -> None:
    compacted_day(root, OTHER, made(1, second=1), made(2, second=1))
    compacted_day(root, EARLIER, made(1, second=2))
    assert reuse(root, 1, 2) == 2
    assert read_outcomes(root, DAY)["fetched_at"].to_list() == [MORNING + dt.timedelta(seconds=n) for n in (2, 1)]


def test_an_answer_that_would_not_stand_against_the_days_own_later_failure_is_not_taken(root: DataRoot) -> None:
    compacted_day(root, OTHER, made(1, second=10), made(2, second=10), made(3, second=10))
    compacted_day(root, EARLIER, made(2, second=30))
    write(root, [made(1, Outcome.failed, second=20), made(2, Outcome.failed, second=20)])
    write(root, [made(3, Outcome.failed, second=10)])
    assert reuse(root, 1, 2, 3) == 2
    assert read_outcomes(root, DAY)["outcome"].to_list() == ["failed", "found", "found"]


def test_a_damaged_part_of_another_day_is_left_alone(root: DataRoot) -> None:
    compacted_day(root, EARLIER, made(1))
    (part,) = root.list(f"journal/day={EARLIER}/compacted")
    root.write(part.path, b"")
    assert reuse(root, 1) == 0
    assert [file.path for file in root.list(f"journal/day={EARLIER}/compacted")] == [part.path]


def test_of_journals_compacted_too_long_ago_nothing_is_read_nor_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = LocalRoot(tmp_path)
    with monkeypatch.context() as long_ago:
        long_ago.setattr(clock, "utc_now", lambda: MORNING - dt.timedelta(days=1))
        compacted_day(root, OTHER, made(2))
    compacted_day(root, EARLIER, made(1))
    touched: list[str] = []

    def note(_call: str, path: str) -> None:
        if path.startswith("journal") and not path.startswith(f"journal/day={DAY}"):
            touched.append(path)

    assert reuse(WatchedRoot(root, note), 1, 2) == 1
    assert {path.split("/")[1] for path in touched} == {f"day={EARLIER}"}


def test_a_journal_that_cannot_be_understood_costs_another_day_nothing_but_its_answers(
    root: DataRoot, caplog: pytest.LogCaptureFixture
) -> None:
    compacted_day(root, EARLIER, made(1))
    compacted_day(root, OTHER, made(2))
    root.write(f"journal/day={OTHER}/journal.json", b"{")
    assert reuse(root, 1, 2) == 1
    (warning,) = caplog.messages
    assert f"{OTHER}/journal.json cannot be understood" in warning
