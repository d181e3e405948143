"""How days stand: what it costs to tell, and that one damaged day hides no other."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from npi_pipeline.proofs.day_status import DayState, status_of_days
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline_tests.complete_days import complete, keep
from npi_pipeline_tests.flattened import nppes_body
from npi_pipeline_tests.watched_root import WatchedRoot

A = "1000000004"
DAY = dt.date(2026, 11, 23)
FILES = FileSettings()
OUTCOMES = {A: nppes_body(A)}


@pytest.mark.parametrize("path", ["state_files/2026-11-23/manifest.json", "journal/day=2026-11-24/journal.json"])
def test_a_day_whose_files_cannot_be_understood_is_told_on_one_line_and_hides_no_other(
    root: DataRoot, path: str
) -> None:
    yesterday, tomorrow = DAY - dt.timedelta(days=1), DAY + dt.timedelta(days=1)
    complete(root, yesterday, OUTCOMES)
    complete(root, DAY, OUTCOMES)
    keep(root, tomorrow, OUTCOMES)
    root.write(path, b"{")
    statuses = {status.day: status for status in status_of_days(root, FILES, [tomorrow, DAY, yesterday])}
    assert statuses[yesterday].state is DayState.complete
    damaged = DAY if "state_files" in path else tomorrow
    assert statuses[damaged].state is DayState.partial
    problem = statuses[damaged].problem or ""
    assert root.uri(path) in problem
    assert "materialise" in problem
    assert "\n" not in problem
    assert statuses[damaged].as_json()["problem"] == problem


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("state_files/2026-11-23/manifest.json", "outcomes", 5),
        ("state_files/2026-11-23/manifest.json", "outcomes", {"found": "many"}),
        ("state_files/2026-11-23/manifest.json", "files", [{"name": "x.csv", "state": "CA", "rows": "many"}]),
        ("journal/day=2026-11-23/journal.json", "outcomes", 5),
        ("journal/day=2026-11-23/journal.json", "parts", [{"name": "x", "rows": "1", "first": A, "last": A}]),
    ],
)
def test_a_member_of_another_type_is_as_good_as_a_damaged_file(
    root: DataRoot, path: str, name: str, value: object
) -> None:
    complete(root, DAY, OUTCOMES)
    if "journal" in path:
        root.delete("state_files/2026-11-23/manifest.json")
    root.write(path, json.dumps(json.loads(root.read(path)) | {name: value}).encode())
    (status,) = status_of_days(root, FILES, [DAY])
    assert status.state is DayState.partial
    assert root.uri(path) in (status.problem or "")


def test_the_status_of_a_day_costs_the_same_however_many_days_are_kept(root: DataRoot) -> None:
    days = [DAY - dt.timedelta(days=ago) for ago in range(3)]
    asked = [DAY, DAY + dt.timedelta(days=1)]
    costs = []
    calls: list[tuple[str, str]] = []
    watched = WatchedRoot(root, lambda *call: calls.append(call))
    for day in days:
        complete(root, day, OUTCOMES)
        calls.clear()
        status_of_days(watched, FILES, asked)
        assert all(any(str(day) in path for day in asked) for _, path in calls)
        costs.append(len([method for method, _ in calls if method != "uri"]))
    assert len(set(costs)) == 1
