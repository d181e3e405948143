"""The provider table: its parts, and what is said about it as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import polars as pl
import pytest

from npi_pipeline.journal import JournalDamagedError
from npi_pipeline.providers.answers import UnreadableAnswerError
from npi_pipeline.providers.provider_table import ProviderTable, write_provider_table
from npi_pipeline.registries import FORMATS
from npi_pipeline_tests.flattened import address, day, found, journal, nppes_body, real_bodies, taxonomy

NPPES = FORMATS["nppes"].layout
A, B, C = "1000000004", "1000000012", "1000000020"


def test_there_is_one_row_for_each_found_npi_in_the_order_of_npis(tmp_path: Path) -> None:
    bodies = real_bodies()
    others = [
        ("1999999984", "not_found", "unknown", '{"result_count":0,"results":[]}'),
        ("12", "invalid", "short", None),
    ]
    one = day(tmp_path, [*found(bodies), *others], cuts=[1, 50, 51])
    npis = pl.concat([pl.read_parquet(part, columns=["npi"]) for part in one.parts])["npi"].to_list()
    assert npis == sorted(bodies)
    assert one.table.rows == len(bodies)


def test_all_parts_of_a_declared_format_have_one_schema_however_wide_their_lists_are(tmp_path: Path) -> None:
    bodies = {A: nppes_body(A, taxonomies=[]), B: nppes_body(B, taxonomies=[taxonomy(str(n)) for n in range(15)])}
    one = day(tmp_path, found(bodies), cuts=[1])
    frame = pl.read_parquet(tmp_path / "table")
    assert frame["taxonomies"].list.len().to_list() == [None, 15]
    assert frame["basic.enumeration_date"].dtype == pl.Date
    assert frame["created_epoch"].dtype == pl.Int64
    assert frame["taxonomies"].explode().struct.field("primary").dtype == pl.Boolean
    assert one.table.widths == {
        "taxonomies": 15,
        "identifiers": 0,
        "other_names": 0,
        "practiceLocations": 0,
        "endpoints": 0,
        "other_addresses": 0,
    }


def test_every_declared_column_is_described(tmp_path: Path) -> None:
    table = day(tmp_path, found(real_bodies())).table
    assert all(column.description.endswith(".") for column in table.columns if column.name != "unknown_fields")
    assert len({column.name for column in table.columns}) == len(table.columns)


def test_the_summary_counts_records_by_state_as_the_files_do(tmp_path: Path) -> None:
    bodies = {
        A: nppes_body(A, addresses=[address("LOCATION", "California"), address("MAILING", "TX")]),
        B: nppes_body(B, practiceLocations=[address("LOCATION", "NV"), address("LOCATION", "ca")]),
        C: nppes_body(C, addresses=[address("LOCATION", "GEORGIA", country_code="GE", address_type="FGN")]),
    }
    one = day(tmp_path, found(bodies))
    assert {file.state: file.rows for file in one.written} == {"CA": 2, "NV": 1, "None": 1, "Failed": 0}
    assert [(n.what, n.records, n.examples) for n in one.table.unrecognised_states] == [("GEORGIA (GE)", 1, (C,))]
    frame = pl.read_parquet(tmp_path / "table")
    assert frame["states"].to_list() == [["CA"], ["CA", "NV"], None]
    assert frame["unrecognised_states"].to_list() == [None, None, ["GEORGIA (GE)"]]


def test_what_is_noticed_is_bounded_whatever_the_registry_sends(tmp_path: Path) -> None:
    bodies = {A: nppes_body(A, **{f"key {number}": number for number in range(3000)})}
    noticed = day(tmp_path, found(bodies)).table.unknown_fields
    assert len(noticed) == 1001
    assert (noticed[0].what, noticed[0].records) == ("(others)", 2000)


def test_the_summary_survives_being_written_and_is_the_same_each_time(tmp_path: Path) -> None:
    bodies = {A: nppes_body(A, strange=1), B: nppes_body(B)}
    table = day(tmp_path / "1", found(bodies)).table
    content = msgspec.json.encode(table)
    assert msgspec.json.decode(content, type=ProviderTable) == table
    assert msgspec.json.encode(day(tmp_path / "2", found(bodies), cuts=[1]).table) == content
    assert json.loads(content)["columns"][0]["type"] == "string"


def test_a_day_without_a_found_npi_has_a_table_without_parts(tmp_path: Path) -> None:
    one = day(tmp_path, [(A, "not_found", "unknown", None)])
    assert (one.parts, one.table.rows) == ([], 0)
    assert one.rows("None") == []
    assert [row["npi"] for row in one.rows("Failed")] == [A]


@pytest.mark.parametrize("npis", [[B, A], [A, A]])
def test_a_journal_out_of_order_is_refused(tmp_path: Path, npis: list[str]) -> None:
    frames = [frame for npi in npis for frame in journal(found({npi: nppes_body(npi)}))]
    with pytest.raises(JournalDamagedError, match="out of order at NPI"):
        write_provider_table(lambda: frames, NPPES, tmp_path)
    with pytest.raises(JournalDamagedError, match="out of order at NPI"):
        write_provider_table(lambda: [pl.concat(frames)], NPPES, tmp_path)


@pytest.mark.parametrize("body", ["{", '{"result_count":0,"results":[]}', "[]", "null", '{"results":[7]}', None])
def test_a_body_that_was_never_found_is_refused_with_the_npis_it_is_among(tmp_path: Path, body: str | None) -> None:
    with pytest.raises(UnreadableAnswerError, match=f"between NPIs {A} and {A}.*materialise npi_records"):
        write_provider_table(lambda: journal([(A, "found", None, body)]), NPPES, tmp_path)


def test_a_width_for_a_list_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no list is called taxonomy: a width can be given to taxonomies, identifiers"):
        write_provider_table(list, NPPES, tmp_path, list_widths={"taxonomy": 3})
