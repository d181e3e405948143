"""A format without a declared schema: whatever JSON comes is flattened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npi_pipeline.providers import inferred as undeclared
from npi_pipeline.providers import provider_table
from npi_pipeline.providers import rows as rows_module
from npi_pipeline.schema.columns import MAX_COLUMNS
from npi_pipeline_tests.flattened import Day, day, found

NPIS = [f"{number:010}" for number in range(1_000_000_000, 1_000_000_020)]
OWN = {"npi", "outcome", "reason", "fetched_on", "unknown_fields"}


def practices(*states: object, **more: object) -> dict[str, Any]:
    items = [{"name": f"P{number}", "address": {"state": state}} for number, state in enumerate(states)]
    return {"active": True, "affiliatedPractices": {"items": items}, **more}


def of_records(folder: Path, *records: object, **options: Any) -> Day:
    bodies = {
        npi: record if isinstance(record, str) else json.dumps(record)
        for npi, record in zip(NPIS, records, strict=False)
    }
    return day(folder, found(bodies), format_name="affiliated_practices", **options)


def header(one: Day) -> list[str]:
    return [column.name for column in one.table.columns]


def test_rows_with_other_keys_than_the_first_stand_under_their_own_columns(tmp_path: Path) -> None:
    """The script wrote them under the first record's header: columns shifted."""
    one = of_records(tmp_path, practices("CA", b=1, a=2), practices("CA", a=3), practices("CA", c=4, b=5))
    assert [(row["a"], row["b"], row["c"]) for row in one.rows("CA")] == [("2", "1", ""), ("3", "", ""), ("", "5", "4")]


@pytest.mark.parametrize(
    "record",
    [
        {"active": False, "affiliatedPractices": {"items": []}},
        {"active": False, "affiliatedPractices": {"items": None}},
        {"active": False, "affiliatedPractices": None},
        practices(None),
        practices(""),
        practices("../../x"),
        practices("GEORGIA (GE)"),
    ],
)
def test_a_provider_without_a_usable_state_is_in_the_file_none(tmp_path: Path, record: dict[str, Any]) -> None:
    """The script wrote an empty list of practices nowhere, and lost every NPI of a state it did not know."""
    one = of_records(tmp_path, record)
    assert one.states_of(NPIS[0]) == ["None"]
    assert sorted(one.files) == ["Failed", "None"]


def test_a_provider_is_in_the_file_of_each_state_once_and_others_are_counted(tmp_path: Path) -> None:
    one = of_records(tmp_path, practices("tx", "TX", "Puerto Rico", "Narnia"), practices("Narnia"))
    assert one.states_of(NPIS[0]) == ["PR", "TX"]
    assert len(one.rows("TX")) == 1
    assert one.states_of(NPIS[1]) == ["None"]
    assert [(n.what, n.records, n.examples) for n in one.table.unrecognised_states] == [("Narnia", 2, tuple(NPIS[:2]))]


def test_null_and_empty_lists_and_objects_are_told_apart(tmp_path: Path) -> None:
    one = of_records(tmp_path, *({"affiliatedPractices": None, "x": value} for value in (None, [], {}, "", 0)))
    assert [row["x"] for row in one.rows("None")] == ["", "[]", "{}", "", "0"]
    lines = one.files["None"].decode().splitlines()[1:]
    assert [line.split(",")[5] for line in lines] == ["", "[]", "{}", '""', "0"], (
        "null is empty, an empty text is quoted"
    )


def test_columns_are_typed_by_all_that_they_hold(tmp_path: Path) -> None:
    records = [
        practices("CA", b=True, i=1, f=1, m=1, s="x", n=None, big=12345678901234567890123),
        practices("CA", b=False, i=-2, f=0.50, m="y", s="z", n=None, big=1),
    ]
    one = of_records(tmp_path, records[0], json.dumps(records[1]).replace("0.5", "0.50"))
    types = {column.name: column.type.value for column in one.table.columns}
    assert {name: types[name] for name in "bifmsn"} == {
        "b": "bool",
        "i": "int",
        "f": "float",
        "m": "string",
        "s": "string",
        "n": "string",
    }
    assert [(row["b"], row["i"], row["f"], row["m"], row["big"]) for row in one.rows("CA")] == [
        ("true", "1", "1", "1", "12345678901234567890123"),
        ("false", "-2", "0.50", "y", "1"),
    ]


def test_items_stand_in_their_order_and_not_in_that_of_the_alphabet(tmp_path: Path) -> None:
    one = of_records(tmp_path, practices(*["CA"] * 11))
    assert [name for name in header(one) if name.endswith("].name")] == [
        f"affiliatedPractices.items[{number}].name" for number in range(11)
    ]


def test_keys_with_dots_and_brackets_and_our_own_names_do_not_collide(tmp_path: Path) -> None:
    record = {
        "a": {"b": 1},
        "a.b": 2,
        "c": [3],
        "c[0]": 4,
        "npi": "5",
        "reason": 6,
        "states": 7,
        "affiliatedPractices": None,
    }
    row = of_records(tmp_path, record).rows("None")[0]
    assert (row["a.b"], row['["a.b"]'], row["c[0]"], row['["c[0]"]']) == ("1", "2", "3", "4")
    assert (row["$.npi"], row["$.reason"], row["$.states"]) == ("5", "6", "7")
    assert (row["npi"], row["reason"]) == (NPIS[0], "")


def test_a_list_of_pinned_width_keeps_the_rest_beside_it(tmp_path: Path) -> None:
    one = of_records(
        tmp_path, practices("CA", "TX", "NY"), practices("OH"), list_widths={"affiliatedPractices.items": 1}
    )
    assert "affiliatedPractices.items[1].name" not in header(one)
    assert json.loads(one.row(NPIS[0])["unknown_fields"]) == {
        "affiliatedPractices.items[1]": {"name": "P1", "address": {"state": "TX"}},
        "affiliatedPractices.items[2]": {"name": "P2", "address": {"state": "NY"}},
    }
    assert one.states_of(NPIS[0]) == ["CA", "NY", "TX"], "what is beyond the width counts all the same"
    assert [(noticed.what, noticed.records) for noticed in one.table.beyond_width] == [("affiliatedPractices.items", 1)]


def test_wide_records_are_kept_in_parts_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [practices("CA", **{f"k{number}": number}) for number in range(20)]
    whole = of_records(tmp_path / "whole", *records)
    for module in (undeclared, rows_module):
        monkeypatch.setattr(module, "MAX_CELLS", 40)
    cut = of_records(tmp_path / "cut", *records)
    assert len(whole.parts) == 1
    assert len(cut.parts) > 3
    assert cut.files == whole.files


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def texts(value: Any) -> Iterator[str]:
    """Every scalar's cell, in the order of the text; the empty containers' too."""
    if isinstance(value, dict) and value:
        for below in value.values():
            yield from texts(below)
    elif isinstance(value, list) and value:
        for below in value:
            yield from texts(below)
    elif value is not None:
        # No file of a day holds a NUL.
        yield value.replace("\0", "␀") if isinstance(value, str) else json.dumps(value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=4), min_size=1, max_size=6),
    cut=st.integers(0, 6),
)
def test_every_scalar_of_any_json_is_in_its_row_however_the_parts_are_cut(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], cut: int
) -> None:
    bodies = [json.dumps({**record, "affiliatedPractices": None}) for record in records]
    whole = of_records(tmp_path_factory.mktemp("whole"), *bodies, escape_formulas=False)
    parts = of_records(tmp_path_factory.mktemp("parts"), *bodies, escape_formulas=False, cuts=[min(cut, len(bodies))])
    assert parts.files == whole.files
    assert parts.table == whole.table
    for row, body in zip(whole.rows("None"), bodies, strict=True):
        cells = sorted(cell for name, cell in row.items() if cell and name not in OWN)
        assert cells == sorted(text for text in texts(json.loads(body)) if text)


def test_one_record_with_very_many_keys_leaves_the_columns_to_what_most_records_have(tmp_path: Path) -> None:
    strange = practices("CA", **{f"k{number}": number for number in range(20_000)})
    one = of_records(tmp_path, strange, *[practices("CA", code=number) for number in range(3)])
    names = header(one)
    assert len(names) == MAX_COLUMNS
    assert {"affiliatedPractices.items[0].name", "code"} < set(names)
    row = one.row(NPIS[0])
    kept = json.loads(row["unknown_fields"])
    assert {**kept, **{name: int(row[name]) for name in names if name.startswith("k")}} == {
        f"k{number}": number for number in range(20_000)
    }
    assert one.row(NPIS[1])["unknown_fields"] == ""


@pytest.mark.parametrize("cuts", [(), (1, 3, 4)])
def test_keys_that_each_record_has_for_itself_are_bounded_over_the_day_however_it_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: tuple[int, ...]
) -> None:
    for module in (undeclared, provider_table):
        monkeypatch.setattr(module, "MAX_PATHS", 5)
    records = [practices("CA", **{f"own{number}": number, f"also{number}": 0}) for number in range(6)]
    bodies = {npi: json.dumps(record) for npi, record in zip(NPIS, records, strict=False)}
    assert len(bodies) == 6
    one = day(tmp_path, found(bodies), format_name="affiliated_practices", cuts=cuts)
    assert header(one)[4:-1] == [
        "active",
        "also0",
        "also1",
        "affiliatedPractices.items[0].address.state",
        "affiliatedPractices.items[0].name",
    ]
    assert json.loads(one.row(NPIS[5])["unknown_fields"]) == {"own5": 5, "also5": 0}
    assert json.loads(one.row(NPIS[0])["unknown_fields"]) == {"own0": 0}


def test_a_key_as_long_as_an_answer_becomes_no_column(tmp_path: Path) -> None:
    one = of_records(tmp_path, practices("CA", **{"k" * 100_000: "value"}))
    assert max(map(len, header(one))) < 1000
    assert json.loads(one.row(NPIS[0])["unknown_fields"]) == {"k" * 100_000: "value"}


def test_a_list_of_very_many_items_keeps_the_rest_beside_it(tmp_path: Path) -> None:
    one = of_records(tmp_path, practices(*["CA"] * 60, "WY"))
    assert "affiliatedPractices.items[49].name" in header(one)
    assert "affiliatedPractices.items[50].name" not in header(one)
    assert json.loads(one.row(NPIS[0])["unknown_fields"])["affiliatedPractices.items[60]"]["name"] == "P60"
    assert one.states_of(NPIS[0]) == ["CA", "WY"]
