"""Which text of an address is which state."""

from __future__ import annotations

import pytest

from npi_pipeline.providers.states import STATES, addresses_in, practice_of, recognised
from npi_pipeline.schema.columns import EACH, PracticeAddresses


def test_there_are_fifty_states_dc_eight_territories_and_three_military_ones() -> None:
    assert len(STATES) == 50 + 1 + 8 + 3
    assert {"DC", "PR", "VI", "GU", "AS", "MP", "FM", "MH", "PW", "AA", "AE", "AP"} < STATES
    assert "UM" not in STATES


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("CA", "CA"),
        ("ca", "CA"),
        ("  Ca ", "CA"),
        ("Georgia", "GA"),
        ("GEORGIA", "GA"),
        ("new   york", "NY"),
        ("N.Y.", "NY"),
        ("Washington, D.C.", "DC"),
        ("District of Columbia", "DC"),
        ("U.S. Virgin Islands", "VI"),
        ("Puerto Rico", "PR"),
        ("armed forces pacific", "AP"),
    ],
)
def test_case_blanks_and_full_names_are_normalised(text: str, code: str) -> None:
    assert recognised(text) == code
    assert recognised(text, "US", "DOM") == code


# Letters of other scripts that Unicode folds to `IL`, `FL`, `SC` and `WISCONSIN`.
FOLDED = ["\u0131l", "\ufb02", "\u017fc", "Wi\u017fcon\u017fin"]


@pytest.mark.parametrize(
    "text", [*FOLDED, "", " ", "XX", "../../x", "CA/..", "CAL", "None", "Failed", "NULL", "C A", "UM", "ON"]
)
def test_anything_else_is_no_state(text: str) -> None:
    assert recognised(text, "US") is None


@pytest.mark.parametrize(
    ("state", "country", "address_type"),
    [("GEORGIA", "GE", "FGN"), ("GEORGIA", "GE", ""), ("CA", "CA", ""), ("GA", "US", "FGN"), ("CA", "AA", "DOM")],
)
def test_a_foreign_address_is_in_no_state_whatever_it_says(state: str, country: str, address_type: str) -> None:
    assert recognised(state, country, address_type) is None


@pytest.mark.parametrize(
    ("state", "country"), [("PR", "PR"), ("GU", "us"), ("AE", "US"), ("TX", "United States"), ("VI", "")]
)
def test_territories_may_be_their_own_country(state: str, country: str) -> None:
    assert recognised(state, country) == state


def test_each_state_counts_once_and_what_is_unrecognised_is_told_with_its_country() -> None:
    places = (("ny", "US", "DOM"), ("CA", "US", None), ("NY", None, None), ("GEORGIA", "GE", "FGN"), ("ZZ\n1", "", ""))
    assert practice_of(places) == (("CA", "NY"), ("GEORGIA (GE)", "ZZ 1"))


def test_an_address_without_a_state_is_nowhere() -> None:
    assert practice_of(((None, "US", "DOM"), ("", "US", "DOM"), ("  ", None, None))) == ((), ())


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"p": {"items": [{"address": {"state": "TX"}}, {"address": {"state": "OK", "country": "US"}}]}}, ["TX", "OK"]),
        ({"p": {"items": None}}, []),
        ({"p": {"items": []}}, []),
        ({"p": None}, []),
        (
            {"p": {"items": [None, {}, {"address": None}, {"address": {}}, {"address": {"state": ["TX"]}}]}},
            [None, None],
        ),
        ({"p": {"items": {"address": {"state": "TX"}}}}, []),
        ({"p": {"items": [{"address": {"state": 7}}]}}, ["7"]),
    ],
)
def test_addresses_are_found_in_records_of_any_shape(record: object, found: list[str | None]) -> None:
    practice = (PracticeAddresses(("p", "items", EACH, "address")),)
    assert [state for state, _, _ in addresses_in(record, practice)] == found
