"""The columns in which records of dissemination files are kept: those of the provider table, ready to be taken.

A record is typed once, when its file is prepared, and not once a day: as JSON it would cost 20 µs to write and twice
that to read again.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from npi_pipeline.registries.nppes_api import NPPES
from npi_pipeline.schema.columns import Field, FieldType, column_name

_TYPES: dict[FieldType, pl.DataType] = {
    FieldType.text: pl.String(),
    FieldType.boolean: pl.Boolean(),
    FieldType.date: pl.Date(),
    FieldType.epoch: pl.Int64(),
}


def item_type(fields: tuple[Field, ...]) -> pl.Struct:
    """The type of one item of a list whose items have ``fields``."""
    return pl.Struct({field.name: _TYPES[field.type] for field in fields})


_SCALARS: dict[str, pl.DataType] = {
    column_name(part.name, field): _TYPES[field.type]
    for part in NPPES.layout.objects_of_columns()
    for field in part.fields
}

ITEMS: dict[str, pl.Struct] = {part.name: item_type(part.fields) for part in NPPES.layout.lists_of_columns()}
"""The type of an item of each list."""

# All items, however many: how many get columns is a matter of the day's table. Null where there is none, never empty.
LISTS: dict[str, pl.List] = {name: pl.List(item) for name, item in ITEMS.items()}

RECORD_COLUMNS: tuple[str, ...] = (*_SCALARS, *LISTS)
"""The columns of the record, as ``read_declared`` names and types them."""

STORE_SCHEMA = pl.Schema(
    {
        "npi": pl.UInt32(),
        # Why the row cannot be read, on one line: its outcome is failed and not retryable. The record is null then.
        "problem": pl.String(),
        # Since when the NPI is out of service; null for one that was put back into it. The record is null then.
        "deactivated_on": pl.Date(),
        **_SCALARS,
        **LISTS,
    }
)


def problem_rows(problems: Sequence[tuple[int, str]]) -> pl.DataFrame:
    """Rows in STORE_SCHEMA of NPIs whose row cannot be read, each with why."""
    rows = pl.DataFrame(problems, schema={"npi": pl.UInt32, "problem": pl.String}, orient="row")
    return in_store_schema(rows)


def in_store_schema(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` in STORE_SCHEMA, of which they have some columns: the others are null."""
    others = [pl.lit(None, dtype).alias(name) for name, dtype in STORE_SCHEMA.items() if name not in rows.columns]
    return rows.with_columns(others).select(STORE_SCHEMA.names())
