"""Rows of the main file to records of the provider table: the same cells that the registry's API gives.

The API names its fields as CMS' own map from the file to JSON does ("Conversion field map of the NPPES Data
Dissemination CSV file to a JSON document"); how it writes values was told from real rows and real answers
(``npi_pipeline_tests/data``). Everything is done a block of rows at a time, by columns. Of 330 columns most cells are
empty: each of the repeated groups is reduced to the rows that have something in it before anything else is done.

What cannot be the same as by the API stands in the tuples below, which the documentation lists.
Not here: the files beside the main one (``child_files``), headers (``columns``).
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping

import polars as pl

from npi_pipeline.registries.nppes_api import NPPES
from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.code_tables import code_table, taxonomy_descriptions
from npi_pipeline.registries.nppes_bulk.columns import (
    CERTIFICATION_DATE,
    IDENTIFIER_COLUMNS,
    IDENTIFIER_SLOTS,
    SEX,
    TAXONOMY_COLUMNS,
    TAXONOMY_GROUP,
    TAXONOMY_SLOTS,
    FileColumns,
    slot,
)
from npi_pipeline.registries.nppes_bulk.store_schema import ITEMS, RECORD_COLUMNS, STORE_SCHEMA

NOT_IN_BULK: tuple[str, ...] = (
    "created_epoch",
    "last_updated_epoch",
    "basic.name",
    "practiceLocations[*].update_date",
    *(
        f"other_addresses[*].{field.name}"
        for part in NPPES.layout.lists_of_columns()
        if part.name == "other_addresses"
        for field in part.fields
    ),
)
"""Columns of the provider table that no dissemination file can fill: they are null. ``[*]`` is each item."""

DASHES_IN_API: tuple[str, ...] = (
    "basic.name_prefix",
    "basic.name_suffix",
    "basic.authorized_official_name_prefix",
    "basic.authorized_official_name_suffix",
    "other_names[*].prefix",
    "other_names[*].suffix",
)
"""Columns in which the API has ``--`` where somebody chose none, until 2017 mostly: the files leave it out (null)."""

CAPITALS_IN_BULK: tuple[str, ...] = (
    "basic.credential",
    "basic.authorized_official_title_or_position",
    "basic.authorized_official_credential",
    "identifiers[*].identifier",
    "identifiers[*].issuer",
    "taxonomies[*].license",
    "other_names[*].credential",
)
"""Columns whose letters the main file has as capitals where the API has them as they were typed."""

NOT_CARRIED: dict[str, str] = {
    "Replacement NPI": "the API has it not, and no row of a real file",
    "Employer Identification Number (EIN)": "withheld by CMS: <UNAVAIL>",
    "NPI Deactivation Reason Code": "withheld by CMS: always empty",
    "Parent Organization TIN": "withheld by CMS: <UNAVAIL>",
    "Provider Secondary Practice Location Address - Telephone Extension": "the API has it not",
    "Created Date": "the API has it not (other names)",
}
"""Columns of the files that go into no column of the provider table, and why."""

WITHHELD = "<UNAVAIL>"
PERSON, ORGANISATION = "1", "2"
# In the main file since 2025: the organisation's other names stand in the file of other names.
SEE_OTHER_NAMES = "6"

BASIC_OF_PERSON = {
    "first_name": "Provider First Name",
    "middle_name": "Provider Middle Name",
    "last_name": "Provider Last Name (Legal Name)",
    "name_prefix": "Provider Name Prefix Text",
    "name_suffix": "Provider Name Suffix Text",
    "credential": "Provider Credential Text",
    "sex": SEX,
    "sole_proprietor": "Is Sole Proprietor",
}
BASIC_OF_ORGANISATION = {
    "organization_name": "Provider Organization Name (Legal Business Name)",
    "organizational_subpart": "Is Organization Subpart",
    "parent_organization_legal_business_name": "Parent Organization LBN",
    "authorized_official_first_name": "Authorized Official First Name",
    "authorized_official_middle_name": "Authorized Official Middle Name",
    "authorized_official_last_name": "Authorized Official Last Name",
    "authorized_official_name_prefix": "Authorized Official Name Prefix Text",
    "authorized_official_name_suffix": "Authorized Official Name Suffix Text",
    "authorized_official_credential": "Authorized Official Credential Text",
    "authorized_official_title_or_position": "Authorized Official Title or Position",
    "authorized_official_telephone_number": "Authorized Official Telephone Number",
}
DATES = {
    "enumeration_date": "Provider Enumeration Date",
    "last_updated": "Last Update Date",
    "certification_date": CERTIFICATION_DATE,
    "deactivation_date": "NPI Deactivation Date",
    "reactivation_date": "NPI Reactivation Date",
}
ADDRESSES = {"location_address": ("LOCATION", "Practice Location"), "mailing_address": ("MAILING", "Mailing")}
ADDRESS = {
    "address_1": "Provider First Line Business {} Address",
    "address_2": "Provider Second Line Business {} Address",
    "city": "Provider Business {} Address City Name",
    "state": "Provider Business {} Address State Name",
    "postal_code": "Provider Business {} Address Postal Code",
    "country_code": "Provider Business {} Address Country Code (If outside U.S.)",
    "telephone_number": "Provider Business {} Address Telephone Number",
    "fax_number": "Provider Business {} Address Fax Number",
}
NAME_OF_PERSON = {
    "code": "Provider Other Last Name Type Code",
    "prefix": "Provider Other Name Prefix Text",
    "first_name": "Provider Other First Name",
    "middle_name": "Provider Other Middle Name",
    "last_name": "Provider Other Last Name",
    "suffix": "Provider Other Name Suffix Text",
    "credential": "Provider Other Credential Text",
}
NAME_OF_ORGANISATION = {
    "code": "Provider Other Organization Name Type Code",
    "organization_name": "Provider Other Organization Name",
}
# Where pandas, which makes numbers of them when one cell of the file is empty, shows: as 3149480311.0.
_DIGITS_ONLY = (
    "NPI",
    "Entity Type Code",
    *(
        column.format(kind)
        for _, kind in ADDRESSES.values()
        for key, column in ADDRESS.items()
        if key in {"postal_code", "telephone_number", "fax_number"}
    ),
    "Authorized Official Telephone Number",
)
_MADE_A_NUMBER = r"^\d+\.0$"
_NPI = r"^[12]\d{9}$"
_YES_NO = {"Y": "YES", "N": "NO"}
_ROW = "row"


def records_of(rows: pl.DataFrame, columns: FileColumns) -> pl.DataFrame:
    """The records of ``rows`` of a main file, one for one and in their order, as STORE_SCHEMA has them.

    ``rows`` are the file's columns in their order, all text, with null or ``""`` where a cell is empty; those of a
    slot that no row fills may be missing. Lists that come from the other files are null here
    (``child_files.with_child_items``). A row that cannot be read has a ``problem``.
    Raises BulkFileError when a row has no NPI, of which nothing could be said then, or a program made numbers of texts.
    """
    named = rows.rename(dict(zip(rows.columns, columns.names, strict=True))).with_row_index(_ROW)
    if CERTIFICATION_DATE not in columns.names:
        named = named.with_columns(pl.lit(None, pl.String).alias(CERTIFICATION_DATE))
    refuse_unusable(named, _DIGITS_ONLY, columns.where)
    records = named.select(*_leading(), *_scalars()).with_columns(_lists(named))
    records = records.with_columns(problem=pl.when(pl.col("deactivated_on").is_null()).then(pl.col("problem")))
    is_found = pl.col("deactivated_on").is_null() & pl.col("problem").is_null()
    told = {name for name in RECORD_COLUMNS if name in records.columns}
    return records.select(
        "npi",
        "problem",
        "deactivated_on",
        *(
            (pl.when(is_found).then(pl.col(name)) if name in told else pl.lit(None, STORE_SCHEMA[name])).alias(name)
            for name in RECORD_COLUMNS
        ),
    )


def refuse_unusable(rows: pl.DataFrame, digits_only: Collection[str], where: str) -> None:
    """Raise BulkFileError for rows without an NPI, and when a program made numbers of all that is ``digits_only``."""
    cells = rows[list(digits_only)]
    # No regular expression is tried on the millions of cells that cannot be meant.
    ends = cells.select(pl.all().str.ends_with(".0").any()).row(0)
    for name, any_ends_so in zip(cells.columns, ends, strict=True):
        if any_ends_so and _are_numbers(cells[name]):
            raise BulkFileError(
                f"{where} was saved again by a program that made numbers of texts (1.0 for 1, in {name!r}), "
                "which loses digits; take the file as it was downloaded"
            )
    bad = rows.select("NPI").filter(~pl.col("NPI").str.contains(_NPI).fill_null(value=False))
    if bad.height:
        raise BulkFileError(
            f"{where} has {bad.height} rows without an NPI in the column NPI (the first holds "
            f"{(bad['NPI'][0] or '')[:40]!r}): it is damaged; take the file as it was downloaded"
        )


def _are_numbers(cells: pl.Series) -> bool:
    """Whether a program made numbers of these texts: of one alone somebody may have typed it so."""
    is_number = cells.str.contains(_MADE_A_NUMBER)
    return bool(is_number.any()) and bool((is_number | (cells == "")).all())


# What is computed is written once and not for each block: to build it takes as long as a thousand rows.
@functools.cache
def _leading() -> list[pl.Expr]:
    """The NPI, why the row cannot be read and since when the NPI is out of service."""
    kind = pl.col("Entity Type Code")
    off, on = _date("NPI Deactivation Date"), _date("NPI Reactivation Date")
    of_dates = [
        pl.when(_text(column).is_not_null() & _date(column).is_null()).then(
            pl.format("its {} is {}, which is no date", pl.lit(column), pl.col(column).str.head(40))
        )
        for column in DATES.values()
    ]
    of_kind = pl.when(~kind.is_in([PERSON, ORGANISATION]).fill_null(value=False)).then(
        pl.format(
            "its Entity Type Code is {}", pl.concat_str(pl.lit("'"), kind.fill_null("").str.head(40), pl.lit("'"))
        )
    )
    return [
        pl.col("NPI").cast(pl.UInt32).alias("npi"),
        pl.coalesce(*of_dates, of_kind).alias("problem"),
        pl.when(off.is_not_null() & (on.is_null() | (on < off))).then(off).alias("deactivated_on"),
    ]


@functools.cache
def _scalars() -> list[pl.Expr]:
    """The columns of a record that are no lists, of rows that are found."""
    person = pl.col("Entity Type Code") == PERSON
    basic: dict[str, pl.Expr] = {name: pl.when(person).then(_text(column)) for name, column in BASIC_OF_PERSON.items()}
    basic |= {name: pl.when(~person).then(_text(column)) for name, column in BASIC_OF_ORGANISATION.items()}
    # The API has the key of a person's sex even when it is not told.
    basic["sex"] = pl.when(person).then(pl.col(SEX).fill_null(""))
    for name in ("sole_proprietor", "organizational_subpart"):
        basic[name] = basic[name].replace(_YES_NO)
    for name in basic:
        if name.endswith(("_prefix", "_suffix")):
            basic[name] = in_words_of_api(basic[name], "name_affixes")
    parent = basic["parent_organization_legal_business_name"]
    basic["parent_organization_legal_business_name"] = pl.when(parent != WITHHELD).then(parent)
    basic |= {name: _date(column) for name, column in DATES.items()}
    basic["status"] = pl.lit("A")
    scalars: dict[str, pl.Expr] = {
        "number": pl.col("NPI"),
        "enumeration_type": pl.when(person).then(pl.lit("NPI-1")).otherwise(pl.lit("NPI-2")),
    }
    scalars |= {f"basic.{name}": value for name, value in basic.items()}
    for part, (purpose, kind) in ADDRESSES.items():
        cells = {name: pl.col(column.format(kind)) for name, column in ADDRESS.items()}
        scalars |= {f"{part}.{name}": value for name, value in address_of(cells, purpose).items()}
    return [value.alias(name) for name, value in scalars.items()]


def address_of(cells: Mapping[str, pl.Expr], purpose: str | None) -> dict[str, pl.Expr]:
    """The fields of an address as the API gives them, from the ``cells`` of a file by field.

    An address of which nothing is told is null in every field. Every other one has a street, city, state and postal
    code, if only an empty one, and a country: the United States when none is told.
    """
    texts: dict[str, pl.Expr] = {name: pl.when(cell != "").then(cell) for name, cell in cells.items()}
    told = pl.any_horizontal(text.is_not_null() for text in texts.values())
    country = texts["country_code"].fill_null("US")
    fields = texts | {name: texts[name].fill_null("") for name in ("address_1", "city", "state", "postal_code")}
    fields |= {
        "country_code": country,
        "country_name": country.replace_strict(code_table("countries"), default=None, return_dtype=pl.String),
        "address_type": pl.when(country == "US").then(pl.lit("DOM")).otherwise(pl.lit("FGN")),
    }
    if purpose is not None:
        fields["address_purpose"] = pl.lit(purpose)
    for name in {"telephone_number", "fax_number"} & fields.keys():
        fields[name] = telephone_number(texts[name])
    always = fields.keys() - {"address_2", "telephone_number", "fax_number"}
    return {name: pl.when(told).then(field) if name in always else field for name, field in fields.items()}


def telephone_number(digits: pl.Expr) -> pl.Expr:
    """The API's 404-778-0922 of the file's 4047780922; anything but ten digits stays as it is."""
    hyphened = pl.concat_str(digits.str.slice(0, 3), digits.str.slice(3, 3), digits.str.slice(6), separator="-")
    return pl.when(digits.str.contains(r"^\d{10}$")).then(hyphened).otherwise(digits)


def in_words_of_api(text: pl.Expr, table: str) -> pl.Expr:
    """``text`` as the code table has it of the same in capitals; as it is when it is not there."""
    return text.str.to_uppercase().replace_strict(code_table(table), default=text, return_dtype=pl.String)


def _lists(rows: pl.DataFrame) -> list[pl.Series]:
    """The lists that come from the main file."""
    items = {
        "taxonomies": _taxonomies(rows),
        "identifiers": _identifiers(rows),
        "other_names": _other_names(rows),
    }
    return [
        list_column(rows, _ROW, of_list.select(_ROW, item=item_of(name, of_list.columns)), name)
        for name, of_list in items.items()
    ]


def _taxonomies(rows: pl.DataFrame) -> pl.DataFrame:
    columns = {**TAXONOMY_COLUMNS, "taxonomy_group": TAXONOMY_GROUP}
    items = _filled(
        rows, [{name: slot(column, number) for name, column in columns.items()} for number in _slots(TAXONOMY_SLOTS)]
    )
    return items.with_columns(
        desc=pl.col("code").replace_strict(taxonomy_descriptions(), default=None, return_dtype=pl.String),
        primary=(pl.col("primary") == "Y").fill_null(value=False),
        taxonomy_group=in_words_of_api(
            pl.col("taxonomy_group").str.replace_all(r"\s+", " "), "taxonomy_groups"
        ).fill_null(""),
    )


def _identifiers(rows: pl.DataFrame) -> pl.DataFrame:
    items = _filled(
        rows,
        [
            {name: slot(column, number) for name, column in IDENTIFIER_COLUMNS.items()}
            for number in _slots(IDENTIFIER_SLOTS)
        ],
    )
    return items.with_columns(
        desc=pl.col("code").replace_strict(code_table("identifier_types"), default=None, return_dtype=pl.String)
    )


def _other_names(rows: pl.DataFrame) -> pl.DataFrame:
    names = _filled(rows, [NAME_OF_PERSON, NAME_OF_ORGANISATION])
    names = names.filter(pl.col("organization_name").ne_missing(WITHHELD) & pl.col("code").ne_missing(SEE_OTHER_NAMES))
    return names.with_columns(
        type=other_name_type(pl.col("code")),
        prefix=in_words_of_api(pl.col("prefix"), "name_affixes"),
        suffix=in_words_of_api(pl.col("suffix"), "name_affixes"),
    )


def other_name_type(code: pl.Expr) -> pl.Expr:
    """What the API calls the kind of another name."""
    return code.replace_strict(code_table("other_name_types"), default=None, return_dtype=pl.String)


def _slots(count: int) -> range:
    return range(1, count + 1)


def _filled(rows: pl.DataFrame, slots: list[dict[str, str]]) -> pl.DataFrame:
    """The items in ``slots`` (each: field to column) that hold anything, by row and in the order of the slots."""
    there = set(rows.columns)
    parts = []
    for columns in slots:
        if there.issuperset(columns.values()):
            # Narrow before it is filtered: what a query takes to begin grows with the columns of its frame.
            cells = rows[[_ROW, *columns.values()]]
            cells.columns = [_ROW, *columns]
            parts.append(cells.filter(pl.any_horizontal(pl.col(name) != "" for name in columns)))
    items = pl.concat(parts, how="diagonal").sort(_ROW, maintain_order=True)
    return items.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)) for name in items.columns if name != _ROW)


def item_of(name: str, columns: list[str]) -> pl.Expr:
    """An item of the list ``name`` from the ``columns`` that there are of its fields; null in the others."""
    return pl.struct(
        (pl.col(field.name) if field.name in columns else pl.lit(None)).cast(field.dtype).alias(field.name)
        for field in ITEMS[name].fields
    )


def list_column(rows: pl.DataFrame, key: str, items: pl.DataFrame, name: str) -> pl.Series:
    """The ``items`` (columns ``key`` and ``item``) as a list for each of ``rows``, in their order; null of no items."""
    lists = items.group_by(key, maintain_order=True).agg(pl.col("item").alias(name))
    return rows.select(key).join(lists, on=key, how="left", maintain_order="left")[name]


def _text(column: str) -> pl.Expr:
    return pl.when(pl.col(column) != "").then(pl.col(column))


def _date(column: str) -> pl.Expr:
    """The day that the file has as 12/31/2024."""
    return _text(column).str.to_date("%m/%d/%Y", strict=False)
