"""How a provider with its lists becomes rows of tables, and what tables and columns are called. The one place for that.

- A column has its field's name in small letters with ``_`` (``endpointType``: ``endpoint_type``), without the object
  that it stands in (``basic.first_name``: ``first_name``). Words that SQL reserves have other names (``RENAMED``).
- A list becomes a table ``provider_<list>`` with a row for each item, in the order of ``position`` (from 0).
- All addresses are in ``provider_addresses``, told apart by ``kind`` (``ADDRESS_KINDS``).
- A record of a format without a declared schema becomes rows of ``provider_fields``: its JSON paths and their values.

Not here: the history (``history``) and the databases' types (``tables``).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

import polars as pl

from npi_pipeline.schema.columns import COLUMN_TYPES, ColumnType, Field, TableLayout
from npi_pipeline.schema.json_paths import STATES, UNKNOWN_FIELDS, UNRECOGNISED_STATES

PROVIDERS = "providers"
ADDRESSES = "provider_addresses"
FIELDS = "provider_fields"

RENAMED = {"desc": "description", "primary": "is_primary", "use": "use_code"}
ADDRESS_KINDS = {
    "location_address": "location",
    "mailing_address": "mailing",
    "practiceLocations": "practice_location",
    "other_addresses": "other",
}
# The same as npi, in every record.
_LEFT_OUT = ("", "number")
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OF_ALL_FORMATS = (
    (
        STATES,
        "The states where the provider practises, by their codes, with commas between them and around: `,CA,NV,`.",
    ),
    (UNRECOGNISED_STATES, "What stood for a state and is none, with commas between."),
    (UNKNOWN_FIELDS, "What no column holds, as JSON."),
)


@dataclasses.dataclass(frozen=True, slots=True)
class SqlColumn:
    """A column: its name in SQL, what it holds, and what that means."""

    name: str
    type: ColumnType
    description: str


@dataclasses.dataclass(frozen=True, slots=True)
class ListTable:
    """A table with a row for each item of a provider's list; its columns besides ``npi`` and ``position``."""

    name: str
    description: str
    columns: tuple[SqlColumn, ...]


def sql_name(name: str) -> str:
    """The name of a field in SQL."""
    return RENAMED.get(name) or _CAPITAL.sub("_", name).lower()


def provider_columns(layout: TableLayout) -> tuple[SqlColumn, ...]:
    """The columns of ``providers`` besides ``npi``."""
    return (
        *(_column(field) for part, field in _scalars(layout)),
        *(SqlColumn(name, ColumnType.string, description) for name, description in _OF_ALL_FORMATS),
    )


def list_tables(layout: TableLayout) -> tuple[ListTable, ...]:
    """The tables of the lists of ``layout``, and that of formats without a declared schema."""
    address_columns = {"kind": SqlColumn("kind", ColumnType.string, f"{', '.join(ADDRESS_KINDS.values())}.")}
    lists = []
    for name, fields in _lists(layout):
        if name in ADDRESS_KINDS:
            address_columns |= {sql_name(field.name): _column(field) for field in fields}
        else:
            table = f"provider_{sql_name(name)}"
            lists.append(ListTable(table, f"The {sql_name(name)} of the providers.", tuple(map(_column, fields))))
    return (
        ListTable(ADDRESSES, "The addresses of the providers.", tuple(address_columns.values())),
        *lists,
        ListTable(
            FIELDS,
            "The records of registry formats without a declared schema, value by value.",
            (
                SqlColumn("field", ColumnType.string, "Where the value stands in the record, as a JSON path."),
                SqlColumn("value", ColumnType.string, "The value; a number or boolean as its JSON text."),
            ),
        ),
    )


def relational(frame: pl.DataFrame, layout: TableLayout) -> dict[str, pl.DataFrame]:
    """The rows of every table that ``layout`` fills, from rows of the provider table, in the same order.

    Each has ``npi`` first, and those of lists ``position`` then.
    """
    providers = frame.select(
        "npi",
        *(
            pl.col(f"{part}.{field.name}" if part else field.name).alias(sql_name(field.name))
            for part, field in _scalars(layout)
        ),
        *(_joined(frame, name) for name, _ in _OF_ALL_FORMATS),
    )
    if not layout.declared:
        return {PROVIDERS: providers, FIELDS: _field_rows(frame)}
    addresses: list[pl.DataFrame] = []
    tables = {PROVIDERS: providers}
    for name, fields in _lists(layout):
        rows = _item_rows(frame, name, fields) if name in frame.columns else _object_rows(frame, name, fields)
        if name in ADDRESS_KINDS:
            addresses.append(rows.with_columns(kind=pl.lit(ADDRESS_KINDS[name])))
        else:
            tables[f"provider_{sql_name(name)}"] = rows
    if addresses:
        tables[ADDRESSES] = _numbered(pl.concat(addresses, how="diagonal"))
    return tables


def _scalars(layout: TableLayout) -> Iterator[tuple[str, Field]]:
    for part in layout.objects:
        for field in part.fields:
            if (part.name, field.name) != _LEFT_OUT:
                yield part.name, field


def _lists(layout: TableLayout) -> Iterator[tuple[str, tuple[Field, ...]]]:
    """Lists, and the objects that are picked from one, by where they stand in the provider table."""
    if layout.picked:
        yield from ((name, layout.picked.fields) for _, name in layout.picked.picks)
    yield from ((part.name, part.fields) for part in layout.lists_of_columns())


def _column(field: Field) -> SqlColumn:
    return SqlColumn(sql_name(field.name), COLUMN_TYPES[field.type], field.description)


def _joined(frame: pl.DataFrame, name: str) -> pl.Expr:
    if name not in frame.columns:
        return pl.lit(None, dtype=pl.String).alias(name)
    if frame.schema[name] != pl.List(pl.String):
        return pl.col(name)
    joined = pl.col(name).list.join(",")
    shown = pl.concat_str(pl.lit(","), joined, pl.lit(",")) if name == STATES else joined
    return pl.when(pl.col(name).list.len() > 0).then(shown).alias(name)


def _item_rows(frame: pl.DataFrame, name: str, fields: Iterable[Field]) -> pl.DataFrame:
    lists = frame.select("npi", pl.col(name).alias("item")).filter(pl.col("item").list.len() > 0)
    numbered = lists.with_columns(position=pl.int_ranges(pl.col("item").list.len()))
    cells = (pl.col("item").struct.field(field.name).alias(sql_name(field.name)) for field in fields)
    return numbered.explode("position", "item").select("npi", "position", *cells)


def _object_rows(frame: pl.DataFrame, name: str, fields: tuple[Field, ...]) -> pl.DataFrame:
    names = [f"{name}.{field.name}" for field in fields]
    there = frame.filter(pl.any_horizontal(pl.col(names).is_not_null()))
    return there.select(
        "npi",
        pl.lit(0, dtype=pl.Int64).alias("position"),
        *(pl.col(f"{name}.{field.name}").alias(sql_name(field.name)) for field in fields),
    )


def _numbered(addresses: pl.DataFrame) -> pl.DataFrame:
    """The addresses of each NPI together, in the order of their kinds, with their positions counted anew."""
    return addresses.sort("npi", maintain_order=True).with_columns(position=pl.int_range(pl.len()).over("npi"))


def _field_rows(frame: pl.DataFrame) -> pl.DataFrame:
    known = {"npi", "outcome", "reason", "fetched_on", *(name for name, _ in _OF_ALL_FORMATS)}
    fields = [name for name in frame.columns if name not in known]
    if not fields:
        return pl.DataFrame(schema={"npi": pl.String, "position": pl.Int64, "field": pl.String, "value": pl.String})
    rows = frame.unpivot(fields, index="npi", variable_name="field", value_name="value").filter(
        pl.col("value").is_not_null()
    )
    return rows.sort("npi", maintain_order=True).select(
        "npi", pl.int_range(pl.len()).over("npi").alias("position"), "field", "value"
    )
