"""The state files: bytes on disk, read back with the csv module."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import tracemalloc
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npi_pipeline.providers.kept_table import TableError
from npi_pipeline.providers.provider_table import write_provider_table
from npi_pipeline.registries import FORMATS
from npi_pipeline.state_files.csv_injection import escape_formulas, unescape_formulas
from npi_pipeline.state_files.write_state_files import write_state_files
from npi_pipeline_tests.flattened import (
    Outcome,
    address,
    day,
    found,
    journal,
    nppes_body,
    real_bodies,
    taxonomy,
)

A, B, C = "1000000004", "1000000012", "1000000020"
FAILED: list[Outcome] = [
    ("1000000038", "not_found", "the registry does not know this NPI", '{"result_count":0,"results":[]}'),
    ("1669463816", "deactivated", "CMS deactivated NPI 1669463816.", '{"Errors":[]}'),
    ("123", "invalid", "not ten digits", None),
    ("1999999992", "failed", 'status 503, "busy"', None),
]


def test_a_small_day_byte_for_byte(tmp_path: Path) -> None:
    bodies = {
        A: '{"active": true, "affiliatedPractices": {"items": [{"name": "A, \\"B\\"", "address": {"state": "CA"}}]}}',
        B: '{"affiliatedPractices": {"items": [{"address": {"state": "nv"}}, {"address": {"state": "CA"}}]},'
        ' "n": -1.50}',
        C: '{"affiliatedPractices": {"items": []}, "active": false}',
    }
    one = day(tmp_path, [*found(bodies), *FAILED], format_name="affiliated_practices")
    header = (
        b"npi,outcome,reason,fetched_on,active,affiliatedPractices.items,n,"
        b"affiliatedPractices.items[0].address.state,affiliatedPractices.items[0].name,"
        b"affiliatedPractices.items[1].address.state,unknown_fields\n"
    )
    both = b"1000000012,found,,2026-11-23,,,-1.50,nv,,CA,\n"
    assert one.files == {
        "CA": header + b'1000000004,found,,2026-11-23,true,,,CA,"A, ""B""",,\n' + both,
        "NV": header + both,
        "None": header + b"1000000020,found,,2026-11-23,false,[],,,,,\n",
        "Failed": header
        + b"1000000038,not_found,the registry does not know this NPI,2026-11-23,,,,,,,\n"
        + b"123,invalid,not ten digits,2026-11-23,,,,,,,\n"
        + b"1669463816,deactivated,CMS deactivated NPI 1669463816.,2026-11-23,,,,,,,\n"
        + b'1999999992,failed,"status 503, ""busy""",2026-11-23,,,,,,,\n',
    }


def test_all_files_of_a_day_have_one_header_and_no_row_is_ragged(tmp_path: Path) -> None:
    one = day(tmp_path, [*found(real_bodies()), *FAILED])
    headers = {content.split(b"\n")[0] for content in one.files.values()}
    assert headers == {",".join(column.name for column in one.table.columns).encode()}
    for content in one.files.values():
        rows = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
        assert {len(row) for row in rows} == {len(one.table.columns)}
        npis = [row[0] for row in rows[1:]]
        assert npis == sorted(set(npis))
        assert b"\r" not in content
        assert content.endswith(b"\n")
        assert not content.startswith(b"\xef\xbb\xbf")


def test_every_npi_is_in_the_files_and_none_is_on_both_sides(tmp_path: Path) -> None:
    one = day(tmp_path, [*found(real_bodies()), *FAILED])
    failed = {row["npi"] for row in one.rows("Failed")}
    of_states = {row["npi"] for state in one.files if state != "Failed" for row in one.rows(state)}
    assert failed == {npi for npi, *_ in FAILED}
    assert of_states == set(real_bodies())


def test_none_and_failed_are_there_when_they_are_empty_and_states_are_not(tmp_path: Path) -> None:
    one = day(tmp_path, found({A: nppes_body(A)}))
    assert sorted(one.files) == ["CA", "Failed", "None"]
    assert one.files["None"] == one.files["Failed"]
    assert one.files["None"].count(b"\n") == 1


def test_each_file_is_told_with_its_rows_size_and_hash(tmp_path: Path) -> None:
    one = day(tmp_path, [*found(real_bodies()), *FAILED])
    assert [file.state for file in one.written] == sorted(one.files)
    for file in one.written:
        content = one.files[file.state]
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.bytes == len(content)
        assert file.rows == len(one.rows(file.state))
        assert file.name == f"day_{file.state}.csv"


@pytest.mark.parametrize("seed", range(3))
def test_the_same_outcomes_give_the_same_bytes_however_the_journal_was_cut_and_gathered(
    tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    outcomes = [*found(real_bodies()), *FAILED]
    whole = day(tmp_path / "whole", outcomes)
    draw.shuffle(outcomes)
    cut = day(tmp_path / "cut", outcomes, cuts=draw.sample(range(len(outcomes)), 12))
    assert len(cut.parts) > len(whole.parts)
    assert cut.files == whole.files
    assert cut.written == whole.written


@pytest.mark.parametrize("state", ["../../x", "CA/../../x", "..\\x", "None", "Failed", "\0", "C" * 5000, "=cmd", "con"])
def test_state_text_from_outside_never_becomes_a_file_name(tmp_path: Path, state: str) -> None:
    body = nppes_body(A, addresses=[address("LOCATION", state), address("MAILING", "CA")])
    one = day(tmp_path / "in" / "here", found({A: body}))
    assert sorted(one.files) == ["Failed", "None"]
    assert [row["npi"] for row in one.rows("None")] == [A]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "--"]
FORMULAS += [f"{full_width}1" for full_width in "\uff1d\uff0b\uff0d\uff20"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_cell_that_a_spreadsheet_would_run_is_escaped_wherever_it_stands(tmp_path: Path, text: str) -> None:
    body = nppes_body(
        A, basic={"first_name": text, "last_name": f"x{text}"}, taxonomies=[taxonomy(text), taxonomy("X")]
    )
    one = day(tmp_path, [*found({A: body}), (B, "failed", text, None), (text, "invalid", "no NPI", None)])
    row = one.row(A)
    assert row["basic.first_name"] == f"'{text}"
    assert row["basic.last_name"] == f"x{text}"
    assert row["taxonomies[0].code"] == f"'{text}"
    assert row["taxonomies[1].code"] == "X"
    assert one.row(B)["reason"] == f"'{text}"
    assert one.row(f"'{text}")["outcome"] == "invalid"


@pytest.mark.parametrize("text", ["=1", "'=1", "''=1", "'", "''", "'a", "a"])
def test_a_cell_is_had_back_by_taking_one_quote_from_before_a_formula(text: str) -> None:
    rows = pl.DataFrame({"cell": [text]})
    escaped = escape_formulas(rows, ["cell"])
    assert unescape_formulas(escaped).equals(rows)
    assert escaped["cell"].to_list() == [f"'{text}" if "=" in text else text]


@pytest.mark.parametrize("text", [" =1", "1-1", "a@b.c", "", "'", "ä=", "−1"])  # noqa: RUF001
def test_other_cells_are_left_alone(tmp_path: Path, text: str) -> None:
    one = day(tmp_path, found({A: nppes_body(A, basic={"first_name": text})}))
    assert one.row(A)["basic.first_name"] == text


def test_negative_numbers_are_no_formulas(tmp_path: Path) -> None:
    body = nppes_body(A, created_epoch="-86400")
    assert day(tmp_path / "1", found({A: body})).row(A)["created_epoch"] == "-86400000"
    record = json.dumps({"affiliatedPractices": None, "x": -1.5, "y": "-1.5"})
    row = day(tmp_path / "2", found({A: record}), format_name="affiliated_practices").row(A)
    assert (row["x"], row["y"]) == ("-1.5", "'-1.5")


def test_formulas_stay_as_they_are_when_the_setting_says_so(tmp_path: Path) -> None:
    one = day(tmp_path, found({A: nppes_body(A, basic={"first_name": "=1"})}), escape_formulas=False)
    assert one.row(A)["basic.first_name"] == "=1"


def test_a_hostile_key_makes_no_formula_of_the_header(tmp_path: Path) -> None:
    body = json.dumps({"affiliatedPractices": None, "=cmd|' /C calc'!A0": 1, "\n@x": 2})
    header = next(
        csv.reader(
            io.StringIO(day(tmp_path, found({A: body}), format_name="affiliated_practices").files["None"].decode())
        )
    )
    assert not any(name[0] in "=+-@\t\r\n" for name in header)


def test_an_empty_text_is_quoted_and_a_missing_value_is_not(tmp_path: Path) -> None:
    one = day(tmp_path, found({A: nppes_body(A, basic={"first_name": "", "last_name": None})}))
    names = [column.name for column in one.table.columns]
    cells = one.files["CA"].split(b"\n")[1].split(b",")
    assert cells[names.index("basic.first_name")] == b'""'
    assert cells[names.index("basic.last_name")] == b""


NASTY = st.text(st.sampled_from("\",;\n\r\t'=x é\u2028\U0001f600"), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(NASTY, min_size=1, max_size=4), codes=st.lists(st.lists(NASTY, max_size=3), min_size=1, max_size=4)
)
def test_any_text_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], codes: list[list[str]]
) -> None:
    bodies = {}
    for number, (name, of_record) in enumerate(zip(names, codes, strict=False)):
        npi = str(1_000_000_000 + number)
        bodies[npi] = nppes_body(npi, basic={"first_name": name}, taxonomies=[taxonomy(code) for code in of_record])
    one = day(tmp_path_factory.mktemp("nasty"), found(bodies), escape_formulas=False)
    for row, name, of_record in zip(one.rows("CA"), names, codes, strict=False):
        assert row["basic.first_name"] == name
        assert [row[f"taxonomies[{place}].code"] for place in range(len(of_record))] == of_record


def test_a_very_wide_list_takes_memory_by_its_width_and_not_by_the_square_of_it(tmp_path: Path) -> None:
    wide = [taxonomy("A")] * 4000
    bodies = {A: nppes_body(A, taxonomies=wide), B: nppes_body(B, taxonomies=[]), C: nppes_body(C)}
    one = day(tmp_path, found(bodies), list_widths={"taxonomies": 4000})
    files = tmp_path / "again"
    files.mkdir()
    tracemalloc.start()
    try:
        write_state_files(one.table, one.parts, journal(found(bodies)), files, str)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 25_000_000
    assert [row["taxonomies[0].code"] for row in one.rows("CA")] == ["A", "", "207Q00000X"]


@pytest.mark.parametrize("name", ["None", "CA", "GU"])
def test_the_file_of_failed_npis_cannot_be_called_as_another_file(tmp_path: Path, name: str) -> None:
    table = write_provider_table(list, FORMATS["nppes"].layout, tmp_path)
    with pytest.raises(ValueError, match=f"cannot be called '{name}'"):
        write_state_files(table, [], [], tmp_path, str, failed_name=name)


def test_a_provider_table_with_a_part_missing_is_refused(tmp_path: Path) -> None:
    frames = journal(found(real_bodies()), cuts=[40, 80])
    table = write_provider_table(lambda: frames, FORMATS["nppes"].layout, tmp_path)
    parts = sorted(tmp_path.iterdir())
    (tmp_path / "files").mkdir()
    with pytest.raises(TableError, match="95 rows where 135 were written"):
        write_state_files(table, [parts[0], parts[2]], frames, tmp_path / "files", str)
