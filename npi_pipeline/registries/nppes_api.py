"""The NPI Registry API v2.1 of CMS (NPPES), in the three shapes its answers have had since 2018.

Not here: the registry's address for tests (``demo``), what a state is (``providers.states``).
"""

from __future__ import annotations

import re
from typing import Any

from npi_pipeline.outcomes import Outcome, Verdict
from npi_pipeline.registries.bodies import json_object, retryable
from npi_pipeline.registries.registry_format import RegistryFormat
from npi_pipeline.schema.columns import (
    EACH,
    Field,
    FieldType,
    ListFields,
    ObjectFields,
    PickedFields,
    PracticeAddresses,
    TableLayout,
)

DEACTIVATED = "15"
# What is wrong with the request itself; asking again cannot help. Other numbers are not documented.
REQUEST_IS_WRONG = frozenset({"03", "04", "07", "09"})

_MAX_NUMBER_LENGTH = 10**15
_NPI = re.compile(r"(?<!\d)\d{10}(?!\d)", re.ASCII)
_FOUND = Verdict(Outcome.found)
NOT_FOUND = "the registry does not know this NPI"
"""The reason of every `not_found`, whichever way the registry was read."""
_NOT_FOUND = Verdict(Outcome.not_found, NOT_FOUND)


def judge(npi: str, body: bytes) -> Verdict:
    """What the body of an HTTP 200 answer says about ``npi``. Never raises."""
    answer = json_object(body)
    if isinstance(answer, Verdict):
        return answer
    if "Errors" in answer:
        return _judge_errors(npi, answer["Errors"])
    return _judge_results(npi, answer.get("result_count"), answer.get("results"))


def _judge_results(npi: str, count: Any, results: Any) -> Verdict:
    if type(count) is not int or not isinstance(results, list):
        return retryable("the answer has no result_count and results")
    if count == 0 and not results:
        return _NOT_FOUND
    if count != 1 or len(results) != 1:
        return retryable("the answer does not hold exactly one record")
    record = results[0]
    number = record.get("number") if isinstance(record, dict) else None
    if not isinstance(number, (int, str)):
        return retryable("the record has no number")
    return _FOUND if _short_text(number) == npi else retryable("the answer is about another NPI")


def _judge_errors(npi: str, errors: Any) -> Verdict:
    if not isinstance(errors, list) or not errors or not all(isinstance(error, dict) for error in errors):
        return retryable("the registry reports an error of unknown shape")
    numbers = {_short_text(error.get("number")) for error in errors}
    said = "; ".join(filter(None, (_short_text(error.get("description")) for error in errors[:10])))
    if DEACTIVATED in numbers:
        named = _NPI.findall(said)
        if named and npi not in named:
            return retryable("the answer is about another NPI")
        return Verdict(Outcome.deactivated, said or "the registry has deactivated this NPI")
    reason = f"the registry refuses the request: {said} (error {', '.join(sorted(numbers)[:10])})"
    return Verdict(Outcome.failed, reason, retryable=not numbers <= REQUEST_IS_WRONG)


def _short_text(value: Any) -> str:
    """A text or number on one short line; empty for everything else."""
    if isinstance(value, str):
        return " ".join(value.split())[:300]
    return str(value) if type(value) is int and 0 <= value < _MAX_NUMBER_LENGTH else ""


_ADDRESS = (
    Field("address_purpose", "What the address is for: LOCATION (practice) or MAILING."),
    Field("address_type", "DOM (United States), FGN (foreign) or MIL (military)."),
    Field("address_1", "Street, first line."),
    Field("address_2", "Street, second line."),
    Field("city", "City."),
    Field("state", "State as the registry writes it; which file the row is in depends on it."),
    Field("postal_code", "Postal code, nine digits without a hyphen in the United States."),
    Field("country_code", "Country, two letters."),
    Field("country_name", "Country."),
    Field("telephone_number", "Telephone number."),
    Field("fax_number", "Fax number."),
)
_LAYOUT = TableLayout(
    record_path=("results", 0),
    envelope=("result_count", "results"),
    objects=(
        ObjectFields(
            "",
            (
                Field("number", "The NPI as the registry gives it."),
                Field("enumeration_type", "NPI-1 (a person) or NPI-2 (an organisation)."),
                Field("created_epoch", "When the record was made, milliseconds since 1970 (UTC).", FieldType.epoch),
                Field(
                    "last_updated_epoch",
                    "When the record was last changed, milliseconds since 1970 (UTC).",
                    FieldType.epoch,
                ),
            ),
        ),
        ObjectFields(
            "basic",
            (
                Field("first_name", "First name (NPI-1)."),
                Field("middle_name", "Middle name (NPI-1)."),
                Field("last_name", "Last name (NPI-1)."),
                Field("name_prefix", "Title before the name (NPI-1); `--` is none."),
                Field("name_suffix", "Suffix after the name (NPI-1); `--` is none."),
                Field("credential", "Credentials, e.g. M.D. (NPI-1)."),
                Field("sex", "F or M (NPI-1); called gender until 2026.", former_name="gender"),
                Field("sole_proprietor", "YES or NO (NPI-1)."),
                Field("name", "Name in one piece, in answers until 2022."),
                Field("organization_name", "Legal business name (NPI-2)."),
                Field("organizational_subpart", "YES or NO: part of a larger organisation (NPI-2)."),
                Field("parent_organization_legal_business_name", "Legal business name of the parent (NPI-2 subparts)."),
                Field("authorized_official_first_name", "Authorised official: first name (NPI-2)."),
                Field("authorized_official_middle_name", "Authorised official: middle name (NPI-2)."),
                Field("authorized_official_last_name", "Authorised official: last name (NPI-2)."),
                Field("authorized_official_name_prefix", "Authorised official: title before the name (NPI-2)."),
                Field("authorized_official_name_suffix", "Authorised official: suffix after the name (NPI-2)."),
                Field("authorized_official_credential", "Authorised official: credentials (NPI-2)."),
                Field("authorized_official_title_or_position", "Authorised official: title or position (NPI-2)."),
                Field("authorized_official_telephone_number", "Authorised official: telephone number (NPI-2)."),
                Field("enumeration_date", "Day on which the NPI was given.", FieldType.date),
                Field("last_updated", "Day of the last change.", FieldType.date),
                Field("certification_date", "Day on which the record was last certified.", FieldType.date),
                Field("deactivation_date", "Day of deactivation, of NPIs that were reactivated.", FieldType.date),
                Field("reactivation_date", "Day of reactivation.", FieldType.date),
                Field("status", "A: active."),
            ),
        ),
    ),
    picked=PickedFields(
        name="addresses",
        key="address_purpose",
        picks=(("LOCATION", "location_address"), ("MAILING", "mailing_address")),
        rest="other_addresses",
        fields=_ADDRESS,
        # There is one of each purpose; no third one has been seen.
        width=5,
    ),
    # How wide: 15 taxonomies and 50 identifiers are all that the registry's bulk files have room for, and the others as
    # wide as MAX_COLUMNS leaves room; of 135 real answers none has more than 3 items there.
    lists=(
        ListFields(
            "taxonomies",
            (
                Field("code", "Health care provider taxonomy code."),
                Field("desc", "What the taxonomy code means."),
                Field("primary", "Whether this is the primary taxonomy.", FieldType.boolean),
                Field("license", "Licence number."),
                Field("state", "State of the licence."),
                Field("taxonomy_group", "Taxonomy group, of group practices."),
            ),
            width=15,
        ),
        ListFields(
            "identifiers",
            (
                Field("code", "Kind of the identifier, as a code."),
                Field("desc", "Kind of the identifier."),
                Field("identifier", "The identifier."),
                Field("issuer", "Who issued it."),
                Field("state", "State of the issuer."),
            ),
            width=50,
        ),
        ListFields(
            "other_names",
            (
                Field("code", "Kind of the name, as a code."),
                Field("type", "Kind of the name, e.g. Former Name, Doing Business As."),
                Field("organization_name", "Name (NPI-2)."),
                Field("prefix", "Title before the name (NPI-1)."),
                Field("first_name", "First name (NPI-1)."),
                Field("middle_name", "Middle name (NPI-1)."),
                Field("last_name", "Last name (NPI-1)."),
                Field("suffix", "Suffix after the name (NPI-1)."),
                Field("credential", "Credentials (NPI-1)."),
            ),
            width=20,
        ),
        ListFields(
            "practiceLocations",
            (*_ADDRESS, Field("update_date", "When the location was last changed, in answers until 2022.")),
            width=40,
        ),
        ListFields(
            "endpoints",
            (
                Field("endpointType", "Kind of the endpoint: DIRECT, FHIR, SOAP, CONNECT, OTHERS."),
                Field("endpointTypeDescription", "Kind of the endpoint in words."),
                Field("endpoint", "Address of the endpoint."),
                Field("endpointDescription", "Description of the endpoint."),
                Field("affiliation", "Y or N: belongs to an affiliated organisation."),
                Field("affiliationName", "Name of the affiliated organisation."),
                Field("use", "What the endpoint is used for, as a code."),
                Field("useDescription", "What the endpoint is used for."),
                Field("useOtherDescription", "What the endpoint is used for, in free words."),
                Field("contentType", "Content of the endpoint, as a code."),
                Field("contentTypeDescription", "Content of the endpoint."),
                Field("contentOtherDescription", "Content of the endpoint, in free words."),
                *(
                    field
                    for field in _ADDRESS
                    if field.name not in {"address_purpose", "telephone_number", "fax_number"}
                ),
            ),
            width=20,
        ),
    ),
    practice_addresses=(
        PracticeAddresses(("location_address",)),
        PracticeAddresses(("practiceLocations", EACH)),
        PracticeAddresses(("other_addresses", EACH), unless=("address_purpose", "MAILING")),
    ),
)

NPPES = RegistryFormat(
    name="nppes",
    description="The public NPI Registry API v2.1 of CMS.",
    default_url="https://npiregistry.cms.hhs.gov/api/?version=2.1&number={npi}",
    judge=judge,
    layout=_LAYOUT,
)
