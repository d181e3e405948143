"""What a user of the UI is told about a day's changes: real runs of several days against a registry that changes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.flattened import address, nppes_body, taxonomy
from npi_pipeline_tests.pipeline import DAY, read_rows
from npi_pipeline_tests.scripted_days import ScriptedDays, scripted_days

A, B, C, D = sorted(npi_numbers(4, seed=7))
SUNDAY, TUESDAY = DAY - dt.timedelta(days=1), DAY + dt.timedelta(days=1)
DEACTIVATED = {"Errors": [{"description": "CMS deactivated NPI.", "field": "number", "number": "15"}]}


@pytest.fixture
def days(s3: LocalS3, bucket: str, tmp_path: Path) -> Iterator[ScriptedDays]:
    with scripted_days(tmp_path / "npi-data", s3, bucket) as of_pipeline:
        yield of_pipeline


def latest(days: ScriptedDays, day: dt.date) -> dict[str, Any]:
    """What the UI shows about the changes of ``day``, the latest that it was told."""
    return days.metadata("provider_changes", day)[0]


def rows(days: ScriptedDays, day: dt.date) -> list[tuple[str, ...]]:
    """The rows of the file."""
    path = days.pipeline.data_root / "provider_changes" / str(day) / f"provider_changes_{day}.csv"
    return [tuple(row.values()) for row in read_rows(path)]


def answer(npi: str, **changes: Any) -> Any:
    return json.loads(nppes_body(npi, **changes))


def cells(table: Any) -> list[tuple[Any, ...]]:
    """The rows of a table of the UI."""
    return [tuple(record.data[column.name] for column in table.schema.columns) for record in table.records]


def test_a_day_is_told_as_counts_tables_and_a_file(days: ScriptedDays) -> None:
    days.run(SUNDAY, {A: answer(A), B: answer(B), C: answer(C)})
    moved = [address("MAILING", "NY"), address("LOCATION", "TX", city="AUSTIN")]
    run = days.run(DAY, {A: answer(A, addresses=moved, taxonomies=[taxonomy("X")]), B: DEACTIVATED, D: answer(D)})

    expected = [
        (A, "field", "location_address.city", "TOWN", "AUSTIN"),
        (A, "field", "location_address.state", "CA", "TX"),
        (A, "field", "taxonomies[0].code", "207Q00000X", "X"),
        (B, "outcome", "outcome", "found", "deactivated"),
        (C, "left", "outcome", "found", ""),
        (D, "joined", "outcome", "", "found"),
    ]
    assert rows(days, DAY) == expected
    (line,) = days.lines("provider_changes", run)
    assert line == (
        "changes of 2026-11-23 against 2026-11-22: 1 joined, 1 left, 1 with another outcome (1 deactivated), "
        "1 with changed fields (3 fields)"
    )
    told = latest(days, DAY)
    counts = {
        "joined": 1,
        "left": 1,
        "outcomes_changed": 1,
        "deactivated": 1,
        "providers_changed": 1,
        "fields_changed": 3,
        "days_apart": 1,
        "dagster/partition_row_count": 6,
    }
    assert {name: told[name] for name in counts} == counts
    assert told["compared_with"] == "2026-11-22"
    assert Path(told["where"]).is_file()
    assert cells(told["outcome_changes"]) == [("found", "deactivated", 1)]
    assert cells(told["fields_changed_most"])[0] == ("location_address.city", 1, A, "TOWN", "AUSTIN")
    assert cells(told["preview"]) == [tuple(cell or None for cell in row) for row in expected]
    assert [column.name for column in told["dagster/column_schema"].columns] == ["npi", "change", "field", "old", "new"]
    assert all(column.description for column in told["dagster/column_schema"].columns)


def test_the_first_day_says_that_there_is_nothing_before_it(days: ScriptedDays) -> None:
    run = days.run(DAY, {A: answer(A)})
    assert days.lines("provider_changes", run) == [
        "changes of 2026-11-23: there is no complete day before it to compare with"
    ]
    told = latest(days, DAY)
    assert told["compared_with"] == "no complete day before it"
    assert told["dagster/partition_row_count"] == 0
    assert "days_apart" not in told
    assert rows(days, DAY) == []


def test_a_gap_of_days_is_said_and_the_day_after_is_told_anew_when_it_is_filled(days: ScriptedDays) -> None:
    days.run(SUNDAY, {A: answer(A, enumeration_type="SUNDAY")})
    late = days.run(TUESDAY, {A: answer(A, enumeration_type="TUESDAY")})
    assert days.lines("provider_changes", late)[0].startswith(
        "changes of 2026-11-24 against 2026-11-22, 2 days before (those between are not complete): "
    )
    told = latest(days, TUESDAY)
    assert (told["compared_with"], told["days_apart"]) == ("2026-11-22", 2)

    filled = days.run(DAY, {A: answer(A, enumeration_type="MONDAY")})
    own, anew = days.lines("provider_changes", filled)
    assert own.startswith("changes of 2026-11-23 against 2026-11-22: ")
    assert "found anew" in anew
    assert "changes of 2026-11-24 against 2026-11-23: " in anew
    told = latest(days, TUESDAY)
    assert (told["compared_with"], told["days_apart"]) == ("2026-11-23", 1)
    expected = [(A, "field", "enumeration_type", "MONDAY", "TUESDAY")]
    assert rows(days, TUESDAY) == cells(told["preview"]) == expected


def test_a_day_that_is_published_but_was_recorded_anew_and_failed_is_passed_over_with_what_to_do(
    days: ScriptedDays,
) -> None:
    days.run(SUNDAY, {A: answer(A, enumeration_type="SUNDAY")})
    days.run(DAY, {A: answer(A, enumeration_type="MONDAY")})
    forbidden = {A: answer(A, enumeration_type="MONDAY"), B: 403}
    days.run(DAY, forbidden, succeeds=False)
    of_tuesday = {A: answer(A, enumeration_type="TUESDAY"), B: answer(B)}
    run = days.run(TUESDAY, of_tuesday)
    (line,) = days.lines("provider_changes", run)
    assert line.startswith("changes of 2026-11-24 against 2026-11-22, 2 days before ")
    remark = "skipped, since recorded anew but not published anew: 2026-11-23; run it again, then these are found anew"
    assert line.endswith(f"; {remark}")
    line = "2026-11-23 was recorded anew but not published anew: run it again, to its end"
    assert latest(days, TUESDAY)["skipped"] == line
    assert rows(days, TUESDAY) == [
        (A, "field", "enumeration_type", "SUNDAY", "TUESDAY"),
        (B, "joined", "outcome", "", "found"),
    ]

    days.run(DAY, {A: answer(A, enumeration_type="MONDAY")})
    assert "skipped" not in latest(days, TUESDAY)
    assert rows(days, TUESDAY) == [
        (A, "field", "enumeration_type", "MONDAY", "TUESDAY"),
        (B, "joined", "outcome", "", "found"),
    ]


def test_an_unchanged_day_has_no_tables_and_a_file_of_a_header(days: ScriptedDays) -> None:
    days.run(SUNDAY, {A: answer(A)})
    days.run(DAY, {A: answer(A)})
    told = latest(days, DAY)
    assert told.keys().isdisjoint({"outcome_changes", "fields_changed_most", "preview"})
    assert Path(told["where"]).read_bytes() == b"npi,change,field,old,new\n"
