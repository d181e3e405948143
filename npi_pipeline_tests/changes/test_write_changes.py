"""What changed from one day to the next, against truth by hand, and against a plain diff of the state files' rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npi_pipeline.changes import write_changes as changes
from npi_pipeline.changes.changed_fields import Cells
from npi_pipeline.changes.write_changes import ChangedField, Changes, write_changes
from npi_pipeline.providers.answers import UnreadableAnswerError
from npi_pipeline.registries import FORMATS
from npi_pipeline.schema.columns import ColumnType
from npi_pipeline.schema.json_paths import LEADING_COLUMNS
from npi_pipeline_tests.flattened import Day, Outcome, address, day, found, journal, nppes_body, taxonomy

A, B, C, D = "1000000004", "1000000012", "1000000020", "1000000038"
Row = tuple[str, str, str, str, str]


def written(
    folder: Path,
    old: Iterable[Outcome],
    new: Iterable[Outcome],
    *,
    format_name: str | None = "nppes",
    cuts: Sequence[int] = (),
    **cells: Any,
) -> tuple[Changes, bytes]:
    """The changes between two days' outcomes, and their file."""
    layout = FORMATS[format_name].layout if format_name else None
    path = folder / "changes.csv"
    found_changes = write_changes(journal(old, cuts), journal(new), layout, path, Cells(**cells))
    return found_changes, path.read_bytes()


def rows_in(content: bytes) -> list[Row]:
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    assert header == ["npi", "change", "field", "old", "new"]
    return [(npi, change, field, old, new) for npi, change, field, old, new in rows]


def rows_between(folder: Path, old: Iterable[Outcome], new: Iterable[Outcome], **options: Any) -> list[Row]:
    return rows_in(written(folder, old, new, **options)[1])


def test_npis_that_join_and_leave_the_list_are_rows_with_their_outcome(tmp_path: Path) -> None:
    old = [*found({A: nppes_body(A)}), (B, "not_found", "no such", None)]
    new = [*found({A: nppes_body(A), C: nppes_body(C)}), (D, "deactivated", "gone", "{}")]
    changes_found, content = written(tmp_path, old, new)
    assert rows_in(content) == [
        (B, "left", "outcome", "not_found", ""),
        (C, "joined", "outcome", "", "found"),
        (D, "joined", "outcome", "", "deactivated"),
    ]
    assert changes_found.counts == {
        "joined": 2,
        "left": 1,
        "outcomes_changed": 0,
        "deactivated": 0,
        "providers_changed": 0,
        "fields_changed": 0,
    }


def test_a_deactivation_is_one_row_and_no_field_of_it_is_compared(tmp_path: Path) -> None:
    old = [*found({A: nppes_body(A), B: nppes_body(B)}), (C, "failed", "timed out", None)]
    new = [(A, "deactivated", "gone", "{}"), *found({B: nppes_body(B), C: nppes_body(C)})]
    changes_found, content = written(tmp_path, old, new)
    assert rows_in(content) == [
        (A, "outcome", "outcome", "found", "deactivated"),
        (C, "outcome", "outcome", "failed", "found"),
    ]
    assert changes_found.outcome_changes == {("failed", "found"): 1, ("found", "deactivated"): 1}
    assert (changes_found.counts["outcomes_changed"], changes_found.counts["deactivated"]) == (2, 1)


def test_a_moved_practice_and_a_changed_taxonomy_are_named_by_their_columns_in_the_order_of_the_file(
    tmp_path: Path,
) -> None:
    old = nppes_body(A, taxonomies=[taxonomy("A", license="1"), taxonomy("B")])
    moved = [address("MAILING", "NY"), address("LOCATION", "TX", city="AUSTIN")]
    new = nppes_body(A, taxonomies=[taxonomy("C", license="1"), taxonomy("B", primary=False)], addresses=moved)
    changes_found, content = written(tmp_path, found({A: old, B: nppes_body(B)}), found({A: new, B: nppes_body(B)}))
    assert rows_in(content) == [
        (A, "field", "location_address.city", "TOWN", "AUSTIN"),
        (A, "field", "location_address.state", "CA", "TX"),
        (A, "field", "taxonomies[0].code", "A", "C"),
        (A, "field", "taxonomies[1].primary", "true", "false"),
    ]
    assert (changes_found.counts["providers_changed"], changes_found.counts["fields_changed"]) == (1, 4)
    assert changes_found.fields[0] == ChangedField("location_address.city", 1, A, "TOWN", "AUSTIN")


def test_a_list_that_grows_or_shrinks_has_empty_cells_where_the_other_day_has_no_item(tmp_path: Path) -> None:
    short, long = [taxonomy("A")], [taxonomy("A"), taxonomy("B", state="CA")]
    old, new = nppes_body(A, taxonomies=short), nppes_body(A, taxonomies=long)
    grown = rows_between(tmp_path, found({A: old}), found({A: new}))
    assert grown == [
        (A, "field", "taxonomies[1].code", "", "B"),
        (A, "field", "taxonomies[1].desc", "", "Family Medicine"),
        (A, "field", "taxonomies[1].primary", "", "true"),
        (A, "field", "taxonomies[1].state", "", "CA"),
    ]
    shrunk = rows_between(tmp_path, found({A: new}), found({A: old}))
    assert shrunk == [(npi, change, field, new_cell, old_cell) for npi, change, field, old_cell, new_cell in grown]


def test_an_unchanged_day_is_the_header_alone(tmp_path: Path) -> None:
    outcomes = [*found({A: nppes_body(A)}), (B, "failed", "timed out", None)]
    changes_found, content = written(tmp_path, outcomes, outcomes)
    assert content == b"npi,change,field,old,new\n"
    assert (changes_found.file.rows, set(changes_found.counts.values())) == (0, {0})


def test_another_reason_another_shape_or_another_order_of_keys_is_no_change(tmp_path: Path) -> None:
    recent = json.loads(nppes_body(A))
    record = recent["results"][0]
    of_2018 = {
        **dict(reversed(list(record.items()))),
        "number": int(A),
        "created_epoch": int(record["created_epoch"]) // 1000,
        "last_updated_epoch": int(record["last_updated_epoch"]) // 1000,
        "basic": {"gender" if key == "sex" else key: value for key, value in record["basic"].items()},
        "addresses": record["addresses"][::-1],
    }
    old = [*found({A: json.dumps({"results": [of_2018], "result_count": 1})}), (B, "failed", "timed out", None)]
    new = [*found({A: json.dumps(recent)}), (B, "failed", "reset", None)]
    assert rows_between(tmp_path, old, new) == []


def test_null_a_missing_value_and_an_empty_text_are_the_same_empty_cell(tmp_path: Path) -> None:
    old = nppes_body(A, basic={"first_name": None, "last_name": ""}, taxonomies=[{"code": ""}])
    new = nppes_body(A, basic={"first_name": "", "middle_name": None}, taxonomies=[])
    assert rows_between(tmp_path, found({A: old}), found({A: new})) == []


def test_what_no_column_holds_is_one_field(tmp_path: Path) -> None:
    old, new = nppes_body(A, fax=1), nppes_body(A, fax=2, taxonomies=[taxonomy("X")])
    assert rows_between(tmp_path, found({A: old}), found({A: new})) == [
        (A, "field", "taxonomies[0].code", "207Q00000X", "X"),
        (A, "field", "unknown_fields", '{"fax":1}', '{"fax":2}'),
    ]


def test_items_beyond_a_pinned_width_are_part_of_what_no_column_holds(tmp_path: Path) -> None:
    old = nppes_body(A, taxonomies=[taxonomy("A"), {"code": "B"}])
    new = nppes_body(A, taxonomies=[taxonomy("A"), {"code": "C"}])
    assert rows_between(tmp_path, found({A: old}), found({A: new}), list_widths={"taxonomies": 1}) == [
        (A, "field", "unknown_fields", '{"taxonomies[1]":{"code":"B"}}', '{"taxonomies[1]":{"code":"C"}}')
    ]


@pytest.mark.parametrize(("escape", "quote"), [(True, "'"), (False, "")])
def test_formulas_are_escaped_as_in_the_state_files(tmp_path: Path, escape: bool, quote: str) -> None:
    old = [*found({A: nppes_body(A, basic={"name": "=1+1"})}), ("=2+2", "invalid", "no NPI", None)]
    new = found({A: nppes_body(A, basic={"name": "-EVE"}, created_epoch="-5")})
    assert rows_between(tmp_path, old, new, escape_formulas=escape) == [
        (A, "field", "created_epoch", "1171564996000", "-5000"),
        (A, "field", "basic.name", f"{quote}=1+1", f"{quote}-EVE"),
        (f"{quote}=2+2", "left", "outcome", "invalid", ""),
    ]


def test_without_a_layout_answers_are_not_compared_but_outcomes_are(tmp_path: Path) -> None:
    old = found({A: nppes_body(A), B: nppes_body(B)})
    new = [*found({A: nppes_body(A, number="2")}), (B, "deactivated", "gone", "{}"), *found({C: nppes_body(C)})]
    assert rows_between(tmp_path, old, new, format_name=None) == [
        (B, "outcome", "outcome", "found", "deactivated"),
        (C, "joined", "outcome", "", "found"),
    ]


def test_an_undeclared_format_is_compared_by_path(tmp_path: Path) -> None:
    old = {"npi": A, "active": True, "row": "=x", "items": [{"n": 2}, {"n": -1}], "gone": "", "cell": {"a.b": []}}
    new = {"active": False, "npi": A, "row": "=y", "items": [{"n": 2}, {"n": -3}, {"n": 4}], "cell": {"a.b": None}}
    rows = rows_between(
        tmp_path,
        found({A: json.dumps(old)}),
        found({A: json.dumps(new)}),
        format_name="affiliated_practices",
        old_numbers={"items[1].n"},
    )
    assert rows == [
        (A, "field", "active", "true", "false"),
        (A, "field", 'cell["a.b"]', "[]", ""),
        (A, "field", "row", "'=x", "'=y"),
        (A, "field", "items[1].n", "-1", "'-3"),
        (A, "field", "items[2].n", "", "4"),
    ]


@pytest.mark.long
def test_how_the_journals_were_cut_and_how_much_is_gathered_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npis = [str(1_000_000_000 + number) for number in range(60)]
    old = found({npi: nppes_body(npi) for npi in npis[:50]})
    new = [
        (npi, "found", None, nppes_body(npi, code=number % 3)) if number % 7 else (npi, "not_found", "no such", None)
        for number, npi in enumerate(npis[5:])
    ]
    whole_changes, whole = written(tmp_path, old, new)
    assert whole_changes.counts == {
        "joined": 10,
        "left": 5,
        "outcomes_changed": 7,
        "deactivated": 0,
        "providers_changed": 38,
        "fields_changed": 38,
    }
    monkeypatch.setattr(changes, "_GATHERED", 8)
    monkeypatch.setattr(changes, "_PAIRS_AT_A_TIME", 3)
    for cuts in ([], [1, 2, 3], list(range(0, 50, 4)), [49], [20, 20]):
        cut_changes, cut = written(tmp_path, old, new, cuts=cuts)
        assert cut == whole
        assert cut_changes.preview.equals(whole_changes.preview)
        assert (cut_changes.counts, cut_changes.fields) == (whole_changes.counts, whole_changes.fields)


def test_the_columns_that_changed_most_come_first_with_the_first_provider_of_each(tmp_path: Path) -> None:
    old = found({npi: nppes_body(npi) for npi in (A, B, C)})
    new = {npi: nppes_body(npi, enumeration_type="NPI-2", number="1" if npi == B else npi) for npi in (A, B, C)}
    changes_found, _ = written(tmp_path, old, found(new))
    shown = [(changed.field, changed.providers, changed.npi) for changed in changes_found.fields]
    assert shown == [("enumeration_type", 3, A), ("number", 1, B)]
    assert changes_found.preview.rows()[0] == (A, "field", "enumeration_type", "NPI-1", "NPI-2")


def test_an_answer_that_is_not_its_formats_is_named_by_its_npis(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAnswerError, match=f"between NPIs {A} and {A}"):
        written(tmp_path, found({A: "{}"}), found({A: nppes_body(A)}))


TEXTS = st.sampled_from(["", "X", "=1+1", "-5", "@", 'a,"b"\nc', "é"])
SCALARS = TEXTS | st.none() | st.booleans() | st.sampled_from([0, -5, 7, 1.5])
ITEMS = st.lists(st.fixed_dictionaries({}, optional={"code": SCALARS, "state": TEXTS, "primary": SCALARS}), max_size=3)
NPPES_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "basic": st.dictionaries(st.sampled_from(["first_name", "sex", "gender", "enumeration_date"]), SCALARS),
        "created_epoch": st.sampled_from([1, "1171564996", 1171564996000, "-5"]),
        "taxonomies": ITEMS,
        "identifiers": ITEMS,
        "addresses": st.lists(st.builds(address, st.sampled_from(["LOCATION", "MAILING", "X"]), TEXTS), max_size=3),
        "strange": SCALARS,
    },
)
INNER = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2), max_leaves=5
)
RECORDS = st.dictionaries(st.sampled_from(["npi", "row", "field", "pair", "items", "a.b", "state"]), INNER, max_size=4)


def nppes_bodies(npi: str) -> st.SearchStrategy[str]:
    return NPPES_CHANGES.map(lambda changed: nppes_body(npi, **changed))


def json_bodies(npi: str) -> st.SearchStrategy[str]:
    return RECORDS.map(json.dumps)


BODIES = {"nppes": nppes_bodies, "affiliated_practices": json_bodies}


def outcomes_of(bodies: Callable[[str], st.SearchStrategy[str]]) -> st.SearchStrategy[list[Outcome]]:
    others = st.sampled_from([("not_found", "no such"), ("deactivated", "gone"), ("failed", "reset")])
    of_npi = [
        st.builds(lambda body, npi=npi: (npi, "found", None, body), bodies(npi))
        | st.builds(lambda other, npi=npi: (npi, *other, None), others)
        | st.none()
        for npi in (A, B, C, D)
    ]
    return st.tuples(*of_npi).map(lambda drawn: [outcome for outcome in drawn if outcome is not None])


def rows_by_npi(of_day: Day) -> dict[str, dict[str, str]]:
    return {row["npi"]: row for state in of_day.files for row in of_day.rows(state)}


@pytest.mark.parametrize("format_name", ["nppes", "affiliated_practices"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_changes_are_those_of_the_state_files_rows(
    tmp_path_factory: pytest.TempPathFactory, format_name: str, data: st.DataObject
) -> None:
    outcomes = outcomes_of(BODIES[format_name])
    old, new = data.draw(outcomes), data.draw(outcomes)
    if data.draw(st.booleans()) and old:
        new = [*old[:1], *(outcome for outcome in new if outcome[0] != old[0][0])]
    folder = tmp_path_factory.mktemp("days")
    both = [*old, *((f"9{npi}", *rest) for npi, *rest in new)]
    shown = [day(folder / name, of, format_name=format_name) for name, of in (("old", old), ("new", new))]
    plain = [
        rows_by_npi(day(folder / f"plain {name}", of, format_name=format_name, escape_formulas=False))
        for name, of in (("old", old), ("new", new))
    ]
    columns = day(folder / "both", both, format_name=format_name).table.columns
    expected: list[Row] = []
    for npi in sorted({*plain[0], *plain[1]}):
        before, after = plain[0].get(npi), plain[1].get(npi)
        if before is None or after is None:
            was, now = ((row or {}).get("outcome", "") for row in (before, after))
            expected.append((npi, "left" if now == "" else "joined", "outcome", was, now))
        elif before["outcome"] != after["outcome"]:
            expected.append((npi, "outcome", "outcome", before["outcome"], after["outcome"]))
        elif before["outcome"] == "found":
            cells = [rows_by_npi(of_day)[npi] for of_day in shown]
            expected += [
                (npi, "field", column.name, *(row.get(column.name, "") for row in cells))
                for column in columns
                if column.name not in LEADING_COLUMNS and before.get(column.name, "") != after.get(column.name, "")
            ]
    numbers = [
        {column.name for column in of_day.table.columns if column.type is not ColumnType.string} for of_day in shown
    ]
    assert (
        rows_between(folder, old, new, format_name=format_name, old_numbers=numbers[0], new_numbers=numbers[1])
        == expected
    )
