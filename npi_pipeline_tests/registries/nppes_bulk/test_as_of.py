"""Each day has the world of its date: what the snapshot of a day holds is what the API would have answered then."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from npi_pipeline.registries.nppes_bulk.bodies import record_bodies
from npi_pipeline.registries.nppes_bulk.snapshot import prepare_snapshot, slices
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.bulk import Country, write_deactivations, write_monthly, write_weekly
from npi_pipeline.testing.providers import answer_of
from npi_pipeline_tests.bulk_and_api import as_in_bulk, differing, read

COUNTRY = Country(size=400, seed=3, start=dt.date(2026, 7, 12))
DAYS = 62


@pytest.mark.long
def test_days_of_three_monthly_and_eight_weekly_files_each_hold_the_truth_of_their_date(tmp_path):
    files, root = tmp_path / "files", open_data_root(str(tmp_path / "root"))
    files.mkdir()
    for week in (0, 4, 8):
        write_monthly(COUNTRY, files, week)
    for week in range(1, 9):
        write_weekly(COUNTRY, files, week)
    write_deactivations(COUNTRY, files, 4)
    seen: dict[str, int] = {}
    for day in (COUNTRY.start + dt.timedelta(days=days) for days in range(0, DAYS, 2)):
        week = min((day - COUNTRY.start).days // 7, 8)
        snapshot = prepare_snapshot(root, day, str(files))
        assert (snapshot.as_of, snapshot.missing) == (COUNTRY.sunday(week), ())
        if snapshot.identity not in seen:
            seen[snapshot.identity] = week
            assert_truth(pl.concat(slices(root, snapshot)), week)
        assert seen[snapshot.identity] == week
    assert list(seen.values()) == list(range(9))


def assert_truth(rows: pl.DataFrame, week: int) -> None:
    truth = {npi: COUNTRY.state(npi, week) for npi in sorted(COUNTRY.npis())}
    gone = rows.filter(pl.col("deactivated_on").is_not_null())
    assert dict(zip(gone["npi"].cast(pl.String), gone["deactivated_on"], strict=True)) == {
        npi: state for npi, state in truth.items() if isinstance(state, dt.date)
    }
    found = rows.filter(pl.col("number").is_not_null())
    records = {npi: state for npi, state in truth.items() if isinstance(state, dict)}
    assert found["number"].to_list() == list(records)
    told = [answer_of(record).decode() for record in records.values()]
    assert not differing(read(record_bodies(found).to_list()), as_in_bulk(read(told)))
