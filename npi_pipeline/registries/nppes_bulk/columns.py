"""The headers of dissemination files: which columns there are, and telling them whatever their spelling.

CMS has changed the spelling now and then (blanks, ``Gender`` to ``Sex``) and added columns at the end. A header is
known when every column that is needed is there and no column is there that nobody knows: what CMS adds is not dropped
in silence. Not here: what becomes of the values (``records``, ``child_files``).
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError

TAXONOMY_SLOTS = 15
IDENTIFIER_SLOTS = 50

TAXONOMY_COLUMNS = {
    "code": "Healthcare Provider Taxonomy Code",
    "license": "Provider License Number",
    "state": "Provider License Number State Code",
    "primary": "Healthcare Provider Primary Taxonomy Switch",
}
TAXONOMY_GROUP = "Healthcare Provider Taxonomy Group"
IDENTIFIER_COLUMNS = {
    "identifier": "Other Provider Identifier",
    "code": "Other Provider Identifier Type Code",
    "state": "Other Provider Identifier State",
    "issuer": "Other Provider Identifier Issuer",
}

SEX = "Provider Sex Code"
CERTIFICATION_DATE = "Certification Date"


def slot(column: str, number: int) -> str:
    """The name of the ``number``-th ``column`` of a repeated group, from 1."""
    return f"{column}_{number}"


MAIN_COLUMNS: tuple[str, ...] = (
    "NPI",
    "Entity Type Code",
    "Replacement NPI",
    "Employer Identification Number (EIN)",
    "Provider Organization Name (Legal Business Name)",
    "Provider Last Name (Legal Name)",
    "Provider First Name",
    "Provider Middle Name",
    "Provider Name Prefix Text",
    "Provider Name Suffix Text",
    "Provider Credential Text",
    "Provider Other Organization Name",
    "Provider Other Organization Name Type Code",
    "Provider Other Last Name",
    "Provider Other First Name",
    "Provider Other Middle Name",
    "Provider Other Name Prefix Text",
    "Provider Other Name Suffix Text",
    "Provider Other Credential Text",
    "Provider Other Last Name Type Code",
    *(
        column.format(kind)
        for kind in ("Mailing", "Practice Location")
        for column in (
            "Provider First Line Business {} Address",
            "Provider Second Line Business {} Address",
            "Provider Business {} Address City Name",
            "Provider Business {} Address State Name",
            "Provider Business {} Address Postal Code",
            "Provider Business {} Address Country Code (If outside U.S.)",
            "Provider Business {} Address Telephone Number",
            "Provider Business {} Address Fax Number",
        )
    ),
    "Provider Enumeration Date",
    "Last Update Date",
    "NPI Deactivation Reason Code",
    "NPI Deactivation Date",
    "NPI Reactivation Date",
    SEX,
    "Authorized Official Last Name",
    "Authorized Official First Name",
    "Authorized Official Middle Name",
    "Authorized Official Title or Position",
    "Authorized Official Telephone Number",
    *(slot(column, number) for number in range(1, TAXONOMY_SLOTS + 1) for column in TAXONOMY_COLUMNS.values()),
    *(slot(column, number) for number in range(1, IDENTIFIER_SLOTS + 1) for column in IDENTIFIER_COLUMNS.values()),
    "Is Sole Proprietor",
    "Is Organization Subpart",
    "Parent Organization LBN",
    "Parent Organization TIN",
    "Authorized Official Name Prefix Text",
    "Authorized Official Name Suffix Text",
    "Authorized Official Credential Text",
    *(slot(TAXONOMY_GROUP, number) for number in range(1, TAXONOMY_SLOTS + 1)),
    CERTIFICATION_DATE,
)
"""The main file's header, as it is since 2025."""

_SLOTS_OFTEN_FILLED = 4
RARELY_FILLED: frozenset[str] = frozenset(
    [
        slot(column, number)
        for columns, slots in (
            ((*TAXONOMY_COLUMNS.values(), TAXONOMY_GROUP), TAXONOMY_SLOTS),
            (tuple(IDENTIFIER_COLUMNS.values()), IDENTIFIER_SLOTS),
        )
        for column in columns
        for number in range(_SLOTS_OFTEN_FILLED + 1, slots + 1)
    ]
)
"""Columns of the main file that are empty in nearly all rows: it may be read without them where they are."""

_SECONDARY = "Provider Secondary Practice Location Address"
CHILD_COLUMNS: dict[str, tuple[str, ...]] = {
    "othername": (
        "NPI",
        "Provider Other Organization Name",
        "Provider Other Organization Name Type Code",
        "Created Date",
    ),
    "pl": (
        "NPI",
        f"{_SECONDARY}- Address Line 1",
        f"{_SECONDARY}-  Address Line 2",
        f"{_SECONDARY} - City Name",
        f"{_SECONDARY} - State Name",
        f"{_SECONDARY} - Postal Code",
        f"{_SECONDARY} - Country Code (If outside U.S.)",
        f"{_SECONDARY} - Telephone Number",
        f"{_SECONDARY} - Telephone Extension",
        "Provider Practice Location Address - Fax Number",
    ),
    "endpoint": (
        "NPI",
        "Endpoint Type",
        "Endpoint Type Description",
        "Endpoint",
        "Affiliation",
        "Endpoint Description",
        "Affiliation Legal Business Name",
        "Use Code",
        "Use Description",
        "Other Use Description",
        "Content Type",
        "Content Description",
        "Other Content Description",
        "Affiliation Address Line One",
        "Affiliation Address Line Two",
        "Affiliation Address City",
        "Affiliation Address State",
        "Affiliation Address Country",
        "Affiliation Address Postal Code",
    ),
}
"""The headers of the files beside the main one, by the beginning of their names: ``othername_pfile_...``."""

# The main file had no certification dates until 2020, and the file of other names no days of creation until 2025.
_NOT_IN_EVERY_FILE = frozenset({CERTIFICATION_DATE, "Created Date"})
_ALSO_CALLED = {"Provider Gender Code": SEX, "Affiliation Address Line Postal Code": "Affiliation Address Postal Code"}


@dataclasses.dataclass(frozen=True)
class FileColumns:
    """A file's header that is known. ``names`` are its columns in their order, spelt as in this module.

    ``where`` names the file, for messages.
    """

    where: str
    names: tuple[str, ...]


def main_columns(header: Sequence[str], where: str) -> FileColumns:
    """The columns of a main file. Raises BulkFileError that names the columns that are missing or foreign."""
    return _known(header, MAIN_COLUMNS, where)


def child_columns(kind: str, header: Sequence[str], where: str) -> FileColumns:
    """The columns of a file of other names, practice locations or endpoints (see CHILD_COLUMNS). Raises likewise."""
    return _known(header, CHILD_COLUMNS[kind], where)


def _known(header: Sequence[str], wanted: Sequence[str], where: str) -> FileColumns:
    official = {_key(name): name for name in wanted} | {
        _key(other): name for other, name in _ALSO_CALLED.items() if name in wanted
    }
    names = [official.get(_key(name)) for name in header]
    foreign = [name for name, known in zip(header, names, strict=True) if known is None]
    missing = [name for name in wanted if name not in names and name not in _NOT_IN_EVERY_FILE]
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    for said, those in (("no column", missing), ("a column that is not known,", foreign), ("twice the column", twice)):
        if those:
            more = f" and {len(those) - 1} more like it" if len(those) > 1 else ""
            raise BulkFileError(
                f"{where} has {said} {those[0][:100]!r}{more}: it is not as CMS publishes it, or in a layout that is "
                "newer than this version; take the file as it was downloaded, or a newer version of npi_pipeline"
            )
    return FileColumns(where, tuple(name for name in names if name))


def _key(name: str) -> str:
    """What is left of a column's name when spelling is left out."""
    return re.sub(r"[^a-z0-9_]", "", name.removeprefix("\ufeff").lower())
