"""Rows of dissemination files as records: those of real files, and each way in which the API says a thing otherwise."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npi_pipeline.providers.declared import read_declared
from npi_pipeline.registries.nppes_api import NPPES
from npi_pipeline.registries.nppes_bulk.bodies import record_bodies
from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.child_files import with_child_items
from npi_pipeline.registries.nppes_bulk.code_tables import code_table, taxonomy_descriptions
from npi_pipeline.registries.nppes_bulk.columns import MAIN_COLUMNS
from npi_pipeline.registries.nppes_bulk.records import NOT_CARRIED
from npi_pipeline.registries.nppes_bulk.store_schema import RECORD_COLUMNS, STORE_SCHEMA
from npi_pipeline_tests.flattened import RESPONSES
from npi_pipeline_tests.registries.nppes_bulk.real_files import (
    all_records,
    child_items,
    child_rows,
    main_rows,
    records,
)

PERSON = {
    "NPI": "1003101296",
    "Entity Type Code": "1",
    "Provider First Name": "ADA",
    "Provider Last Name (Legal Name)": "LARKSPUR",
    "Provider Enumeration Date": "05/23/2005",
    "Last Update Date": "12/31/2024",
}
ORGANISATION = PERSON | {"Entity Type Code": "2", "Provider Organization Name (Legal Business Name)": "STARLING LLC"}

DIGITS = re.compile("NPI|Entity Type Code|Date$|Postal Code|Telephone|Fax")
FREE_TEXTS = [name for name in MAIN_COLUMNS if not DIGITS.search(name)]


def row(cells: dict[str, str], base: dict[str, str] = PERSON) -> pl.DataFrame:
    return pl.DataFrame({name: [(base | cells).get(name, "")] for name in MAIN_COLUMNS})


def record(cells: dict[str, str], base: dict[str, str] = PERSON) -> dict[str, Any]:
    return records(row(cells, base)).row(0, named=True)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]


def ways_to_say(cell: str) -> set[str]:
    """What a cell of the main file may be in a record."""
    ways = {cell, " ".join(cell.split())}
    if re.fullmatch(r"\d\d/\d\d/\d{4}", cell):
        ways.add(f"{cell[6:]}-{cell[:2]}-{cell[3:5]}")
    if re.fullmatch(r"\d{10}", cell):
        ways.add(f"{cell[:3]}-{cell[3:6]}-{cell[6:]}")
    ways |= {"Y": {"YES", "TRUE"}, "N": {"NO", "FALSE"}, "X": {"FALSE"}, "1": {"NPI-1"}, "2": {"NPI-2"}}.get(
        cell, set()
    )
    return {re.sub("[^A-Z0-9]", "", way.upper()) for way in ways}


def test_every_cell_of_each_real_row_is_in_its_record_or_in_the_list_of_what_is_not_carried():
    kept = all_records()
    for cells, of_row in zip(main_rows().iter_rows(named=True), kept.iter_rows(named=True), strict=True):
        there = {re.sub("[^A-Z0-9]", "", str(leaf).upper()) for leaf in leaves(of_row)}
        lost = {
            name: cell
            for name, cell in cells.items()
            if cell and name not in NOT_CARRIED and not ways_to_say(cell) & there
        }
        assert not lost, cells["NPI"]


@pytest.mark.parametrize(("kind", "name"), [("othername", "other_names"), ("pl", "practiceLocations")])
def test_every_cell_of_each_real_row_beside_the_main_file_is_in_its_item(kind, name):
    rows = child_rows(kind)
    for cells, item in zip(rows.iter_rows(named=True), child_items(kind, rows).iter_rows(named=True), strict=True):
        there = {re.sub("[^A-Z0-9]", "", str(leaf).upper()) for leaf in leaves(item)}
        assert not {name: cell for name, cell in cells.items() if cell and not ways_to_say(cell) & there}


def test_real_rows_read_back_from_json_are_the_same_in_every_column():
    kept = all_records().filter(pl.col("number").is_not_null())
    bodies = record_bodies(kept).to_list()
    read = read_declared(bodies, NPPES.layout, {})
    assert read.frame.equals(kept.select(RECORD_COLUMNS))
    assert not [rest for rest in read.rest if rest.unknown or rest.beyond]
    assert all(
        NPPES.judge(str(npi), body.encode()).outcome == "found" for npi, body in zip(kept["npi"], bodies, strict=True)
    )


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(FREE_TEXTS), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([PERSON, ORGANISATION]),
)
def test_whatever_stands_in_a_row_is_read_back_from_json_in_the_same_column(cells, base):
    kept = records(pl.concat([row(of_row, base) for of_row in cells])).filter(pl.col("number").is_not_null())
    read = read_declared(record_bodies(kept).to_list(), NPPES.layout, {"identifiers": 50})
    assert read.frame.equals(kept.select(RECORD_COLUMNS))
    assert not [rest for rest in read.rest if rest.unknown or rest.beyond]


def test_there_is_one_record_for_each_row_in_its_order_and_in_the_stores_schema():
    rows = main_rows()
    kept = records(rows)
    assert kept.schema == STORE_SCHEMA
    assert kept["npi"].cast(pl.String).equals(rows["NPI"].alias("npi"))
    assert records(rows.clear()).schema == STORE_SCHEMA
    assert with_child_items(kept, {}).schema == STORE_SCHEMA


def test_empty_cells_may_be_null_as_well():
    rows = main_rows()
    assert records(rows.with_columns(pl.when(pl.all() != "").then(pl.all()))).equals(records(rows))


def test_a_deactivated_row_is_that_alone_and_gets_no_items():
    npi = {"NPI": PERSON["NPI"], "NPI Deactivation Date": "03/03/2021"}
    gone = records(row(npi, {}))
    locations = child_items("pl", child_rows("pl").with_columns(NPI=pl.lit(PERSON["NPI"])))
    told = with_child_items(gone, {"pl": locations}).row(0, named=True)
    assert told.pop("npi") == int(PERSON["NPI"])
    assert told.pop("deactivated_on") == dt.date(2021, 3, 3)
    assert set(told.values()) == {None}


def test_a_reactivated_one_is_found_with_both_days_until_it_is_deactivated_again():
    days = {"NPI Deactivation Date": "05/23/2005", "NPI Reactivation Date": "05/24/2005"}
    found = record(days)
    assert found["deactivated_on"] is None
    assert found["basic.deactivation_date"] == dt.date(2005, 5, 23)
    assert found["basic.reactivation_date"] == dt.date(2005, 5, 24)
    assert record(days | {"NPI Deactivation Date": "01/01/2020"})["deactivated_on"] == dt.date(2020, 1, 1)


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ({"Entity Type Code": ""}, "its Entity Type Code is ''"),
        ({"Entity Type Code": "3"}, "its Entity Type Code is '3'"),
        ({"Last Update Date": "31/12/2024"}, "its Last Update Date is 31/12/2024, which is no date"),
        ({"NPI Deactivation Date": "soon"}, "its NPI Deactivation Date is soon, which is no date"),
    ],
)
def test_a_row_that_cannot_be_read_has_a_problem_and_no_record(cells, problem):
    told = record(cells)
    assert told.pop("npi") == int(PERSON["NPI"])
    assert told.pop("problem") == problem
    assert set(told.values()) == {None}


@pytest.mark.parametrize("npi", ["", "100310129", "3003101296", "1003101296.0", "NPI"])
def test_a_row_without_an_npi_is_refused_for_nothing_could_be_said_of_it(npi):
    with pytest.raises(BulkFileError, match=r"^npidata_pfile.csv "):
        records(row({"NPI": npi}))


@pytest.mark.parametrize(
    "cells",
    [{"Entity Type Code": "1.0"}, {"Provider Business Mailing Address Fax Number": "3149480311.0"}],
)
def test_a_file_that_a_program_made_numbers_in_is_refused(cells):
    with pytest.raises(BulkFileError, match="made numbers of texts"):
        records(row(cells))


def test_one_cell_that_was_typed_like_a_number_of_a_program_is_no_reason_to_refuse_a_file():
    fax = "Provider Business Mailing Address Fax Number"
    rows = pl.concat([row({fax: "3149480311.0"}), row({fax: "3149480311"})])
    assert records(rows)["mailing_address.fax_number"].to_list() == ["3149480311.0", "314-948-0311"]


@pytest.mark.parametrize(
    ("cell", "column", "value"),
    [
        (("Provider Name Prefix Text", "DR."), "basic.name_prefix", "Dr."),
        (("Provider Name Prefix Text", "Mrs."), "basic.name_prefix", "Mrs."),
        (("Provider Name Suffix Text", "III"), "basic.name_suffix", "III"),
        (("Provider Sex Code", ""), "basic.sex", ""),
        (("Is Sole Proprietor", "Y"), "basic.sole_proprietor", "YES"),
        (("Is Sole Proprietor", "X"), "basic.sole_proprietor", "X"),
        (("Certification Date", "06/09/2020"), "basic.certification_date", dt.date(2020, 6, 9)),
        (("Provider Business Mailing Address Telephone Number", "4047780922"),
         "mailing_address.telephone_number", "404-778-0922"),
        (("Provider Business Mailing Address Fax Number", "0114930123456"),
         "mailing_address.fax_number", "0114930123456"),
        (("Provider Business Practice Location Address Postal Code", "301803226"),
         "location_address.postal_code", "301803226"),
        (("Provider Business Mailing Address Country Code (If outside U.S.)", "DE"),
         "mailing_address.country_name", "Germany"),
        (("Provider Business Mailing Address Country Code (If outside U.S.)", "DE"),
         "mailing_address.address_type", "FGN"),
        (("Provider Business Mailing Address City Name", "SAN JUAN"), "mailing_address.country_name", "United States"),
        (("Provider Business Mailing Address City Name", "SAN JUAN"), "mailing_address.state", ""),
    ],
)  # fmt: skip
def test_a_cell_is_said_as_the_api_says_it(cell, column, value):
    assert record(dict([cell]))[column] == value


def test_an_address_of_which_nothing_is_told_is_null_in_every_field():
    assert not {
        name: value for name, value in record({}).items() if name.startswith("mailing_address") and value is not None
    }


def test_what_a_person_has_not_is_null_of_a_person_and_the_other_way_round():
    both = {"Is Sole Proprietor": "N", "Is Organization Subpart": "Y", "Parent Organization LBN": "<UNAVAIL>"}
    assert record(both)["basic.organizational_subpart"] is None
    organisation = record(both, ORGANISATION)
    assert organisation["basic.organizational_subpart"] == "YES"
    assert organisation["basic.parent_organization_legal_business_name"] is None
    assert [organisation[f"basic.{name}"] for name in ("first_name", "sex", "sole_proprietor")] == [None] * 3


def test_taxonomies_keep_their_order_over_empty_slots_and_their_masked_numbers():
    cells = {
        "Healthcare Provider Taxonomy Code_1": "207Q00000X",
        "Healthcare Provider Primary Taxonomy Switch_1": "X",
        "Healthcare Provider Taxonomy Code_15": "235Z00000X",
        "Healthcare Provider Primary Taxonomy Switch_15": "Y",
        "Provider License Number_15": "$$$$$$$$$",
        "Provider License Number State Code_15": "NC",
        "Healthcare Provider Taxonomy Group_15": "193400000X SINGLE SPECIALTY  GROUP",
        "Healthcare Provider Taxonomy Code_3": "999X00000X",
    }
    first, second, third = record(cells)["taxonomies"]
    assert first == {
        "code": "207Q00000X",
        "desc": "Family Medicine",
        "primary": False,
        "license": None,
        "state": None,
        "taxonomy_group": "",
    }
    assert (second["code"], second["desc"]) == ("999X00000X", None)
    assert third == {
        "code": "235Z00000X",
        "desc": "Speech-Language Pathologist,  ",
        "primary": True,
        "license": "$$$$$$$$$",
        "state": "NC",
        "taxonomy_group": "193400000X - Single Specialty Group",
    }


def test_identifiers_are_said_in_the_words_of_the_api():
    cells = {
        "Other Provider Identifier_2": "=========",
        "Other Provider Identifier Type Code_2": "05",
        "Other Provider Identifier State_2": "NC",
        "Other Provider Identifier_50": "123",
        "Other Provider Identifier Type Code_50": "01",
        "Other Provider Identifier Issuer_50": "BLUE CROSS",
    }
    assert record(cells)["identifiers"] == [
        {"code": "05", "desc": "MEDICAID", "identifier": "=========", "issuer": None, "state": "NC"},
        {"code": "01", "desc": "Other (non-Medicare)", "identifier": "123", "issuer": "BLUE CROSS", "state": None},
    ]


def test_other_names_that_stand_in_the_file_of_other_names_are_not_told_twice():
    name = {"Provider Other Organization Name": "NEST", "Provider Other Organization Name Type Code": "3"}
    of_file = pl.DataFrame({"NPI": [PERSON["NPI"]] * 2, **{key: [value] * 2 for key, value in name.items()}})
    of_file = of_file.with_columns(pl.Series("Provider Other Organization Name", ["Nest", "Perch"]))
    items = {"othername": child_items("othername", of_file)}

    def names(cells: dict[str, str]) -> list[str]:
        told = with_child_items(records(row(cells, ORGANISATION)), items)["other_names"][0]
        return [item["organization_name"] for item in told]

    assert names(name) == ["NEST", "PERCH"]
    assert names(name | {"Provider Other Organization Name": "OTHER"}) == ["OTHER", "NEST", "PERCH"]
    see_there = {"Provider Other Organization Name": "<UNAVAIL>", "Provider Other Organization Name Type Code": "6"}
    assert names(see_there) == ["NEST", "PERCH"]
    assert record(see_there, ORGANISATION)["other_names"] is None


def test_the_code_tables_say_what_real_answers_say():
    found = {"taxonomies": set(), "identifiers": set(), "other_names": set(), "countries": set()}
    for path in sorted(RESPONSES.glob("*.json")):
        told = json.loads(path.read_bytes())["results"][0]
        if isinstance(told["number"], int):
            continue  # until 2022 in other words
        found["taxonomies"] |= {(item["code"], item["desc"]) for item in told["taxonomies"]}
        found["identifiers"] |= {(item["code"], item["desc"]) for item in told["identifiers"]}
        found["other_names"] |= {(item["code"], item["type"]) for item in told["other_names"]}
        found["countries"] |= {(item["country_code"], item["country_name"]) for item in told["addresses"]}
    assert found["taxonomies"] <= set(taxonomy_descriptions().items())
    assert found["identifiers"] <= set(code_table("identifier_types").items())
    assert found["other_names"] <= set(code_table("other_name_types").items())
    assert found["countries"] <= set(code_table("countries").items())
    assert min(map(len, found.values())) > 0
