"""The made-up dissemination files: what is read from them is what the emulated registry answers."""

from __future__ import annotations

import datetime as dt
import io
import json
import zipfile
from pathlib import Path

import polars as pl
import pytest

from npi_pipeline.registries.nppes_api import NPPES
from npi_pipeline.registries.nppes_bulk.bodies import record_bodies
from npi_pipeline.registries.nppes_bulk.child_files import child_items_of, with_child_items
from npi_pipeline.registries.nppes_bulk.columns import child_columns, main_columns
from npi_pipeline.registries.nppes_bulk.records import CAPITALS_IN_BULK, DASHES_IN_API, NOT_IN_BULK, records_of
from npi_pipeline.registries.nppes_bulk.store_schema import LISTS
from npi_pipeline.testing.bulk import (
    CHANGED_SHARE,
    FIRST_DAY,
    Country,
    Event,
    answer_on,
    rows_of,
    write_deactivations,
    write_file,
    write_monthly,
    write_weekly,
)
from npi_pipeline.testing.providers import answer, npi_numbers
from npi_pipeline_tests.bulk_and_api import as_in_bulk, differing, read
from npi_pipeline_tests.flattened import RESPONSES

COUNTRY = Country(size=3_000, seed=5)


def csvs(path: Path) -> dict[str, pl.DataFrame]:
    """The CSVs of a zip by the kind of file that their names begin with."""
    with zipfile.ZipFile(path) as archive:
        return {
            name.partition("_")[0]: pl.read_csv(archive.read(name), infer_schema=False)
            for name in archive.namelist()
            if "fileheader" not in name
        }


def records_in(path: Path) -> pl.DataFrame:
    files = csvs(path)
    main = files.pop("npidata")
    items = {kind: child_items_of(kind, rows, child_columns(kind, rows.columns, kind)) for kind, rows in files.items()}
    return with_child_items(records_of(main, main_columns(main.columns, path.name)), items)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return records_in(write_monthly(COUNTRY, tmp_path_factory.mktemp("country")))


def test_every_cell_of_the_bulk_files_is_that_of_the_api_but_for_what_is_said_to_differ(kept):
    found = kept.filter(pl.col("number").is_not_null())
    answers = [answer(npi, COUNTRY.seed).decode() for npi in found["number"]]
    of_api, of_bulk = read(answers), read(record_bodies(found).to_list())
    assert of_bulk.height > 0.9 * COUNTRY.size
    assert not differing(of_bulk, as_in_bulk(of_api))
    # What is excepted is not more than it needs to be.
    assert {name for name in of_api.columns if not of_api[name].equals(of_bulk[name])} <= {
        name.partition("[*]")[0] for name in (*NOT_IN_BULK, *DASHES_IN_API, *CAPITALS_IN_BULK)
    }


def test_a_real_answer_of_today_is_the_same_cells_when_it_is_written_as_cms_writes_it_and_read(tmp_path):
    bodies = {path.stem: path.read_text() for path in sorted(RESPONSES.glob("*.json"))}
    real = {npi: json.loads(body)["results"][0] for npi, body in bodies.items()}
    today = [npi for npi, told in real.items() if isinstance(told["number"], str) and "gender" not in told["basic"]]
    rows = (rows_of(npi, real[npi]) for npi in today)
    found = records_in(write_file(tmp_path / "real.zip", FIRST_DAY, COUNTRY.start, rows))
    assert found["number"].to_list() == today
    assert len(today) > 100
    assert not differing(read(record_bodies(found).to_list()), as_in_bulk(read([bodies[npi] for npi in today])))


def test_the_made_up_providers_hold_every_list_and_each_kind_of_outcome(kept):
    filled = {name for name in LISTS if kept[name].count()}
    assert filled == LISTS.keys() - {"other_addresses"}
    assert 0 < kept["deactivated_on"].count() < 0.03 * COUNTRY.size
    assert kept["problem"].count() == 0
    assert 0 < COUNTRY.size - kept.height < 0.04 * COUNTRY.size


def test_weekly_files_on_top_of_the_monthly_one_are_the_api_of_that_week(tmp_path):
    country = Country(size=400, seed=2)
    world = {row["npi"]: row for row in records_in(write_monthly(country, tmp_path)).iter_rows(named=True)}
    seen = 0
    for week in (1, 2, 3):
        weekly = records_in(write_weekly(country, tmp_path, week))
        seen += weekly.height
        world |= {row["npi"]: row for row in weekly.iter_rows(named=True)}
        rows = pl.DataFrame([world[npi] for npi in sorted(world)], schema=weekly.schema)
        truth = {npi: answer_on(country, npi, week) for npi in sorted(country.npis())}
        outcomes = {npi: NPPES.judge(npi, body).outcome.value for npi, body in truth.items()}
        assert {npi for npi, outcome in outcomes.items() if outcome != "not_found"} == {str(npi) for npi in world}
        gone = rows.filter(pl.col("deactivated_on").is_not_null())["npi"].cast(pl.String)
        assert {npi for npi, outcome in outcomes.items() if outcome == "deactivated"} == set(gone)
        found = [truth[npi].decode() for npi, outcome in outcomes.items() if outcome == "found"]
        assert not differing(read(record_bodies(rows).drop_nulls().to_list()), as_in_bulk(read(found)))
    assert 0 < seen < 10 * CHANGED_SHARE * 3 * country.size


def test_events_may_be_given_and_then_there_may_be_no_others(tmp_path):
    moved, gone, back, new = (
        next(npi for npi in npi_numbers(1_000) if NPPES.judge(npi, answer(npi)).outcome == outcome and npi not in seen)
        for seen, outcome in (((), "found"), ({next(npi_numbers(1))}, "found"), ((), "deactivated"), ((), "not_found"))
    )
    events = {
        (moved, 1): Event.changed,
        (gone, 1): Event.deactivated,
        (back, 1): Event.reactivated,
        (new, 1): Event.enumerated,
        (gone, 2): Event.reactivated,
    }
    country = Country(size=1_000, events=events, quiet=True)
    first = {row["npi"]: row for row in records_in(write_weekly(country, tmp_path, 1)).iter_rows(named=True)}
    assert first.keys() == {int(npi) for npi in (moved, gone, back, new)}
    assert first[int(gone)]["deactivated_on"] > country.start
    assert first[int(back)]["basic.deactivation_date"] < first[int(back)]["basic.reactivation_date"]
    assert first[int(new)]["basic.enumeration_date"] > country.start
    assert first[int(moved)]["basic.last_updated"] > country.start
    second = records_in(write_weekly(country, tmp_path, 2)).row(0, named=True)
    assert second["npi"] == int(gone)
    assert second["basic.deactivation_date"] == first[int(gone)]["deactivated_on"]
    impossible = Country(size=1_000, events={(back, 1): Event.changed})
    with pytest.raises(ValueError, match=f"{back} cannot be changed in week 1"):
        impossible.state(back, 1)


def test_files_are_named_as_cms_names_them_and_the_same_every_time(tmp_path):
    country = Country(size=20, start=dt.date(2026, 8, 9))
    with zipfile.ZipFile(write_monthly(country, tmp_path)) as monthly:
        assert monthly.filename == str(tmp_path / "NPPES_Data_Dissemination_August_2026_V2.zip")
        names = [f"{kind}_pfile_20050523-20260809" for kind in ("npidata", "othername", "pl", "endpoint")]
        assert set(monthly.namelist()) == {f"{name}{end}.csv" for name in names for end in ("", "_fileheader")}
        contents = {name: monthly.read(name) for name in monthly.namelist()}
    for name in names:
        header = contents[f"{name}_fileheader.csv"]
        assert contents[f"{name}.csv"].startswith(header)
        assert header.startswith(b'"NPI","')
    weekly = write_weekly(country, tmp_path, 2)
    assert weekly.name == "NPPES_Data_Dissemination_081726_082326_Weekly_V2.zip"
    assert "npidata_pfile_20260817-20260823.csv" in zipfile.ZipFile(weekly).namelist()
    with zipfile.ZipFile(write_monthly(country, tmp_path)) as again:
        assert {name: again.read(name) for name in again.namelist()} == contents
    with pytest.raises(ValueError, match="2026-08-10 is no Sunday"):
        Country(size=20, start=dt.date(2026, 8, 10))


def test_the_deactivation_report_is_a_sheet_of_who_is_out_of_service(tmp_path):
    country = Country(size=500)
    path = write_deactivations(country, tmp_path)
    assert path.name == "NPPES_Deactivated_NPI_Report_080926_V2.zip"
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        assert name == "NPPES Deactivated NPI Report 20260809.xlsx"
        sheet = zipfile.ZipFile(io.BytesIO(archive.read(name))).read("xl/worksheets/sheet1.xml").decode()
    states = {npi: country.state(npi) for npi in country.npis()}
    gone = {npi: state for npi, state in states.items() if isinstance(state, dt.date)}
    assert gone
    assert sheet.count("<row>") == len(gone) + 2
    assert all(f'<t>{npi}</t></is></c><c t="inlineStr"><is><t>{day:%m/%d/%Y}<' in sheet for npi, day in gone.items())


def test_copies_are_the_same_rows_under_other_npis(tmp_path):
    country = Country(size=30)
    files = csvs(write_monthly(country, tmp_path, copies=10))
    npis = list(country.npis())
    assert files["npidata"]["NPI"].to_list() == [
        npi
        for place, npi in enumerate(npis)
        if NPPES.judge(npi, answer(npis[place - place % 10])).outcome != "not_found"
    ]
    assert files["npidata"].drop("NPI").unique().height <= 3
