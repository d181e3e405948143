"""The tables of days as a notebook or a downstream project reads them, from either kind of data root."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import polars as pl
import pytest

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.outcomes import Outcome
from npi_pipeline.scans import (
    CHANGE_SCHEMA,
    OUTCOME_SCHEMA,
    provider_schema,
    scan_changes,
    scan_outcomes,
    scan_providers,
)
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import complete
from npi_pipeline_tests.flattened import nppes_body, taxonomy

A, B, C = "1000000004", "1000000012", "1000000020"
MONDAY, TUESDAY, WEDNESDAY = (dt.date(2026, 11, day) for day in (23, 24, 25))
DAY = pl.Schema({"day": pl.Date()})


@pytest.fixture
def days(root: DataRoot) -> DataRoot:
    """Monday and Wednesday, of which Wednesday's lists are wider; Tuesday is not there."""
    complete(root, MONDAY, {A: nppes_body(A), B: Outcome.not_found})
    wide = nppes_body(A, taxonomies=[taxonomy("one"), taxonomy("two"), taxonomy("three")])
    complete(root, WEDNESDAY, {A: wide, B: nppes_body(B), C: Outcome.failed})
    for day in (MONDAY, WEDNESDAY):
        find_changes(root, day, FileSettings())
    return root


def test_a_day_of_providers_has_the_declared_schema_its_day_and_lists_that_can_be_exploded(
    days: DataRoot, data_root: str
) -> None:
    providers = scan_providers(data_root, WEDNESDAY)
    assert providers.collect_schema() == pl.Schema(dict(DAY) | dict(provider_schema()))
    codes = (
        providers.filter(npi=A)
        .select("day", "npi", "taxonomies")
        .explode("taxonomies")
        .unnest("taxonomies")
        .select("day", "code")
        .collect()
    )
    assert codes.rows() == [(WEDNESDAY, "one"), (WEDNESDAY, "two"), (WEDNESDAY, "three")]


def test_a_range_has_the_days_that_are_there_and_several_days_must_all_be_there(days: DataRoot, data_root: str) -> None:
    of_range = scan_providers(data_root, (MONDAY, WEDNESDAY)).select("day", "npi").collect()
    assert of_range.rows() == [(MONDAY, A), (WEDNESDAY, A), (WEDNESDAY, B)]
    assert scan_providers(days, ["2026-11-25", MONDAY]).select("day", "npi").collect().equals(of_range)
    for scan in (scan_providers, scan_outcomes, scan_changes):
        with pytest.raises(FileNotFoundError):
            scan(data_root, [MONDAY, TUESDAY])
        with pytest.raises(FileNotFoundError):
            scan(data_root, (TUESDAY, TUESDAY))


def test_the_days_of_a_range_that_are_not_there_are_named_in_one_warning(
    days: DataRoot, caplog: pytest.LogCaptureFixture
) -> None:
    scan_providers(days, (MONDAY, MONDAY))
    scan_providers(days, [MONDAY, WEDNESDAY])
    assert caplog.messages == []
    scan_providers(days, (MONDAY, WEDNESDAY))
    assert caplog.messages == ["1 of 3 days are not there and left out: 2026-11-24"]


def test_a_table_that_is_made_anew_while_it_is_collected_never_gives_old_rows_with_new_ones(
    days: DataRoot, data_root: str
) -> None:
    before = scan_providers(data_root, MONDAY).select("npi", "enumeration_type")
    complete(days, MONDAY, {A: nppes_body(A, enumeration_type="NPI-2"), B: Outcome.not_found})
    with pytest.raises((FileNotFoundError, OSError)):
        before.collect()
    assert scan_providers(data_root, MONDAY).select("enumeration_type").collect().rows() == [("NPI-2",)]


def test_days_that_are_no_days_are_refused(root: DataRoot) -> None:
    with pytest.raises(ValueError, match="the first is the later one"):
        scan_providers(root, (WEDNESDAY, MONDAY))
    with pytest.raises(ValueError, match="give 3 days as a list"):
        scan_providers(root, (MONDAY, TUESDAY, WEDNESDAY))
    with pytest.raises(ValueError, match="no day was asked for"):
        scan_providers(root, [])


def test_outcomes_are_one_row_per_npi_and_day_whatever_became_of_it(days: DataRoot, data_root: str) -> None:
    outcomes = scan_outcomes(data_root, (MONDAY, WEDNESDAY))
    assert outcomes.collect_schema() == pl.Schema(dict(DAY) | dict(OUTCOME_SCHEMA))
    assert outcomes.select("day", "npi", "outcome").sort("day", "npi").collect().rows() == [
        (MONDAY, A, "found"),
        (MONDAY, B, "not_found"),
        (WEDNESDAY, A, "found"),
        (WEDNESDAY, B, "found"),
        (WEDNESDAY, C, "failed"),
    ]


def test_changes_say_what_they_are_compared_with_and_a_first_day_has_none(days: DataRoot, data_root: str) -> None:
    assert scan_changes(data_root, MONDAY).collect().schema == pl.Schema(dict(DAY) | dict(CHANGE_SCHEMA))
    assert scan_changes(data_root, MONDAY).collect().is_empty()
    changes = scan_changes(data_root, (MONDAY, WEDNESDAY)).filter(pl.col("change") != "field").collect()
    assert changes.rows() == [
        (WEDNESDAY, B, "outcome", "outcome", "not_found", "found", MONDAY),
        (WEDNESDAY, C, "joined", "outcome", "", "failed", MONDAY),
    ]


def test_a_day_without_any_found_provider_has_the_same_columns(root: DataRoot) -> None:
    complete(root, MONDAY, {A: Outcome.not_found})
    assert scan_providers(root, MONDAY).collect().schema == pl.Schema(dict(DAY) | dict(provider_schema()))


def test_days_without_a_declared_schema_scan_as_one_with_the_columns_of_all(root: DataRoot) -> None:
    complete(root, MONDAY, {A: '{"beds": 3}', B: '{"other": 1}'}, format_name="affiliated_practices")
    complete(root, TUESDAY, {A: '{"beds": "some", "open": true}'}, format_name="affiliated_practices")
    providers = scan_providers(root, (MONDAY, TUESDAY)).collect()
    assert providers.select("day", "beds", "open").rows() == [
        (MONDAY, "3", None),
        (MONDAY, None, None),
        (TUESDAY, "some", "true"),
    ]
    assert scan_providers(root, MONDAY).collect_schema()["fetched_on"] == pl.Date


def test_the_kept_tables_of_many_days_are_one_table_for_other_tools(tmp_path: Path) -> None:
    root = tmp_path / "npi-data"
    for day in (MONDAY, WEDNESDAY):
        complete(LocalRoot(root), day, {A: nppes_body(A)})
    parts = f"{root}/provider_table/day=*/*.parquet"
    hive = pl.scan_parquet(parts, hive_partitioning=True).select("day", "npi").collect()
    assert hive.rows() == [(MONDAY, A), (WEDNESDAY, A)]
    found = duckdb.sql(
        f"select day, npi from read_parquet('{parts}', hive_partitioning = true) order by day"
    ).fetchall()
    assert found == hive.rows()
