"""The registry as of a day: rows of several prepared files, of which the later one wins."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.columns import CHILD_COLUMNS
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot, load_snapshot, prepare_snapshot, rows_for, slices
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.registries.nppes_bulk.made_files import (
    csv_of,
    deactivated,
    make_monthly,
    make_report,
    make_weekly,
    person,
    practice_location,
)

_AUGUST = dt.date(2026, 8, 9)
_WEEK = dt.timedelta(days=7)
_CHANGED, _KEPT, _OUT, _NEW, _BACK = 1000000004, 1000000012, 1000000020, 1000000038, 1000000046


@pytest.fixture
def local(tmp_path: Path) -> LocalRoot:
    return LocalRoot(tmp_path / "root")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A month, a report of the day after it and two weeks."""
    folder = tmp_path / "files"
    main = csv_of(
        [person(_KEPT, city="ROME"), person(_OUT), deactivated(_BACK), person(_CHANGED, city="MACON")],
    )
    locations = [practice_location(_CHANGED, "FIRST"), practice_location(_CHANGED, "SECOND")]
    make_monthly(folder, _AUGUST, main, pl=csv_of(locations, CHILD_COLUMNS["pl"]))
    make_report(folder, _AUGUST + dt.timedelta(1), {_OUT: "08/10/2026", _BACK: "03/04/2020"})
    make_weekly(folder, _AUGUST + _WEEK, csv_of([person(_NEW), person(_CHANGED, city="PARIS"), person(_BACK)]))
    make_weekly(folder, _AUGUST + 2 * _WEEK, csv_of([person(_CHANGED, city="ATHENS")]))
    return folder


def _cities(rows: pl.DataFrame) -> dict[int, str | dt.date | None]:
    told = pl.coalesce(pl.col("location_address.city"), pl.col("deactivated_on").cast(pl.String))
    return dict(rows.select("npi", told).iter_rows())


def _all(root: DataRoot, snapshot: Snapshot, columns: list[str] | None = None) -> pl.DataFrame:
    return pl.concat(slices(root, snapshot, columns))


def test_the_later_file_wins_row_by_row_as_of_each_day(root: DataRoot, files: Path) -> None:
    before = {_CHANGED: "MACON", _KEPT: "ROME", _OUT: "ATLANTA", _BACK: "2020-03-04"}
    truths = {
        _AUGUST: before,
        _AUGUST + dt.timedelta(1): before | {_OUT: "2026-08-10"},
        _AUGUST + _WEEK: before | {_OUT: "2026-08-10", _NEW: "ATLANTA", _CHANGED: "PARIS", _BACK: "ATLANTA"},
        _AUGUST + 2 * _WEEK: before | {_OUT: "2026-08-10", _NEW: "ATLANTA", _CHANGED: "ATHENS", _BACK: "ATLANTA"},
    }
    for day, truth in truths.items():
        snapshot = prepare_snapshot(root, day, str(files))
        rows = _all(root, snapshot)

        assert _cities(rows) == truth, day
        assert rows["npi"].is_sorted()
        sought = pl.Series([999999999 + 1, *sorted(truth), 1999999984], dtype=pl.UInt32)
        (looked_up,) = rows_for(root, snapshot, sought)
        assert looked_up.equals(rows, null_equal=True), day


def test_each_row_says_which_file_it_is_from(local: LocalRoot, files: Path) -> None:
    snapshot = prepare_snapshot(local, dt.date(2026, 9, 1), str(files))

    rows = _all(local, snapshot, [])

    names = dict(zip(rows["npi"], (snapshot.files[number].name for number in rows["file"]), strict=True))
    assert names == {
        _CHANGED: "NPPES_Data_Dissemination_081726_082326_Weekly_V2.zip",
        _KEPT: "NPPES_Data_Dissemination_August_2026_V2.zip",
        _OUT: "NPPES_Deactivated_NPI_Report_081026_V2.zip",
        _NEW: "NPPES_Data_Dissemination_081026_081626_Weekly_V2.zip",
        _BACK: "NPPES_Data_Dissemination_081026_081626_Weekly_V2.zip",
    }
    assert rows.columns == ["npi", "file"]


def test_a_hash_tells_rows_that_differ_from_those_that_do_not(local: LocalRoot, files: Path) -> None:
    first, second = (
        dict(_all(local, prepare_snapshot(local, day, str(files)), ["digest"]).select("npi", "digest").iter_rows())
        for day in (_AUGUST, _AUGUST + _WEEK)
    )

    differ = {npi for npi in first | second if first.get(npi) != second.get(npi)}
    assert differ == {_CHANGED, _NEW, _BACK, _OUT}


def test_a_record_has_the_items_of_its_own_file_in_their_order(local: LocalRoot, files: Path) -> None:
    month, week = (
        next(rows_for(local, prepare_snapshot(local, day, str(files)), pl.Series([_CHANGED])))
        for day in (_AUGUST, _AUGUST + _WEEK)
    )

    assert [item["city"] for item in month["practiceLocations"].item()] == ["FIRST", "SECOND"]
    assert week["practiceLocations"].item() is None


def test_a_snapshot_is_found_by_its_identity(local: LocalRoot, files: Path) -> None:
    one, other = (prepare_snapshot(local, day, str(files)) for day in (_AUGUST, _AUGUST + _WEEK))

    assert load_snapshot(local, one.identity) == one
    assert load_snapshot(local, other.identity) == other
    assert one.identity.startswith("nppes_bulk 2026-08-09 ")
    with pytest.raises(BulkFileError, match=r"registry_snapshots/0000\.json is not there: materialise"):
        load_snapshot(local, "nppes_bulk 2026-08-09 0000")


def test_many_rows_come_in_slices_and_each_npi_once(
    local: LocalRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("snapshot.SLICE_ROWS", "prepared.PART_ROWS", "finish_ranges.PART_ROWS"):
        monkeypatch.setattr(f"npi_pipeline.registries.nppes_bulk.{name}", 10)
    npis = [1000000000 + 7 * number for number in range(95)]
    weekly = [*npis[3:90:9], 1000000001, 1999999999]
    make_monthly(tmp_path, _AUGUST, csv_of(person(npi, city="OLD") for npi in reversed(npis)))
    make_weekly(tmp_path, _AUGUST + _WEEK, csv_of(person(npi, city="NEW") for npi in weekly))
    truth = dict.fromkeys(npis, "OLD") | dict.fromkeys(weekly, "NEW")
    snapshot = prepare_snapshot(local, dt.date(2026, 9, 1), str(tmp_path))

    parts = list(slices(local, snapshot))
    assert len(parts) == 10
    assert _cities(pl.concat(parts)) == truth
    assert pl.concat(parts)["npi"].to_list() == sorted(truth)
    for step in (1, 2, 30):
        sought = sorted(truth)[::step]
        found = pl.concat(rows_for(local, snapshot, pl.Series(sought, dtype=pl.UInt32)))
        assert found["npi"].to_list() == sought
        assert _cities(found) == {npi: truth[npi] for npi in sought}


def test_years_of_weekly_files_make_a_snapshot_like_any_other(local: LocalRoot, files: Path) -> None:
    month, *_, last = prepare_snapshot(local, dt.date(2026, 9, 1), str(files)).files
    snapshot = Snapshot((month,) * 300 + (last,), last.date, (), "nppes_bulk of years")

    rows = _all(local, snapshot, ["location_address.city"])

    found = pl.concat(rows_for(local, snapshot, rows["npi"], ["location_address.city"]))
    assert found.equals(rows)
    assert dict(rows.select("npi", "file").iter_rows())[_CHANGED] == 300


def test_an_npi_that_is_in_no_file_has_no_row(local: LocalRoot, files: Path) -> None:
    snapshot = prepare_snapshot(local, _AUGUST, str(files))

    assert list(rows_for(local, snapshot, pl.Series([1999999984], dtype=pl.UInt32))) == []
    assert list(rows_for(local, snapshot, pl.Series([], dtype=pl.UInt32))) == []


def test_a_column_that_no_snapshot_has_is_refused(local: LocalRoot, files: Path) -> None:
    with pytest.raises(ValueError, match="no column 'colour'"):
        next(slices(local, prepare_snapshot(local, _AUGUST, str(files)), ["colour"]))
