"""Which days are compared, in whatever order they are run and made anew, alone or at the same time."""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from npi_pipeline.changes import write_changes as changes
from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.changes.kept_changes import Publication, read_kept_changes
from npi_pipeline.days.lock import DayLockedError, day_lock
from npi_pipeline.days.paths import journal_folder, list_path, lock_path, provider_changes_folder, state_files_folder
from npi_pipeline.journal import JournalError, compact_journal, read_compacted_journal
from npi_pipeline.outcomes import Outcome
from npi_pipeline.proofs.provider_changes import joins_and_leaves_match_the_lists, no_day_was_skipped
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.publish import read_manifest
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline_tests.complete_days import complete, record
from npi_pipeline_tests.flattened import nppes_body
from npi_pipeline_tests.watched_root import WatchedRoot

A, B = "1000000004", "1000000012"
MONDAY, TUESDAY, WEDNESDAY = (dt.date(2026, 11, day) for day in (23, 24, 25))
FILES = FileSettings()
HEADER = b"npi,change,field,old,new\n"
# What the registry says on each day.
OF_DAY = {
    MONDAY: {A: nppes_body(A, enumeration_type="MONDAY"), B: nppes_body(B)},
    TUESDAY: {A: nppes_body(A, enumeration_type="TUESDAY"), B: Outcome.deactivated},
    WEDNESDAY: {A: nppes_body(A, enumeration_type="WEDNESDAY")},
}
Row = list[str]
TUESDAYS_ROWS = [
    [A, "field", "enumeration_type", "MONDAY", "TUESDAY"],
    [B, "outcome", "outcome", "found", "deactivated"],
]
WEDNESDAYS_ROWS = [
    [A, "field", "enumeration_type", "TUESDAY", "WEDNESDAY"],
    [B, "left", "outcome", "deactivated", ""],
]


@pytest.fixture
def root(tmp_path: Path) -> LocalRoot:
    """A local root. Tests of what S3 may do otherwise, its locks and what is read meanwhile, take ``data_root``."""
    return LocalRoot(tmp_path)


def run(root: DataRoot, day: dt.date, **options: Any) -> None:
    """All that a run of ``day`` does, from its journal on."""
    complete(root, day, OF_DAY[day])
    find_changes(root, day, FILES, **options)


def content(root: DataRoot, day: dt.date) -> bytes:
    return root.read(read_kept_changes(root, day).path)


def rows(root: DataRoot, day: dt.date) -> list[Row]:
    return list(csv.reader(io.StringIO(content(root, day).decode()), strict=True))[1:]


def compared_with(root: DataRoot, day: dt.date) -> dt.date | None:
    other = read_kept_changes(root, day).compared_with
    return other.day if other else None


def test_the_first_complete_day_has_the_header_alone_and_nothing_to_compare_with(root: DataRoot) -> None:
    complete(root, MONDAY, OF_DAY[MONDAY])
    found, following = find_changes(root, MONDAY, FILES)
    assert (found.kept.compared_with, found.days_apart, following) == (None, None, None)
    assert content(root, MONDAY) == HEADER


@pytest.mark.long_on_s3
def test_a_day_is_compared_with_the_day_before(data_root: str) -> None:
    root = open_data_root(data_root)
    run(root, MONDAY)
    run(root, TUESDAY)
    assert rows(root, TUESDAY) == TUESDAYS_ROWS
    kept = read_kept_changes(root, TUESDAY)
    manifests = [read_manifest(root, "state_files", day) for day in (MONDAY, TUESDAY)]
    assert [kept.compared_with, kept.publication] == [Publication.of(manifest) for manifest in manifests]
    assert kept.counts == {
        "joined": 0,
        "left": 0,
        "outcomes_changed": 1,
        "deactivated": 1,
        "providers_changed": 1,
        "fields_changed": 1,
    }
    assert (kept.file.rows, kept.file.bytes) == (2, len(content(root, TUESDAY)))


def test_days_that_are_not_complete_are_passed_over(root: DataRoot) -> None:
    run(root, MONDAY)
    record(root, TUESDAY, OF_DAY[TUESDAY])
    root.write(f"{state_files_folder('state_files', TUESDAY)}/half.csv", b"npi\n")
    complete(root, WEDNESDAY, OF_DAY[WEDNESDAY])
    found, _ = find_changes(root, WEDNESDAY, FILES)
    assert (compared_with(root, WEDNESDAY), found.days_apart) == (MONDAY, 2)
    assert rows(root, WEDNESDAY) == [
        [A, "field", "enumeration_type", "MONDAY", "WEDNESDAY"],
        [B, "left", "outcome", "found", ""],
    ]


ORDERS = list(itertools.permutations(OF_DAY))


@pytest.mark.parametrize(
    "order",
    [ORDERS[0], ORDERS[-1], *(pytest.param(order, marks=pytest.mark.long) for order in ORDERS[1:-1])],
    ids=lambda order: "-".join(f"{day:%a}" for day in order),
)
def test_whatever_the_order_in_which_days_are_run_each_is_compared_with_the_one_before(
    tmp_path: Path, order: tuple[dt.date, ...]
) -> None:
    root = LocalRoot(tmp_path)
    for day in order:
        run(root, day)
    assert [rows(root, day) for day in OF_DAY] == [[], TUESDAYS_ROWS, WEDNESDAYS_ROWS]


def test_the_day_after_a_day_that_is_made_anew_is_compared_anew(root: DataRoot) -> None:
    run(root, MONDAY)
    run(root, TUESDAY)
    complete(root, MONDAY, {A: nppes_body(A, enumeration_type="REPAIRED"), B: Outcome.deactivated})
    _, following = find_changes(root, MONDAY, FILES)
    assert following is not None
    assert following.kept == read_kept_changes(root, TUESDAY)
    assert rows(root, TUESDAY) == [[A, "field", "enumeration_type", "REPAIRED", "TUESDAY"]]


def test_the_day_after_is_left_alone_when_its_changes_are_right_or_its_own_run_will_find_them(root: DataRoot) -> None:
    complete(root, TUESDAY, OF_DAY[TUESDAY])
    run(root, MONDAY)
    assert root.list(provider_changes_folder(TUESDAY)) == []
    find_changes(root, TUESDAY, FILES)
    before = read_kept_changes(root, TUESDAY)
    assert find_changes(root, MONDAY, FILES)[1] is None
    assert read_kept_changes(root, TUESDAY) == before


def test_changes_of_the_day_after_that_cannot_be_understood_are_found_anew(root: DataRoot) -> None:
    run(root, MONDAY)
    run(root, TUESDAY)
    root.write(f"{provider_changes_folder(TUESDAY)}/changes.json", b"{}")
    assert find_changes(root, MONDAY, FILES)[1] is not None
    assert compared_with(root, TUESDAY) == MONDAY


def test_days_of_two_registry_formats_are_compared_by_outcome_alone(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    run(root, MONDAY)
    practices = {A: '{"affiliatedPractices": {"items": []}}', B: Outcome.not_found}
    complete(root, TUESDAY, practices, format_name="affiliated_practices")
    found, _ = find_changes(root, TUESDAY, FILES)
    assert not found.kept.fields_compared
    assert rows(root, TUESDAY) == [[B, "outcome", "outcome", "found", "not_found"]]


def test_a_number_of_an_undeclared_format_is_written_as_in_each_days_state_files(tmp_path: Path) -> None:
    """Only where another record has text in the column, a number there is one that a spreadsheet must not run."""
    root = LocalRoot(tmp_path)
    for day, number, other in ((MONDAY, -1, -7), (TUESDAY, -2, "text")):
        bodies = {A: f'{{"active": true, "n": {number}}}', B: json.dumps({"active": True, "n": other})}
        complete(root, day, bodies, format_name="affiliated_practices")
        find_changes(root, day, FILES)
    assert rows(root, TUESDAY) == [[A, "field", "n", "-1", "'-2"], [B, "field", "n", "-7", "text"]]


def test_the_file_is_named_by_the_setting_and_no_file_of_an_older_name_stays(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    run(root, MONDAY)
    find_changes(root, MONDAY, FileSettings(date_format="%d-%m-%Y"))
    names = [file.path.rpartition("/")[2] for file in root.list(provider_changes_folder(MONDAY))]
    assert names == ["changes.json", "provider_changes_23-11-2026.csv"]
    assert read_kept_changes(root, MONDAY).file.name == "provider_changes_23-11-2026.csv"


def test_a_day_that_is_not_published_has_no_changes(root: DataRoot) -> None:
    record(root, MONDAY, OF_DAY[MONDAY])
    with pytest.raises(FileNotFoundError, match=r"2026-11-23/manifest\.json"):
        find_changes(root, MONDAY, FILES)
    assert root.list("provider_changes") == []


@pytest.mark.long_on_s3
def test_a_day_published_while_the_next_is_compared_with_an_older_one_has_the_last_word(data_root: str) -> None:
    """Wednesday has chosen Monday and is reading it, when Tuesday is published and looks at Wednesday."""
    root = open_data_root(data_root)
    run(root, MONDAY)
    complete(root, WEDNESDAY, OF_DAY[WEDNESDAY])
    wednesday_has_chosen, tuesday_is_waiting = threading.Event(), threading.Event()

    def wednesdays_call(method: str, path: str) -> None:
        if method == "read" and path.startswith(f"{journal_folder(MONDAY)}/compacted"):
            wednesday_has_chosen.set()
            assert tuesday_is_waiting.wait(60)

    def tuesdays_call(method: str, path: str) -> None:
        if (method, path) == ("lock", lock_path(WEDNESDAY, "provider_changes")):
            tuesday_is_waiting.set()

    wednesdays_root = WatchedRoot(open_data_root(data_root), wednesdays_call)
    tuesdays_root = WatchedRoot(open_data_root(data_root), tuesdays_call)
    with ThreadPoolExecutor(2) as both:
        of_wednesday = both.submit(find_changes, wednesdays_root, WEDNESDAY, FILES)
        assert wednesday_has_chosen.wait(60)
        of_tuesday = both.submit(run, tuesdays_root, TUESDAY)
        assert of_wednesday.result()[0].kept.compared_with.day == MONDAY
        of_tuesday.result()
    assert [rows(root, day) for day in OF_DAY] == [[], TUESDAYS_ROWS, WEDNESDAYS_ROWS]


@pytest.mark.parametrize("at_work", [MONDAY, WEDNESDAY], ids=["the day before", "the day after"])
@pytest.mark.long_on_s3
def test_a_day_that_is_run_whole_while_another_waits_for_wednesdays_lock_is_what_wednesday_is_compared_with(
    data_root: str, at_work: dt.date
) -> None:
    root = open_data_root(data_root)
    run(root, MONDAY)
    run(root, WEDNESDAY)
    if at_work == MONDAY:
        complete(root, MONDAY, {**OF_DAY[MONDAY], A: nppes_body(A, enumeration_type="ANEW")})
    missing = [TUESDAY]

    def before(method: str, path: str) -> None:
        if (method, path) == ("lock", lock_path(WEDNESDAY, "provider_changes")) and missing:
            run(root, missing.pop())

    find_changes(WatchedRoot(root, before), at_work, FILES)
    assert missing == []
    assert rows(root, WEDNESDAY) == WEDNESDAYS_ROWS


def test_a_run_waits_for_another_at_the_same_changes_only_so_long(data_root: str) -> None:
    root = open_data_root(data_root)
    complete(root, MONDAY, OF_DAY[MONDAY])
    with (
        day_lock(root, MONDAY, "provider_changes", holder="another run"),
        pytest.raises(DayLockedError, match="provider changes of 2026-11-23 is in the hands of another run"),
    ):
        find_changes(root, MONDAY, FILES, wait_seconds=0)


def test_a_journal_that_is_compacted_again_with_the_same_rows_while_it_is_read_is_read_from_the_beginning(
    root: DataRoot,
) -> None:
    run(root, MONDAY)
    complete(root, TUESDAY, OF_DAY[TUESDAY])
    first_read = threading.Lock()

    def before(method: str, path: str) -> None:
        if (
            method == "read"
            and path in read_compacted_journal(root, MONDAY).paths
            and first_read.acquire(blocking=False)
        ):
            with day_lock(root, MONDAY) as held:
                compact_journal(root, MONDAY, pl.Series("npi", [A, B]), held, registry="nppes registry")

    find_changes(WatchedRoot(root, before), TUESDAY, FILES)
    assert first_read.locked()
    assert rows(root, TUESDAY) == TUESDAYS_ROWS


@pytest.mark.long_on_s3
def test_a_day_that_is_recorded_anew_while_it_is_read_is_passed_over(data_root: str) -> None:
    root = open_data_root(data_root)
    run(root, MONDAY)
    run(root, TUESDAY)
    complete(root, WEDNESDAY, OF_DAY[WEDNESDAY])
    first_read = threading.Lock()

    def before(method: str, path: str) -> None:
        if (
            method == "read"
            and path in read_compacted_journal(root, TUESDAY).paths
            and first_read.acquire(blocking=False)
        ):
            record(root, TUESDAY, {A: Outcome.failed, B: Outcome.failed})

    found, _ = find_changes(WatchedRoot(root, before), WEDNESDAY, FILES)
    assert (compared_with(root, WEDNESDAY), found.recorded_anew) == (MONDAY, (TUESDAY,))


def test_a_day_that_was_recorded_anew_and_not_published_is_passed_over_until_it_is(root: DataRoot) -> None:
    """Its state files say what its journal no longer does: nobody may be told a change that they do not show."""
    run(root, MONDAY)
    run(root, TUESDAY)
    record(root, TUESDAY, {A: Outcome.failed, B: Outcome.failed})
    complete(root, WEDNESDAY, OF_DAY[WEDNESDAY])
    found, _ = find_changes(root, WEDNESDAY, FILES)
    assert (compared_with(root, WEDNESDAY), found.days_apart, found.recorded_anew) == (MONDAY, 2, (TUESDAY,))
    assert rows(root, WEDNESDAY) == [
        [A, "field", "enumeration_type", "MONDAY", "WEDNESDAY"],
        [B, "left", "outcome", "found", ""],
    ]
    complete(root, TUESDAY, OF_DAY[TUESDAY])
    _, following = find_changes(root, TUESDAY, FILES)
    assert following is not None
    assert (following.kept.day, following.recorded_anew) == (WEDNESDAY, ())
    assert [rows(root, day) for day in OF_DAY] == [[], TUESDAYS_ROWS, WEDNESDAYS_ROWS]


def test_a_day_that_was_recorded_anew_since_it_was_published_keeps_its_changes_and_says_what_to_do(
    root: DataRoot,
) -> None:
    run(root, MONDAY)
    run(root, TUESDAY)
    record(root, TUESDAY, {A: Outcome.failed, B: Outcome.failed})
    with pytest.raises(JournalError) as refused:
        find_changes(root, TUESDAY, FILES)
    assert str(refused.value) == (
        "2026-11-24 was recorded anew since it was published: materialise providers and state_files for that day first"
    )
    assert rows(root, TUESDAY) == TUESDAYS_ROWS


def test_changes_against_a_day_that_is_recorded_anew_later_are_right_until_that_day_is_published_anew(
    tmp_path: Path,
) -> None:
    root = LocalRoot(tmp_path)
    for day in OF_DAY:
        run(root, day)
    record(root, TUESDAY, {A: Outcome.failed, B: Outcome.failed})
    complete(root, MONDAY, OF_DAY[MONDAY])
    _, following = find_changes(root, MONDAY, FILES)
    assert following is None, "Tuesday's own run will find its changes, and Wednesday's are against Tuesday as it is"
    assert [rows(root, day) for day in OF_DAY] == [[], TUESDAYS_ROWS, WEDNESDAYS_ROWS]


def test_the_changes_of_a_day_for_which_another_was_passed_over_are_found_anew_too(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    run(root, MONDAY)
    run(root, TUESDAY)
    record(root, TUESDAY, {A: Outcome.failed, B: Outcome.failed})
    run(root, WEDNESDAY)
    complete(root, MONDAY, {A: nppes_body(A, enumeration_type="REPAIRED"), B: OF_DAY[MONDAY][B]})
    _, following = find_changes(root, MONDAY, FILES)
    assert following is not None
    assert (following.kept.day, following.recorded_anew) == (WEDNESDAY, (TUESDAY,))
    assert rows(root, WEDNESDAY)[0] == [A, "field", "enumeration_type", "REPAIRED", "WEDNESDAY"]


def damage_part(root: DataRoot, day: dt.date) -> None:
    root.write(read_compacted_journal(root, day).paths[0], b"rubbish")


def damage_journal(root: DataRoot, day: dt.date) -> None:
    root.write(f"{journal_folder(day)}/journal.json", b"{")


def damage_manifest(root: DataRoot, day: dt.date) -> None:
    root.write(f"{state_files_folder('state_files', day)}/manifest.json", b"{")


def damage_list(root: DataRoot, day: dt.date) -> None:
    root.delete(list_path(day))


DAMAGES = [damage_part, damage_journal, damage_manifest]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_yesterdays_files_is_told_with_its_cure_and_todays_changes_are_against_the_day_before_that(
    root: DataRoot, damage: Callable[[DataRoot, dt.date], None]
) -> None:
    run(root, MONDAY)
    run(root, TUESDAY)
    damage(root, TUESDAY)
    complete(root, WEDNESDAY, OF_DAY[WEDNESDAY])
    found, _ = find_changes(root, WEDNESDAY, FILES)
    assert compared_with(root, WEDNESDAY) == MONDAY
    assert joins_and_leaves_match_the_lists(root, WEDNESDAY, FILES).holds
    (line,) = found.kept.skipped
    assert str(TUESDAY) in line
    assert "materialise" in line
    finding = no_day_was_skipped(root, WEDNESDAY)
    assert not finding.holds
    assert line in finding.line
    root.delete(f"{journal_folder(TUESDAY)}/journal.json")
    run(root, TUESDAY)
    assert [rows(root, day) for day in OF_DAY] == [[], TUESDAYS_ROWS, WEDNESDAYS_ROWS]
    assert no_day_was_skipped(root, WEDNESDAY).holds


def test_yesterdays_list_that_is_gone_is_told_by_its_state_files(root: DataRoot) -> None:
    run(root, MONDAY)
    damage_list(root, MONDAY)
    run(root, TUESDAY)
    assert rows(root, TUESDAY) == TUESDAYS_ROWS
    assert joins_and_leaves_match_the_lists(root, TUESDAY, FILES).holds


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_tomorrows_files_is_told_and_today_is_complete(
    root: DataRoot, damage: Callable[[DataRoot, dt.date], None]
) -> None:
    run(root, MONDAY)
    run(root, TUESDAY)
    damage(root, TUESDAY)
    complete(root, MONDAY, {A: nppes_body(A, enumeration_type="REPAIRED"), B: Outcome.deactivated})
    found, following = find_changes(root, MONDAY, FILES)
    assert following is None
    assert found.problem_of_next_day is not None
    assert str(TUESDAY) in found.problem_of_next_day


def test_a_days_own_damaged_journal_is_named_with_its_remedy(root: DataRoot) -> None:
    run(root, MONDAY)
    complete(root, TUESDAY, OF_DAY[TUESDAY])
    damage_part(root, TUESDAY)
    with pytest.raises(JournalError, match="damaged: materialise npi_records for 2026-11-24 again"):
        find_changes(root, TUESDAY, FILES)
    assert root.list(provider_changes_folder(TUESDAY)) == []


def test_changes_of_the_next_day_that_do_not_hold_are_not_kept(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The day that is run is complete; the next one keeps what it had, and is told of."""
    run(root, MONDAY)
    run(root, TUESDAY)
    before = content(root, TUESDAY)
    complete(root, MONDAY, {A: nppes_body(A), B: OF_DAY[MONDAY][B]})
    write_changes = changes.write_changes

    def losing_a_row(old: Any, new: Any, layout: Any, path: Path, cells: Any) -> changes.Changes:
        written = write_changes(old, new, layout, path, cells)
        path.write_bytes(
            b"".join(line for line in path.read_bytes().splitlines(keepends=True) if b"outcome" not in line)
        )
        return written

    monkeypatch.setattr("npi_pipeline.changes.find_changes.write_changes", losing_a_row)
    found, following = find_changes(root, MONDAY, FILES)
    assert following is None
    assert "the changes of 2026-11-24 are not kept, for they do not hold" in (found.problem_of_next_day or "")
    assert content(root, TUESDAY) == before
