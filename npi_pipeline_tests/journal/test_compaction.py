"""A compacted journal has one row for each NPI of the list, in order, whatever arrived how often and in which order."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npi_pipeline.days.lock import day_lock
from npi_pipeline.days.paths import journal_folder
from npi_pipeline.journal import (
    CompactedJournal,
    JournalError,
    compact_journal,
    compacted_parts,
    compaction,
    frame_of,
    read_compacted_journal,
    read_outcomes,
    segments,
)
from npi_pipeline.outcomes import NpiOutcome, Outcome
from npi_pipeline.storage import s3_lease
from npi_pipeline.storage.data_root import DataRoot, LockedError
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.journal.made_outcomes import DAY, compacted_rows, made, npi, npis, rows_of, write
from npi_pipeline_tests.sudden_death import was_killed_before

FOLDER = journal_folder(DAY)


def compact(root: DataRoot, numbers: Sequence[int]) -> CompactedJournal:
    with day_lock(root, DAY) as held:
        return compact_journal(root, DAY, npis(numbers), held)


def files_below(root: DataRoot, folder: str) -> list[str]:
    return [file.path for file in root.list(f"{FOLDER}/{folder}")]


def write_segment(root: DataRoot, outcomes: list[NpiOutcome], run: int) -> None:
    rows = frame_of(outcomes, run)
    segments.write_part(root, segments.segments_folder(DAY), segments.new_stem(DAY), rows)


@pytest.mark.parametrize("jump", [dt.timedelta(hours=2), dt.timedelta(days=300)])
@pytest.mark.parametrize("direction", [-1, 1])
def test_of_several_rows_of_an_npi_that_of_the_last_run_stands_whatever_the_clock_said(
    tmp_path: Path, jump: dt.timedelta, direction: int
) -> None:
    root = LocalRoot(tmp_path)
    later = direction * jump.total_seconds()
    write(root, [made(1, second=5), made(2, Outcome.failed, second=9)])
    write(root, [made(1, Outcome.failed, second=later), made(2, second=later)])
    expected = rows_of(made(1, Outcome.failed, second=later), made(2, second=later))
    compact(root, [1, 2])
    assert compacted_rows(root) == expected
    compact(root, [1, 2])
    assert compacted_rows(root) == expected


def test_of_rows_of_one_run_the_one_fetched_last_stands_and_any_of_a_later_run_before_them(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    write_segment(root, [made(1, second=5), made(2, Outcome.failed, second=9), made(3, second=900)], run=1)
    write_segment(root, [made(1, Outcome.failed, second=3), made(2, second=11)], run=1)
    write_segment(root, [made(3, Outcome.not_found)], run=2)
    compact(root, [1, 2, 3])
    assert compacted_rows(root) == rows_of(made(1, second=5), made(2, second=11), made(3, Outcome.not_found))


def test_of_an_answer_and_a_failure_of_the_same_moment_the_answer_stands(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    write_segment(root, [made(1, Outcome.failed), made(2)], run=1)
    write_segment(root, [made(1), made(2, Outcome.failed)], run=1)
    compact(root, [1, 2])
    assert compacted_rows(root) == rows_of(made(1), made(2))


def test_sealing_again_merges_what_arrived_since(root: DataRoot) -> None:
    write(root, [made(1), made(2, Outcome.failed)])
    compact(root, [1, 2])
    write(root, [made(2, second=60)])
    compacted = compact(root, [1, 2])
    assert compacted_rows(root) == rows_of(made(1), made(2, second=60))
    assert compacted.outcomes["found"] == 2
    assert len(files_below(root, "compacted")) == len(files_below(root, "outcomes")) == 1
    assert files_below(root, "segments") == []


def test_sealing_again_without_new_arrivals_changes_nothing(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    write(root, [made(1), made(2)])
    compact(root, [1, 2])
    before = compacted_rows(root)
    compact(root, [1, 2])
    assert compacted_rows(root) == before


def test_npis_that_a_new_list_dropped_are_not_compacted(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    write(root, [made(number) for number in range(4)])
    compact(root, range(4))
    write(root, [made(7)])
    compacted = compact(root, [1, 3, 7])
    assert compacted_rows(root) == rows_of(made(1), made(3), made(7))
    assert compacted.rows == 3


def test_a_journal_is_not_compacted_while_an_npi_of_the_list_has_no_outcome(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    write(root, [made(1)])
    with pytest.raises(JournalError, match=rf"2026-11-23.*{npi(2)}.*materialise npi_records"):
        compact(root, [1, 2])
    with pytest.raises(JournalError, match="not compacted"):
        read_compacted_journal(root, DAY)
    assert read_outcomes(root, DAY)["npi"].to_list() == [npi(1)]
    write(root, [made(2)])
    compact(root, [1, 2])
    assert len(files_below(root, "compacted")) == 1


def test_a_journal_is_not_compacted_once_the_days_lock_is_lost(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = open_data_root(f"s3://{bucket}/root")
    monkeypatch.setattr(s3_lease, "LEASE_SECONDS", -1.0)
    write(root, [made(1)])
    with day_lock(root, DAY) as lost, day_lock(root, DAY), pytest.raises(LockedError):
        compact_journal(root, DAY, npis([1]), lost)
    with pytest.raises(JournalError, match="not compacted"):
        read_compacted_journal(root, DAY)


class PausedWhile:
    """A lock whose holder is paused right after it has made sure of it, while ``meanwhile`` is done."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = [meanwhile]

    def ensure_held(self) -> None:
        if not self._meanwhile:
            raise LockedError("another run", "a minute ago")
        self._meanwhile.pop()()


def test_who_is_paused_right_before_it_seals_while_another_run_seals_removes_nothing_of_it(root: DataRoot) -> None:
    write(root, [made(1), made(2)])

    def another_run() -> None:
        write(root, [made(2, Outcome.deactivated, second=60), made(3)])
        compact(root, [1, 2, 3])

    with pytest.raises(LockedError):
        compact_journal(root, DAY, npis([1, 2]), PausedWhile(another_run))
    assert compacted_rows(root) == rows_of(made(1), made(2, Outcome.deactivated, second=60), made(3))


def test_the_compacted_journal_tells_its_counts_and_parts(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "COMPACTED_PART_ROWS", 3)
    kinds = [*Outcome, Outcome.found, Outcome.found]
    write(root, [made(number, kind) for number, kind in enumerate(kinds)], registry="nppes at host")
    with day_lock(root, DAY) as held:
        compacted = compact_journal(root, DAY, npis(range(7)), held, registry="nppes at host")
    assert read_compacted_journal(root, DAY) == compacted
    assert compacted.outcomes == {"found": 3, "not_found": 1, "deactivated": 1, "invalid": 1, "failed": 1}
    assert [(part.rows, part.first, part.last) for part in compacted.parts] == [
        (3, npi(0), npi(2)),
        (3, npi(3), npi(5)),
        (1, npi(6), npi(6)),
    ]
    assert [part.height for part in compacted_parts(root, DAY)] == [3, 3, 1]
    assert (compacted.registry, compacted.rows) == ("nppes at host", 7)


def test_rows_that_do_not_fit_in_memory_are_compacted_by_way_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "COMPACTED_PART_ROWS", 5)
    monkeypatch.setattr(compaction, "_FAN_OUT", 3)
    # Every part is more than fits, so every group is split again down to single slices.
    monkeypatch.setattr(compaction, "_BYTES_IN_MEMORY", 1)
    root = LocalRoot(tmp_path / "root")
    numbers = [number * 79 % 100 for number in range(100)]
    turns = [numbers[turn * 15 : turn * 15 + 55] for turn in range(4)]
    for turn, arrived in enumerate(turns):
        write(root, [made(number, second=turn) for number in arrived])
    wanted = sorted(numbers)
    compact(root, wanted)
    last_turn = {number: turn for turn, arrived in enumerate(turns) for number in arrived}
    assert compacted_rows(root) == rows_of(*(made(number, second=last_turn[number]) for number in wanted))


kinds = st.sampled_from(list(Outcome))
arrived = st.lists(st.builds(made, st.integers(0, 9), kinds, second=st.integers(0, 2)), min_size=1, max_size=20)


@settings(max_examples=25, deadline=None)
@given(arrived=arrived, data=st.data())
def test_neither_the_order_nor_the_parts_nor_a_sealing_in_between_change_what_is_compacted(
    arrived: list[NpiOutcome], data: st.DataObject
) -> None:
    dropped = arrived[0].npi
    wanted = pl.Series([outcome.npi for outcome in arrived if outcome.npi != dropped], dtype=pl.String)
    shuffled = list(data.draw(st.permutations(arrived)))
    size = data.draw(st.integers(1, 20))

    def compacted_after(*batches: list[NpiOutcome]) -> list[tuple[object, ...]]:
        with tempfile.TemporaryDirectory() as folder, day_lock(LocalRoot(Path(folder)), DAY) as held:
            root = LocalRoot(Path(folder))
            for batch in batches:
                write_segment(root, batch, run=1)
                compact_journal(root, DAY, read_outcomes(root, DAY)["npi"], held)
            compact_journal(root, DAY, wanted, held)
            return compacted_rows(root)

    expected = compacted_after(arrived)
    assert compacted_after(shuffled[:size], shuffled[size:]) == expected
    assert [row[0] for row in expected] == sorted(set(wanted))


# A clock that jumps between runs and within them, by hours and by most of a year.
moments = st.sampled_from([0.0, 1.0, 7200.0, -7200.0, 300 * 86400.0, -300 * 86400.0])
runs = st.lists(st.dictionaries(st.integers(0, 5), st.tuples(kinds, moments), max_size=6), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(runs=runs, data=st.data())
def test_what_the_last_run_said_stands_whatever_the_clock_of_each_row(
    runs: list[dict[int, tuple[Outcome, float]]], data: st.DataObject
) -> None:
    said: dict[int, NpiOutcome] = {}
    with tempfile.TemporaryDirectory() as folder, day_lock(LocalRoot(Path(folder)), DAY) as held:
        root = LocalRoot(Path(folder))
        for run in runs:
            outcomes = {number: made(number, kind, second=second) for number, (kind, second) in run.items()}
            said |= outcomes
            write(root, outcomes.values())
            if data.draw(st.booleans()):
                compact_journal(root, DAY, npis(said), held)
        assert read_outcomes(root, DAY)["outcome"].to_list() == [
            said[number].verdict.outcome.value for number in sorted(said)
        ]
        compact_journal(root, DAY, npis(said), held)
        assert compacted_rows(root) == rows_of(*(said[number] for number in sorted(said)))


NUMBERS = range(8)
FAILED_FIRST = [made(number, Outcome.failed if number % 3 == 0 else Outcome.found) for number in NUMBERS]
ASKED_AGAIN = [made(number, second=60) for number in NUMBERS if number % 3 == 0]
AT_LAST = rows_of(*(made(number, second=60 if number % 3 == 0 else 0) for number in NUMBERS))


def compact_in_small_parts(data_root: str) -> None:
    s3_lease.LEASE_SECONDS = -1.0  # the leases of those killed before have run out
    compaction.COMPACTED_PART_ROWS = 3
    compact(open_data_root(data_root), NUMBERS)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.long_on_s3
def test_sealing_killed_at_any_point_loses_nothing_and_the_next_completes_it(
    data_root: str, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(s3_lease, "LEASE_SECONDS", -1.0)
    monkeypatch.setattr(compaction, "COMPACTED_PART_ROWS", 3)
    root = open_data_root(data_root)
    for arrived in (FAILED_FIRST, ASKED_AGAIN):
        write(root, arrived)
        expected = read_outcomes(root, DAY)
        for change in itertools.count(0, step):
            was_killed = was_killed_before(change, compact_in_small_parts, data_root)
            assert read_outcomes(root, DAY).equals(expected)
            # A reader of the compacted rows sees the last compaction that came to its end, whole.
            assert_compacted_is_whole_or_absent(root)
            if not was_killed:
                break
        assert change > 20
    assert compacted_rows(root) == AT_LAST
    assert files_below(root, "segments") == files_below(root, "damaged") == []
    assert len(files_below(root, "compacted")) == len(files_below(root, "outcomes")) == 3


def assert_compacted_is_whole_or_absent(root: DataRoot) -> None:
    if root.list(f"{FOLDER}/compacted") and any(file.path.endswith("journal.json") for file in root.list(FOLDER)):
        assert len(compacted_rows(root)) == len(NUMBERS)
    else:
        with pytest.raises(JournalError, match="not compacted"):
            compacted_rows(root)


def test_a_journal_is_compacted_through_an_s3_that_refuses_at_random(
    s3: LocalS3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "COMPACTED_PART_ROWS", 3)
    root = open_data_root(f"s3://{bucket}/root")
    s3.misbehave(refused_share=0.2, seed=13)
    write(root, FAILED_FIRST)
    compact(root, NUMBERS)
    write(root, ASKED_AGAIN)
    compact(root, NUMBERS)
    assert compacted_rows(root) == AT_LAST


def test_journal_json_is_for_people_too(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    write(root, [made(1)])
    compact(root, [1])
    content = json.loads(root.read(f"{FOLDER}/journal.json"))
    assert (content["day"], content["rows"], content["outcomes"]["found"]) == ("2026-11-23", 1, 1)
    assert dt.datetime.fromisoformat(content["compacted_at"]).tzinfo is not None


@pytest.mark.parametrize("seed", range(2))
def test_parts_are_bounded_in_bytes_and_cut_the_same_way_whatever_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(compaction, "COMPACTED_PART_BYTES", 10_000)
    monkeypatch.setattr(compaction, "_BYTES_IN_MEMORY", 15_000)
    monkeypatch.setattr(compaction, "COMPACTED_PART_ROWS", 20)
    draw = random.Random(seed)
    outcomes = [made(number, body="b" * draw.choice([10, 10, 3_000, 12_000])) for number in range(90)]
    root, other = LocalRoot(tmp_path / "1"), LocalRoot(tmp_path / "2")
    write(root, outcomes)
    # More rows of one NPI than memory holds, before the one that stands.
    for _ in range(5):
        write(other, [made(3, body="x" * 9_000), made(1, body="y" * 9_000)])
    for outcome in draw.sample(outcomes, len(outcomes)):
        write(other, [outcome])
    compacted = compact(root, range(90))
    assert compacted_rows(root) == rows_of(*outcomes)
    bodies = [part["body"].str.len_bytes().to_list() for part in compacted_parts(root, DAY)]
    assert all(len(of_part) == 1 or sum(of_part) <= 10_000 for of_part in bodies)
    assert max(map(len, bodies)) <= 20
    compact(other, range(90))
    assert compacted_rows(other) == compacted_rows(root)
    assert [part.rows for part in read_compacted_journal(other, DAY).parts] == [part.rows for part in compacted.parts]
