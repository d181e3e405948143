"""Made-up providers from a seed, without files: what the emulated registry answers about any NPI.

Every answer is a pure function of (seed, NPI), so that a test knows the truth without asking. Names, addresses
and numbers are invented (telephone numbers are of the 555-01xx block); taxonomy codes and the answers' shapes are
the real registry's.

Not here: serving the answers over HTTP (``registry``) and judging them (``npi_pipeline.registries``).
"""

from __future__ import annotations

import bisect
import datetime as dt
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import orjson

from npi_pipeline.check_digit import check_digit, why_invalid
from npi_pipeline.outcomes import Outcome
from npi_pipeline.testing import vocabulary
from npi_pipeline.testing.places import FOREIGN_PLACES, PLACES, Place

NOT_FOUND_SHARE = 0.02
DEACTIVATED_SHARE = 0.01
ORGANIZATION_SHARE = 0.2
FOREIGN_SHARE = 0.003
DAILY_CHANGE_SHARE = 0.01

Json = dict[str, Any]
Draw = Callable[[], float]
T = TypeVar("T")

NOT_FOUND = b'{"result_count":0,"results":[]}'

_NPI_SPACE = 10**8
# Odd and no multiple of 5: its multiples pass through all 10**8 numbers before one comes again.
_STRIDE = 61_803_399

_PLACE_BOUNDS = tuple(itertools.accumulate(place.weight for place in PLACES))
_FIRST_DAY = dt.date(2005, 5, 23)
_DAYS = (dt.date(2026, 6, 30) - _FIRST_DAY).days
_FIRST_EPOCH = (_FIRST_DAY - dt.date(1970, 1, 1)).days * 86_400


def npi_numbers(count: int, seed: int = 0) -> Iterator[str]:
    """``count`` distinct NPIs with a right check digit, in no order, made as they are asked for.

    Raises ValueError when there are not that many.
    """
    if count > _NPI_SPACE:
        raise ValueError(f"{count} NPIs asked for, there are only {_NPI_SPACE}")
    start = random.Random(seed).randrange(_NPI_SPACE)
    for index in range(count):
        first_nine = f"1{(start + index * _STRIDE) % _NPI_SPACE:08d}"
        yield first_nine + check_digit(first_nine)


def outcome_of(npi: str, seed: int = 0) -> Outcome:
    """The truth about one NPI in the emulated registry of ``seed``: found, not_found or deactivated."""
    return _outcome(npi, _draw(npi, seed))


def another_found_npi(npi: str, seed: int = 0) -> str:
    """An NPI that is found and is not ``npi``; always the same one."""
    others = npi_numbers(1000, seed)
    return next(other for other in others if other != npi and outcome_of(other, seed) is Outcome.found)


def answer(npi: str, seed: int = 0, era: str = "C", days: int = 0) -> bytes:
    """The emulated NPI Registry's JSON answer (v2.1) about one NPI, compact as the real one's.

    ``era`` is the answer's shape: ``C`` as in 2026, ``B`` as from September 2022, ``A`` as before that. ``days`` later,
    some providers have moved, have another name or telephone, or are deactivated (see DAILY_CHANGE_SHARE).
    """
    draw = _draw(npi, seed)
    outcome = _outcome(npi, draw)
    if outcome is Outcome.not_found:
        return NOT_FOUND
    if outcome is Outcome.deactivated:
        return deactivated_answer(npi)
    record = _record_of(npi, draw)
    for day in range(1, days + 1):
        draw = random.Random(f"{seed}:{npi}:{day}").random
        if _happens(draw, DAILY_CHANGE_SHARE):
            if _happens(draw, 0.1):
                return deactivated_answer(npi)
            _change(record, day, draw)
    return answer_of(record, era)


def _change(record: Json, day: int, draw: Draw) -> None:
    """What changes about a provider on the ``day``-th day: where it practises, its telephone, or a name."""
    basic = record["basic"]
    basic["last_updated"], record["last_updated_epoch"] = _date(_DAYS + day), _epoch(_DAYS + day, draw)
    number = next(at for at, address in enumerate(record["addresses"]) if address["address_purpose"] == "LOCATION")
    if _happens(draw, 0.4):
        record["addresses"][number] = _address("LOCATION", _place(draw), draw)
    elif _happens(draw, 0.5):
        record["addresses"][number]["telephone_number"] = f"202-555-01{_digits(draw, 2)}"
    else:
        name = "last_name" if "last_name" in basic else "authorized_official_last_name"
        basic[name] = _pick(draw, vocabulary.SURNAMES)


def answer_of(record: Json, era: str = "C") -> bytes:
    """The NPI Registry's answer that holds ``record``."""
    if era != "C":
        record = _IN_ERA[era](record)
    # Today's registry sorts its keys; the older ones did not.
    return orjson.dumps({"result_count": 1, "results": [record]}, option=orjson.OPT_SORT_KEYS if era == "C" else None)


def record_of(npi: str, seed: int = 0) -> Json:
    """The record in ``answer`` when the NPI is found, and what it would be when it is not."""
    draw = _draw(npi, seed)
    _outcome(npi, draw)
    return _record_of(npi, draw)


def deactivated_answer(npi: str) -> bytes:
    """The NPI Registry's answer about an NPI that CMS has deactivated."""
    description = (
        f"CMS deactivated NPI {npi}. The provider can no longer use this NPI. "
        "Our public registry does not display provider information about NPIs that are not in service."
    )
    return orjson.dumps({"Errors": [{"description": description, "field": "number", "number": "15"}]})


def affiliated_practices_answer(npi: str, seed: int = 0) -> bytes:
    """The answer about one NPI in the ``affiliated_practices`` format, in which every NPI is found.

    Practices are a list, an empty list or null; a practice's state may be null. What ``answer`` does not find is
    not active here and has no practices.
    """
    draw = _draw(npi, seed)
    if _outcome(npi, draw) is not Outcome.found:
        return orjson.dumps({"active": False, "affiliatedPractices": {"items": None}})
    items: list[Json] | None = None
    if not _happens(draw, 0.03):
        items = [_practice(draw) for _ in range(0 if _happens(draw, 0.03) else 1 + _few(draw, 0.3, 6))]
    first, last = _person(draw)
    record = {
        "active": _happens(draw, 0.98),
        "affiliatedPractices": {"items": items},
        "name": {"first": first, "last": last},
        "npi": npi,
        "specialties": [desc for _, desc in _sample(draw, vocabulary.TAXONOMIES["NPI-1"], 1 + _few(draw, 0.2, 3))],
    }
    return orjson.dumps(record)


def _draw(npi: str, seed: int) -> Draw:
    # Only random(): the one method whose numbers stay the same in every version of Python.
    return random.Random(f"{seed}:{npi}" if not npi.isascii() or not npi.isdigit() else (seed << 40) + int(npi)).random


def _outcome(npi: str, draw: Draw) -> Outcome:
    share = draw()
    if share < NOT_FOUND_SHARE or why_invalid(npi):
        return Outcome.not_found
    return Outcome.deactivated if share < NOT_FOUND_SHARE + DEACTIVATED_SHARE else Outcome.found


def _happens(draw: Draw, share: float) -> bool:
    return draw() < share


def _pick(draw: Draw, choices: Sequence[T]) -> T:
    return choices[int(draw() * len(choices))]


def _sample(draw: Draw, choices: Sequence[T], count: int) -> list[T]:
    start = int(draw() * len(choices))
    return [choices[(start + index) % len(choices)] for index in range(count)]


def _few(draw: Draw, share: float, most: int) -> int:
    """How many there are of something that ``share`` of all have at least one of: 0 to ``most``, few mostly."""
    if not _happens(draw, share):
        return 0
    return 1 + int(most * draw() ** 6)


def _digits(draw: Draw, count: int) -> str:
    return f"{int(draw() * 10**count):0{count}d}"


def _record_of(npi: str, draw: Draw) -> Json:
    return _organization(npi, draw) if _happens(draw, ORGANIZATION_SHARE) else _individual(npi, draw)


def _individual(npi: str, draw: Draw) -> Json:
    place = _place(draw)
    first, last = _person(draw)
    basic: Json = {
        "first_name": first,
        "last_name": last,
        "sex": "" if _happens(draw, 0.002) else "F" if first in vocabulary.FEMALE_NAMES else "M",
        "sole_proprietor": "NO" if _happens(draw, 0.61) else "YES",
        "status": "A",
    }
    if _happens(draw, 0.54):
        basic["middle_name"] = _pick(draw, ("A", "J.", "MARIE", "LEE", "ANNE", "QUENTIN"))
    if _happens(draw, 0.62):
        basic["credential"] = _pick(draw, vocabulary.CREDENTIALS)
    if _happens(draw, 0.51):
        basic["name_prefix"] = _pick(draw, ("--", "Dr.", "Mrs.", "Mr.", "Ms."))
    if _happens(draw, 0.41):
        basic["name_suffix"] = "--" if _happens(draw, 0.9) else _pick(draw, ("Jr.", "II", "III"))
    # One at most: the registry's files have no room for more, and no real person has been seen with two.
    names = [_other_individual_name(draw, basic)] if _happens(draw, 0.1) else []
    return _record(npi, "NPI-1", place, draw, basic=basic, other_names=names)


def _organization(npi: str, draw: Draw) -> Json:
    place = _place(draw)
    first, last = _person(draw)
    name = _organization_name(draw)
    basic: Json = {
        "authorized_official_first_name": first,
        "authorized_official_last_name": last,
        "authorized_official_telephone_number": _telephone(draw, place).replace("-", ""),
        "authorized_official_title_or_position": _pick(draw, vocabulary.TITLES),
        "organization_name": name,
        "organizational_subpart": "NO",
        "status": "A",
    }
    if _happens(draw, 0.1):
        basic["organizational_subpart"] = "YES"
        basic["parent_organization_legal_business_name"] = _organization_name(draw)
    if _happens(draw, 0.3):
        basic["authorized_official_middle_name"] = _pick(draw, ("A", "LEE", "ANN"))
    if _happens(draw, 0.2):
        basic["authorized_official_credential"] = _pick(draw, vocabulary.CREDENTIALS)
    if _happens(draw, 0.3):
        basic["authorized_official_name_prefix"] = _pick(draw, ("Mr.", "Mrs.", "Dr."))
        basic["authorized_official_name_suffix"] = "--"
    names = [
        {"code": code, "organization_name": _organization_name(draw), "type": kind}
        for code, kind in _sample(draw, vocabulary.ORGANIZATION_NAME_KINDS, _few(draw, 0.4, 3))
    ]
    return _record(npi, "NPI-2", place, draw, basic=basic, other_names=names)


def _record(npi: str, enumeration_type: str, place: Place, draw: Draw, *, basic: Json, other_names: list[Json]) -> Json:
    taxonomies = vocabulary.TAXONOMIES[enumeration_type]
    created, updated = _dates(basic, draw)
    location = _address("LOCATION", place, draw)
    mailing = _mailing_address(location, place, draw)
    return {
        "addresses": [location, mailing] if _happens(draw, 0.48) else [mailing, location],
        "basic": basic,
        "created_epoch": created,
        "endpoints": [_endpoint(npi, place, draw) for _ in range(_few(draw, 0.03, 3))],
        "enumeration_type": enumeration_type,
        "identifiers": [_identifier(place, draw) for _ in range(_few(draw, 0.14, 9))],
        "last_updated_epoch": updated,
        "number": npi,
        "other_names": other_names,
        "practiceLocations": [_practice_location(place, draw) for _ in range(_few(draw, 0.1, 8))],
        "taxonomies": _taxonomies(taxonomies, place, draw),
    }


def _place(draw: Draw) -> Place:
    if _happens(draw, FOREIGN_SHARE):
        return _pick(draw, FOREIGN_PLACES)
    return PLACES[bisect.bisect_right(_PLACE_BOUNDS, draw() * _PLACE_BOUNDS[-1])]


def _person(draw: Draw) -> tuple[str, str]:
    return (
        _pick(draw, vocabulary.FEMALE_NAMES if _happens(draw, 0.6) else vocabulary.MALE_NAMES),
        _pick(draw, vocabulary.SURNAMES),
    )


def _organization_name(draw: Draw) -> str:
    kind = _pick(draw, ("CLINIC, LLC", "HOSPITAL", "THERAPY, INC", "MEDICAL SUPPLIES PLLC", "FAMILY & CHILD CARE"))
    return f"{_pick(draw, vocabulary.ORGANIZATION_WORDS)} {kind}"


def _other_individual_name(draw: Draw, basic: Json) -> Json:
    code, kind = _pick(draw, vocabulary.INDIVIDUAL_NAME_KINDS)
    name: Json = {
        "code": code,
        "first_name": basic["first_name"],
        "last_name": _pick(draw, vocabulary.SURNAMES),
        "type": kind,
    }
    if _happens(draw, 0.6):
        name["middle_name"] = _pick(draw, ("JEAN", "MARIE", "B"))
    if _happens(draw, 0.4):
        name["credential"] = _pick(draw, vocabulary.CREDENTIALS)
    if _happens(draw, 0.6):
        name["prefix"] = "--"
        name["suffix"] = "--"
    return name


def _dates(basic: Json, draw: Draw) -> tuple[str, str]:
    """Put the dates into ``basic``; returns the times of creation and last update, in ms as text."""
    created = int(draw() * _DAYS)
    updated = created + int(draw() * draw() * (_DAYS - created))
    basic["enumeration_date"] = _date(created)
    basic["last_updated"] = _date(updated)
    if _happens(draw, 0.5):
        basic["certification_date"] = _date(updated)
    if _happens(draw, 0.005):
        basic["deactivation_date"] = _date(created)
        basic["reactivation_date"] = _date(updated)
    return _epoch(created, draw), _epoch(updated, draw)


def _date(day: int) -> str:
    return (_FIRST_DAY + dt.timedelta(days=day)).isoformat()


def _epoch(day: int, draw: Draw) -> str:
    return str((_FIRST_EPOCH + day * 86_400 + int(draw() * 86_400)) * 1000)


def _telephone(draw: Draw, place: Place) -> str:
    return f"{place.area_code}-555-01{_digits(draw, 2)}"


def _address(purpose: str, place: Place, draw: Draw) -> Json:
    foreign = place.country_code != "US"
    address: Json = {
        "address_1": f"{1 + int(draw() * 9999)} {_pick(draw, vocabulary.STREETS)}",
        "address_purpose": purpose,
        "address_type": "FGN" if foreign else "DOM",
        "city": _pick(draw, place.cities),
        "country_code": place.country_code,
        "country_name": place.country_name,
        "postal_code": place.zip_prefix + _digits(draw, 2 if foreign or _happens(draw, 0.1) else 6),
        "state": place.state,
    }
    if _happens(draw, 0.15):
        address["address_2"] = f"SUITE {1 + int(draw() * 400)}"
    if _happens(draw, 0.92):
        address["telephone_number"] = _telephone(draw, place)
    if _happens(draw, 0.31):
        address["fax_number"] = _telephone(draw, place)
    return address


def _mailing_address(location: Json, place: Place, draw: Draw) -> Json:
    if _happens(draw, 0.6):
        return {**location, "address_purpose": "MAILING"}
    mailing = _address("MAILING", place if _happens(draw, 0.9) else _place(draw), draw)
    if _happens(draw, 0.25):
        mailing["address_1"] = f"PO BOX {_digits(draw, 4)}"
    return mailing


def _practice_location(place: Place, draw: Draw) -> Json:
    place = place if _happens(draw, 0.6) else _place(draw)
    location = _address("LOCATION", place, draw)
    location.setdefault("telephone_number", _telephone(draw, place))
    return location


def _endpoint(npi: str, place: Place, draw: Draw) -> Json:
    address = _address("LOCATION", place, draw)
    organization = _pick(draw, vocabulary.ORGANIZATION_WORDS).lower()
    kind, kind_description, template = _pick(draw, vocabulary.ENDPOINT_KINDS)
    endpoint: Json = {
        name: address[name]
        for name in ("address_1", "address_type", "city", "country_code", "country_name", "postal_code", "state")
    }
    endpoint |= {
        "affiliation": "N",
        "contentTypeDescription": "",
        "endpoint": template.format(npi=npi, organization=organization),
        "endpointType": kind,
        "endpointTypeDescription": kind_description,
        "useDescription": "",
    }
    if "address_2" in address:
        endpoint["address_2"] = address["address_2"]
    if _happens(draw, 0.4):
        endpoint["use"], endpoint["useDescription"] = _pick(draw, vocabulary.ENDPOINT_USES)
    if _happens(draw, 0.2):
        endpoint["affiliation"], endpoint["affiliationName"] = "Y", _organization_name(draw)
    if _happens(draw, 0.2):
        endpoint |= {
            "contentType": "OTHER",
            "contentTypeDescription": "Other",
            "contentOtherDescription": "C-CDA",
            "endpointDescription": "CAREQUALITY",
            "useOtherDescription": "Query for documents",
        }
    return endpoint


def _identifier(place: Place, draw: Draw) -> Json:
    code, description = _pick(draw, vocabulary.IDENTIFIER_KINDS)
    return {
        "code": code,
        "desc": description,
        "identifier": _digits(draw, 4 + int(draw() * 7)) + ("A" if _happens(draw, 0.2) else ""),
        "issuer": _pick(draw, vocabulary.IDENTIFIER_ISSUERS) if code == "01" else None,
        "state": (place.state or None) if _happens(draw, 0.95) else None,
    }


def _taxonomies(kinds: Sequence[tuple[str, str]], place: Place, draw: Draw) -> list[Json]:
    count = 1 + _few(draw, 0.17, 14)
    primary = int(draw() * count)
    rows: list[Json] = []
    for index, (code, description) in enumerate(_sample(draw, kinds, count)):
        licensed = _happens(draw, 0.7)
        rows.append(
            {
                "code": code,
                "desc": description,
                "license": f"{_pick(draw, ('', 'MD', 'RN.', 'PT'))}{_digits(draw, 6)}" if licensed else None,
                "primary": index == primary,
                "state": (place.state or None) if licensed or _happens(draw, 0.2) else None,
                "taxonomy_group": _pick(draw, vocabulary.TAXONOMY_GROUPS) if _happens(draw, 0.04) else "",
            }
        )
    if _happens(draw, 0.005):
        rows[0]["code"], rows[0]["desc"] = vocabulary.RETIRED_TAXONOMY
    return rows


def _practice(draw: Draw) -> Json:
    place = _place(draw)
    return {
        "address": {
            "city": _pick(draw, place.cities),
            "line1": f"{1 + int(draw() * 9999)} {_pick(draw, vocabulary.STREETS)}",
            "state": place.state if _happens(draw, 0.97) else None,
            "zip": place.zip_prefix + _digits(draw, 2),
        },
        "name": _organization_name(draw),
        "phones": [_telephone(draw, place) for _ in range(_few(draw, 0.8, 2))],
    }


def _as_era_b(record: Json) -> Json:
    basic = record["basic"]
    if "sex" in basic:
        basic["gender"] = basic.pop("sex")
    first = {name: record[name] for name in ("created_epoch", "enumeration_type", "last_updated_epoch", "number")}
    return first | record


def _as_era_a(record: Json) -> Json:
    record = _as_era_b(record)
    _basic_as_era_a(record["basic"])
    for address in (*record["addresses"], *record["practiceLocations"], *record["endpoints"]):
        address.setdefault("address_2", "")
    for location in record["practiceLocations"]:
        del location["address_purpose"]
        location["update_date"] = f"{record['basic']['last_updated']} 13:02"
    for name in record["other_names"]:
        name.pop("prefix", None)
        name.pop("suffix", None)
    for identifier in record["identifiers"]:
        identifier["desc"] = identifier["desc"].removesuffix(" (non-Medicare)")
        _blanks_for_nulls(identifier)
    for taxonomy in record["taxonomies"]:
        _taxonomy_as_era_a(taxonomy)
    for name in ("endpoints", "practiceLocations"):
        if not record[name]:
            del record[name]
    for name in ("created_epoch", "last_updated_epoch"):
        record[name] = int(record[name]) // 1000
    record["number"] = int(record["number"])
    return record


def _basic_as_era_a(basic: Json) -> None:
    for name in [name for name in basic if name.endswith(("_prefix", "_suffix"))]:
        affix = basic.pop(name).upper()
        if affix != "--":
            basic[name] = affix
    basic["name"] = basic.get("organization_name") or f"{basic['last_name']} {basic['first_name']}"


def _taxonomy_as_era_a(taxonomy: Json) -> None:
    _blanks_for_nulls(taxonomy)
    taxonomy["desc"] = taxonomy["desc"].replace(",", "")
    group = taxonomy.pop("taxonomy_group")
    if group:
        taxonomy["taxonomy_group"] = group.replace(" - ", " ").upper()


def _blanks_for_nulls(row: Json) -> None:
    row.update({name: "" for name, value in row.items() if value is None})


_IN_ERA: dict[str, Callable[[Json], Json]] = {"A": _as_era_a, "B": _as_era_b}
