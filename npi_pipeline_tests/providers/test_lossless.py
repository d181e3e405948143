"""Nothing of an answer is lost: every scalar is looked up in the row that came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npi_pipeline.registries import FORMATS
from npi_pipeline.schema.columns import MAX_COLUMNS, file_columns, record_columns
from npi_pipeline_tests.flattened import Day, address, day, found, nppes_body, real_bodies, taxonomy

PICKS = {"LOCATION": "location_address", "MAILING": "mailing_address"}
LEADING = ["npi", "outcome", "reason", "fetched_on"]


def scalars(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every scalar of ``value`` by its JSON path. A walk of its own: it shares no code with what it checks."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from scalars(below, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for position, below in enumerate(value):
            yield from scalars(below, f"{path}[{position}]")
    else:
        yield path, value


def expected_cells(record: dict[str, Any]) -> dict[str, str]:
    """Column to cell for a record, by the documented normalisations and no others."""
    cells: dict[str, str] = {}
    record = {**record, "basic": dict(record["basic"])}
    if "gender" in record["basic"]:
        record["basic"]["sex"] = record["basic"].pop("gender")
    for place in record.pop("addresses"):
        record[PICKS[place["address_purpose"]]] = place
    for path, value in scalars(record, ""):
        if path in {"created_epoch", "last_updated_epoch"}:
            seconds_or_ms = int(value)
            cells[path] = str(seconds_or_ms * 1000 if seconds_or_ms < 10**11 else seconds_or_ms)
        elif isinstance(value, bool):
            cells[path] = "true" if value else "false"
        elif value is not None:
            cells[path] = str(value)
    return cells


@pytest.fixture(scope="module")
def real_day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return day(tmp_path_factory.mktemp("real"), found(real_bodies()), escape_formulas=False)


def test_every_scalar_of_every_real_answer_is_in_its_row_and_nothing_else_is(real_day: Day) -> None:
    bodies = real_bodies()
    assert len(bodies) == 135
    assert real_day.table.unknown_fields == ()
    for npi, body in bodies.items():
        row = real_day.row(npi)
        expected = expected_cells(json.loads(body)["results"][0])
        there = {name: cell for name, cell in row.items() if cell and name not in LEADING}
        assert there == {name: cell for name, cell in expected.items() if cell}, npi
        assert (row["npi"], row["outcome"], row["reason"], row["fetched_on"]) == (npi, "found", "", "2026-11-23")


def test_every_real_provider_is_in_the_file_of_each_state_where_it_practises(real_day: Day) -> None:
    for npi, body in real_bodies().items():
        record = json.loads(body)["results"][0]
        states = {place["state"] for place in record["addresses"] if place["address_purpose"] == "LOCATION"}
        states |= {place["state"] for place in record.get("practiceLocations", [])}
        assert real_day.states_of(npi) == sorted(states)


def test_three_eras_of_answers_give_the_same_columns(tmp_path: Path) -> None:
    headers = set()
    shapes: dict[str, dict[str, str]] = {}
    for npi, body in real_bodies().items():
        record = json.loads(body)["results"][0]
        era = "A" if isinstance(record["number"], int) else "B" if next(iter(record)) == "created_epoch" else "C"
        shapes.setdefault(era, {})[npi] = body
    assert sorted(shapes) == ["A", "B", "C"]
    widths = {"taxonomies": 4, "identifiers": 30, "other_names": 5, "practiceLocations": 5, "endpoints": 5}
    for era, bodies in shapes.items():
        of_era = day(tmp_path / era, found(bodies), list_widths=widths)
        headers.add(tuple((column.name, column.type) for column in of_era.table.columns))
        assert of_era.table.unknown_fields == ()
        sexes = {row["basic.sex"] for state in of_era.files for row in of_era.rows(state)}
        assert {"F"} <= sexes <= {"F", "M", ""}
        for row in (row for state in of_era.files for row in of_era.rows(state)):
            assert row["number"] == row["npi"]
            assert 10**12 < int(row["created_epoch"]) < 2 * 10**12
    assert len(headers) == 1


def test_fields_that_the_schema_lacks_are_kept_with_their_paths_and_counted(tmp_path: Path) -> None:
    strange = json.loads(
        nppes_body("1000000004", taxonomies=[taxonomy("A"), taxonomy("B", rank={"of": [1, 2.50]})], fax=[])
    )
    strange["warning"] = "soon"
    strange["results"][0]["basic"]["a.b"] = None
    body = json.dumps(strange).replace("2.5", "2.50")
    one = day(tmp_path, found({"1000000004": body, "1000000012": nppes_body("1000000012")}))
    assert json.loads(one.row("1000000004")["unknown_fields"]) == {
        "$.warning": "soon",
        'basic["a.b"]': None,
        "fax": [],
        "taxonomies[1].rank.of[0]": 1,
        "taxonomies[1].rank.of[1]": 2.5,
    }
    assert "2.50" in one.row("1000000004")["unknown_fields"], "digits stay as the registry wrote them"
    assert one.row("1000000012")["unknown_fields"] == ""
    counted = {noticed.what: (noticed.records, noticed.examples) for noticed in one.table.unknown_fields}
    assert counted['basic["a.b"]'] == (1, ("1000000004",))
    assert counted["taxonomies[*].rank.of[*]"] == (1, ("1000000004",))


@pytest.mark.parametrize(
    ("changes", "path", "kept"),
    [
        ({"basic": "none"}, "basic", "none"),
        ({"taxonomies": {"code": "X"}}, "taxonomies.code", "X"),
        ({"taxonomies": ["X", None]}, "taxonomies[0]", "X"),
        ({"taxonomies": False}, "taxonomies", False),
        ({"taxonomies": [taxonomy("X", primary="Y")]}, "taxonomies[0].primary", "Y"),
        ({"basic": {"enumeration_date": "2020-02-30"}}, "basic.enumeration_date", "2020-02-30"),
        ({"basic": {"enumeration_date": "2020-2-3"}}, "basic.enumeration_date", "2020-2-3"),
        ({"basic": {"first_name": {"en": "ADA"}}}, "basic.first_name.en", "ADA"),
        ({"basic": {"sex": "F", "gender": "M"}}, "basic.gender", "M"),
        ({"created_epoch": "long ago"}, "created_epoch", "long ago"),
        ({"created_epoch": "-9223372036854775808"}, "created_epoch", "-9223372036854775808"),
        ({"created_epoch": 1.5}, "created_epoch", 1.5),
        ({"code": "X"}, "code", "X"),
        ({"addresses": [address("LOCATION", ["CA"])]}, "addresses[0].state[0]", "CA"),
        ({"other_addresses": [1]}, "other_addresses[0]", 1),
    ],
)
def test_a_value_that_its_column_cannot_hold_is_kept_beside_it(
    tmp_path: Path, changes: dict[str, Any], path: str, kept: object
) -> None:
    one = day(tmp_path, found({"1000000004": nppes_body("1000000004", **changes)}))
    assert json.loads(one.row("1000000004")["unknown_fields"])[path] == kept


def test_numbers_in_text_columns_keep_every_digit(tmp_path: Path) -> None:
    body = nppes_body("1000000004", number=1000000004).replace('"1 MAIN ST"', "123456789012345678901234567890.10")
    row = day(tmp_path, found({"1000000004": body})).row("1000000004")
    assert row["location_address.address_1"] == "123456789012345678901234567890.10"
    assert row["number"] == "1000000004"
    assert row["unknown_fields"] == ""


def test_a_third_address_is_kept_and_counts_as_a_practice_unless_it_is_for_mail(tmp_path: Path) -> None:
    places = [
        address("LOCATION", "CA"),
        address("MAILING", "NY"),
        address("LOCATION", "TX", city="AUSTIN"),
        address("MAILING", "FL"),
        address("PRIMARY", "OH"),
    ]
    one = day(tmp_path, found({"1000000004": nppes_body("1000000004", addresses=places)}))
    row = one.row("1000000004")
    assert (row["location_address.state"], row["mailing_address.state"]) == ("CA", "NY")
    assert [row[f"other_addresses[{place}].state"] for place in range(3)] == ["TX", "FL", "OH"]
    assert row["other_addresses[0].city"] == "AUSTIN"
    assert row["unknown_fields"] == ""
    assert one.states_of("1000000004") == ["CA", "OH", "TX"]


def test_a_list_longer_than_its_pinned_width_keeps_the_rest_and_says_so(tmp_path: Path) -> None:
    bodies = {
        "1000000004": nppes_body("1000000004", taxonomies=[taxonomy(code) for code in "ABC"]),
        "1000000012": nppes_body("1000000012", taxonomies=[taxonomy("D")]),
    }
    one = day(tmp_path, found(bodies), list_widths={"taxonomies": 2, "identifiers": 1})
    names = [column.name for column in one.table.columns]
    assert "taxonomies[1].code" in names
    assert "taxonomies[2].code" not in names
    assert "identifiers[0].code" in names, "a pinned list has its columns on a day without any item"
    kept = json.loads(one.row("1000000004")["unknown_fields"])
    assert kept["taxonomies[2]"] == taxonomy("C")
    assert one.table.unknown_fields == ()
    assert [(n.what, n.records, n.examples) for n in one.table.beyond_width] == [("taxonomies", 1, ("1000000004",))]


@pytest.mark.parametrize("width", [0, 1, 2, 9])
def test_a_pinned_width_leaves_a_provider_in_every_state_where_it_practises(tmp_path: Path, width: int) -> None:
    bodies = {
        "1000000004": nppes_body(
            "1000000004",
            addresses=[address("LOCATION", "GA")],
            practiceLocations=[address("LOCATION", state) for state in ("FL", "TX", "Ontario")],
        ),
        "1000000012": nppes_body("1000000012", practiceLocations=[address("LOCATION", "NV", strange=1)]),
        "1000000020": nppes_body("1000000020"),
    }
    whole = day(tmp_path / "whole", found(bodies))
    pinned = day(tmp_path / "pinned", found(bodies), list_widths={"practiceLocations": width})
    assert pinned.states_of("1000000004") == ["FL", "GA", "TX"]
    assert pinned.states_of("1000000012") == ["CA", "NV"]
    assert {file.state: file.rows for file in pinned.written} == {file.state: file.rows for file in whole.written}
    assert pinned.table.unrecognised_states == whole.table.unrecognised_states

    assert pinned.table.widths["practiceLocations"] == width
    row = pinned.row("1000000004")
    spread = [row[f"practiceLocations[{place}].state"] for place in range(width)]
    assert spread == ["FL", "TX", "Ontario", *[""] * 6][:width]
    kept = json.loads(row["unknown_fields"] or "{}")
    beyond = {path: value["state"] for path, value in kept.items()}
    states = enumerate(["FL", "TX", "Ontario"])
    assert beyond == {f"practiceLocations[{place}]": state for place, state in states if place >= width}
    lists = pl.read_parquet(tmp_path / "pinned" / "table")["practiceLocations"].list.len().to_list()
    assert lists == [min(3, width) or None, min(1, width) or None, None]


# A value for any place of a record; keys are often ones that mean something elsewhere.
KEYS = st.sampled_from(["state", "code", "gender", "sex", "taxonomies", "npi", "$", "a.b", "[0]", "", "=x"]) | st.text(
    max_size=3
)
LEAF = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False)
)
ANYTHING = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=5
)


def containers(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        yield value
        for below in value.values() if isinstance(value, dict) else value:
            yield from containers(below)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_put_into_an_answer_wherever_is_found_again(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    bodies = real_bodies()
    npi = data.draw(st.sampled_from(sorted(bodies)))
    answer = json.loads(bodies[npi])
    record = answer["results"][0]
    marks = []
    for number in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(containers(record))))
        mark = f"mark {number} {data.draw(st.text(st.characters(exclude_categories=['C', 'Z']), max_size=4))}"
        value = data.draw(st.just(mark) | ANYTHING.map(lambda inner, mark=mark: {"k": [inner, mark]}))  # type: ignore[misc]
        if isinstance(place, dict):
            place[data.draw(KEYS | st.sampled_from(sorted(place) or ["x"]))] = value
        else:
            place.insert(data.draw(st.integers(0, len(place))), value)
        marks.append(mark)
    kept_marks = [mark for mark in marks if json.dumps(mark)[1:-1] in json.dumps(answer)]
    row = day(tmp_path_factory.mktemp("mutated"), found({npi: json.dumps(answer)})).row(npi)
    cells = list(row.values())
    unknown = list(json.loads(row["unknown_fields"] or "{}").values())
    for mark in kept_marks:
        assert mark in cells or mark in unknown


def test_one_record_with_very_many_items_gives_the_day_no_more_columns_than_databases_take(tmp_path: Path) -> None:
    many, ordinary = "1000000004", "1000000012"
    bodies = {
        many: nppes_body(
            many,
            taxonomies=[taxonomy(f"T{place}") for place in range(2_000)],
            practiceLocations=[address("LOCATION", "TX" if place < 169 else "WY") for place in range(170)],
            addresses=[address(purpose, "CA") for purpose in ["LOCATION", "MAILING", *["OTHER"] * 20]],
        ),
        ordinary: nppes_body(ordinary),
    }
    one = day(tmp_path, found(bodies))
    names = [column.name for column in one.table.columns]
    assert len(names) <= MAX_COLUMNS
    assert one.table.widths == {
        "taxonomies": 15,
        "identifiers": 0,
        "other_names": 0,
        "practiceLocations": 40,
        "endpoints": 0,
        "other_addresses": 5,
    }
    row = one.row(many)
    assert [row[f"taxonomies[{place}].code"] for place in range(15)] == [f"T{place}" for place in range(15)]
    kept = json.loads(row["unknown_fields"])
    assert [kept.pop(f"taxonomies[{place}]")["code"] for place in range(15, 2_000)] == [
        f"T{place}" for place in range(15, 2_000)
    ]
    assert [kept.pop(f"practiceLocations[{place}]")["state"] for place in range(40, 170)] == [*["TX"] * 129, "WY"]
    assert [kept.pop(f"addresses[{place}]") for place in range(7, 22)] == [address("OTHER", "CA")] * 15
    assert kept == {}
    assert one.states_of(many) == ["CA", "TX", "WY"], "a state beyond the width counts as any other"
    assert [(noticed.what, noticed.examples) for noticed in one.table.beyond_width] == [
        ("addresses", (many,)),
        ("practiceLocations", (many,)),
        ("taxonomies", (many,)),
    ]
    assert one.row(ordinary)["unknown_fields"] == ""


def test_every_list_at_its_full_width_fits_into_a_table_of_postgresql() -> None:
    layout = FORMATS["nppes"].layout
    widths = layout.widths({})
    assert (widths["taxonomies"], widths["identifiers"]) == (15, 50), "what the registry's bulk files have room for"
    assert len(file_columns(record_columns(layout, widths))) <= MAX_COLUMNS


def test_a_list_may_be_given_more_room_than_it_has_by_default(tmp_path: Path) -> None:
    body = nppes_body("1000000004", taxonomies=[taxonomy(f"T{place}") for place in range(20)])
    one = day(tmp_path, found({"1000000004": body}), list_widths={"taxonomies": 20, "other_addresses": 1})
    row = one.row("1000000004")
    assert (row["taxonomies[19].code"], row["other_addresses[0].city"], row["unknown_fields"]) == ("T19", "", "")


NUL_BODIES = {
    "nppes": nppes_body(
        "1000000004",
        basic={"last_name": "LO\0VE", "stra\0nge": "a\0b"},
        taxonomies=[taxonomy("A"), taxonomy("\0B")],
        addresses=[address("LOCATION", "C\0A")],
    ),
    "affiliated_practices": json.dumps(
        {
            "affiliatedPractices": {"items": [{"name": "LO\0VE", "address": {"state": "C\0A"}}]},
            "stra\0nge": ["a\0b"],
        }
    ),
}


@pytest.mark.parametrize("format_name", NUL_BODIES)
def test_a_nul_reaches_no_file_is_readable_in_its_cell_and_kept_as_json_beside_it(
    tmp_path: Path, format_name: str
) -> None:
    outcomes = [*found({"1000000004": NUL_BODIES[format_name]}), ("1000000012", "failed", "wh\0y", None)]
    one = day(tmp_path, outcomes, format_name=format_name)
    assert not any(b"\0" in content for content in one.files.values())
    row = one.row("1000000004")
    kept = json.loads(row["unknown_fields"])
    name = "basic.last_name" if format_name == "nppes" else "affiliatedPractices.items[0].name"
    assert (row[name], kept[name]) == ("LO␀VE", "LO\0VE")
    assert any("a␀b" in cell or "a\\u0000b" in cell for cell in row.values())
    assert one.states_of("1000000004") == ["None"]
    assert "C␀A (US)" in [noticed.what for noticed in one.table.unrecognised_states] or format_name != "nppes"
    assert one.row("1000000012")["reason"] == "wh␀y"
    assert not any("\0" in str(pl.read_parquet(part).to_dicts()) for part in one.parts)


def test_a_backslash_before_u0000_is_no_nul(tmp_path: Path) -> None:
    body = nppes_body("1000000004", basic={"last_name": "\\u0000"})
    row = day(tmp_path, found({"1000000004": body})).row("1000000004")
    assert (row["basic.last_name"], row["unknown_fields"]) == ("\\u0000", "")
