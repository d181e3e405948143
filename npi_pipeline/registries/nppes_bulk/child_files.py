"""The files beside the main one: other names of organisations, practice locations but the first, endpoints.

Each of their rows is an item of one of a record's lists. Not here: the main file (``records``).
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from npi_pipeline.registries.nppes_bulk.columns import CHILD_COLUMNS, FileColumns
from npi_pipeline.registries.nppes_bulk.records import (
    address_of,
    item_of,
    list_column,
    other_name_type,
    refuse_unusable,
)
from npi_pipeline.registries.nppes_bulk.store_schema import STORE_SCHEMA

LIST_OF = {"othername": "other_names", "pl": "practiceLocations", "endpoint": "endpoints"}
"""The list that the items of each kind of file belong to."""

ADDRESS_OF_LOCATION = dict(
    zip(
        ("address_1", "address_2", "city", "state", "postal_code", "country_code", "telephone_number", "fax_number"),
        (name for name in CHILD_COLUMNS["pl"][1:] if not name.endswith("Extension")),
        strict=True,
    )
)
ADDRESS_OF_ENDPOINT = {
    "address_1": "Affiliation Address Line One",
    "address_2": "Affiliation Address Line Two",
    "city": "Affiliation Address City",
    "state": "Affiliation Address State",
    "postal_code": "Affiliation Address Postal Code",
    "country_code": "Affiliation Address Country",
}
ENDPOINT = {
    "endpointType": "Endpoint Type",
    "endpointTypeDescription": "Endpoint Type Description",
    "endpoint": "Endpoint",
    "endpointDescription": "Endpoint Description",
    "affiliation": "Affiliation",
    "affiliationName": "Affiliation Legal Business Name",
    "use": "Use Code",
    "useDescription": "Use Description",
    "useOtherDescription": "Other Use Description",
    "contentType": "Content Type",
    "contentTypeDescription": "Content Description",
    "contentOtherDescription": "Other Content Description",
}
_DIGITS_ONLY = (
    "NPI",
    "Provider Other Organization Name Type Code",
    *(ADDRESS_OF_LOCATION[name] for name in ("postal_code", "telephone_number", "fax_number")),
    ADDRESS_OF_ENDPOINT["postal_code"],
)


def child_items_of(kind: str, rows: pl.DataFrame, columns: FileColumns) -> pl.DataFrame:
    """The items in ``rows`` of a file of this ``kind``: columns ``npi`` and ``item``, in the order of the file.

    ``rows`` are the file's columns in their order, all text, null or ``""`` where a cell is empty.
    Raises BulkFileError as ``records_of`` does.
    """
    named = rows.rename(dict(zip(rows.columns, columns.names, strict=True)))
    refuse_unusable(named, [name for name in _DIGITS_ONLY if name in columns.names], columns.where)
    fields = {"othername": _other_name, "pl": _practice_location, "endpoint": _endpoint}[kind]()
    items = named.select(npi=pl.col("NPI").cast(pl.UInt32), **fields)
    return items.select("npi", item=item_of(LIST_OF[kind], items.columns))


def with_child_items(records: pl.DataFrame, items: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """``records`` with the ``items`` of the other files (by their kind) in their lists; in STORE_SCHEMA.

    Only a record that can be read and is in service gets them. The main file's other name of an organisation, which
    the file of other names tells again, is there once.
    """
    in_service = records.filter(pl.col("number").is_not_null())["npi"].implode()
    for kind, of_kind in items.items():
        name = LIST_OF[kind]
        mine = of_kind.filter(pl.col("npi").is_in(in_service))
        if not mine.height:
            continue
        if kind == "othername":
            mine = pl.concat([_only_in_main(records, mine), mine])
        merged = list_column(records, "npi", mine, name)
        records = records.with_columns(pl.coalesce(merged, name))
    return records.select(STORE_SCHEMA.names())


def _only_in_main(records: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """The other names in the main file, of the NPIs that ``names`` are of, that are none of ``names``."""
    of_main = records.select("npi", item="other_names").drop_nulls().join(names, on="npi", how="semi").explode("item")
    same = [pl.col("npi"), *(pl.col("item").struct.field(field) for field in ("code", "organization_name"))]
    return of_main.join(names, on=same, how="anti")


def _text(column: str) -> pl.Expr:
    return pl.when(pl.col(column) != "").then(pl.col(column))


def _other_name() -> dict[str, pl.Expr]:
    code = _text("Provider Other Organization Name Type Code")
    # As it was typed here, in capitals in the API and in the main file.
    name = _text("Provider Other Organization Name").str.to_uppercase()
    return {"code": code, "type": other_name_type(code), "organization_name": name}


def _practice_location() -> dict[str, pl.Expr]:
    cells = {name: pl.col(column) for name, column in ADDRESS_OF_LOCATION.items()}
    for name in ("address_1", "address_2", "city", "state", "postal_code"):
        cells[name] = cells[name].str.to_uppercase()
    return address_of(cells, "LOCATION")


def _endpoint() -> dict[str, pl.Expr]:
    fields = {name: _text(column) for name, column in ENDPOINT.items()}
    # The API has these keys of every endpoint.
    for name in ("useDescription", "contentTypeDescription"):
        fields[name] = fields[name].fill_null("")
    address = address_of({name: pl.col(column) for name, column in ADDRESS_OF_ENDPOINT.items()}, None)
    return fields | address
