"""US states: which text in an address means which state, and where a record practises.

State text comes from outside and becomes a file name, so only the codes below ever leave this module as a state.
Not here: files (``state_files``).
"""

from __future__ import annotations

import functools
import string
from collections.abc import Iterable
from typing import Any

from npi_pipeline.schema.columns import EACH, PracticeAddresses
from npi_pipeline.schema.json_paths import text_of, without_nul

# The United States Postal Service's codes. UM (minor outlying islands) is not one of them: nobody practises there.
NAMES = {
    "AL": "Alabama",
    "AK": "Alaska",
    "AZ": "Arizona",
    "AR": "Arkansas",
    "CA": "California",
    "CO": "Colorado",
    "CT": "Connecticut",
    "DE": "Delaware",
    "FL": "Florida",
    "GA": "Georgia",
    "HI": "Hawaii",
    "ID": "Idaho",
    "IL": "Illinois",
    "IN": "Indiana",
    "IA": "Iowa",
    "KS": "Kansas",
    "KY": "Kentucky",
    "LA": "Louisiana",
    "ME": "Maine",
    "MD": "Maryland",
    "MA": "Massachusetts",
    "MI": "Michigan",
    "MN": "Minnesota",
    "MS": "Mississippi",
    "MO": "Missouri",
    "MT": "Montana",
    "NE": "Nebraska",
    "NV": "Nevada",
    "NH": "New Hampshire",
    "NJ": "New Jersey",
    "NM": "New Mexico",
    "NY": "New York",
    "NC": "North Carolina",
    "ND": "North Dakota",
    "OH": "Ohio",
    "OK": "Oklahoma",
    "OR": "Oregon",
    "PA": "Pennsylvania",
    "RI": "Rhode Island",
    "SC": "South Carolina",
    "SD": "South Dakota",
    "TN": "Tennessee",
    "TX": "Texas",
    "UT": "Utah",
    "VT": "Vermont",
    "VA": "Virginia",
    "WA": "Washington",
    "WV": "West Virginia",
    "WI": "Wisconsin",
    "WY": "Wyoming",
    "DC": "District of Columbia",
    "PR": "Puerto Rico",
    "VI": "Virgin Islands",
    "GU": "Guam",
    "AS": "American Samoa",
    "MP": "Northern Mariana Islands",
    "FM": "Micronesia",
    "MH": "Marshall Islands",
    "PW": "Palau",
    "AA": "Armed Forces Americas",
    "AE": "Armed Forces Europe",
    "AP": "Armed Forces Pacific",
}
"""What each code stands for."""
_OTHER_NAMES = {
    "WASHINGTON DC": "DC",
    "US VIRGIN ISLANDS": "VI",
    "VIRGIN ISLANDS US": "VI",
    "FEDERATED STATES OF MICRONESIA": "FM",
}
_TERRITORIES = frozenset({"PR", "VI", "GU", "AS", "MP", "FM", "MH", "PW"})
# What the country of an address in a recognised state may be called. No country at all is taken for the United States.
_COUNTRIES = frozenset({"", "US", "USA", "UNITED STATES", "UNITED STATES OF AMERICA", "UM"}) | _TERRITORIES

MAX_TEXT_LENGTH = 100
"""A text that is longer is no state, country or type of an address, and is not read beyond this."""

# A record with more addresses is not remembered: what comes from outside must not fill the memory.
_MAX_REMEMBERED = 50

STATES = frozenset(NAMES)
"""Every state that a file can be named after."""

# ASCII alone: letters of other scripts fold to these too (a ligature to FL, a long s to S), and are in no state's name.
_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)

_CODES = {code: code for code in NAMES} | {name.upper(): code for code, name in NAMES.items()} | _OTHER_NAMES

Address = tuple[str | None, str | None, str | None]
"""State, country and address type as the registry writes them."""
ADDRESS_FIELDS = ("state", "country_code", "address_type")
NOWHERE: Address = (None, None, None)
Practice = tuple[tuple[str, ...], tuple[str, ...]]
"""The states in which a provider practises, sorted, each once; and the texts that are no recognised state."""


def recognised(state: str, country: str = "", address_type: str = "") -> str | None:
    """The code of the state that an address is in, or None for a foreign address and for text that is no state."""
    if _plain(address_type) == "FGN" or _plain(country) not in _COUNTRIES or len(state) > MAX_TEXT_LENGTH:
        return None
    return _CODES.get(_plain(state))


def _plain(text: str) -> str:
    return " ".join(text.translate(_UPPER).replace(".", "").replace(",", " ").split())


def practice_of(addresses: tuple[Address, ...]) -> Practice:
    """Where a provider with the practice ``addresses`` practises. An address without any state text is nowhere."""
    return _remembered(addresses) if len(addresses) <= _MAX_REMEMBERED else _practice_of(addresses)


def _practice_of(addresses: tuple[Address, ...]) -> Practice:
    codes: set[str] = set()
    unrecognised: set[str] = set()
    for state, country, address_type in addresses:
        code = recognised(state or "", country or "", address_type or "")
        if code:
            codes.add(code)
        elif state and state.strip():
            unrecognised.add(_one_line(f"{state} ({country})" if country else state))
    return tuple(sorted(codes)), tuple(sorted(unrecognised))


_remembered = functools.lru_cache(maxsize=8192)(_practice_of)


def _one_line(text: str) -> str:
    return without_nul(" ".join(text.split()))


def addresses_in(record: Any, practice: Iterable[PracticeAddresses]) -> tuple[Address, ...]:
    """The addresses in a record of any shape to which the paths of ``practice`` lead."""
    found: list[Address] = []
    for addresses in practice:
        key, value = addresses.unless or (None, None)
        for place in _at(record, addresses.path):
            if isinstance(place, dict) and (key is None or place.get(key) != value):
                country = _text(place, "country_code") or _text(place, "country")
                found.append((_text(place, "state"), country, _text(place, "address_type")))
    return tuple(found)


def _text(place: dict[str, Any], key: str) -> str | None:
    value = place.get(key)
    text = None if isinstance(value, (dict, list)) else text_of(value)
    return text and text[: MAX_TEXT_LENGTH + 1]


def _at(record: Any, path: tuple[str, ...]) -> list[Any]:
    found = [record]
    for step in path:
        if step == EACH:
            found = [item for here in found if isinstance(here, list) for item in here]
        else:
            found = [here[step] for here in found if isinstance(here, dict) and step in here]
    return found
