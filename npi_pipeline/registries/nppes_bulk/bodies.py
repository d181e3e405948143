"""Records of dissemination files in the shape of the API's answers, for whoever wants the JSON.

Not here: reading such answers (``npi_pipeline.providers``).
"""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl

from npi_pipeline.registries.nppes_api import NPPES
from npi_pipeline.registries.nppes_bulk.store_schema import RECORD_COLUMNS

_PICKED = NPPES.layout.picked
# Of each column the object of the record that it is of, and its field there; a list is a field of the record.
_PLACES = [(part, field) for part, _, field in (name.rpartition(".") for name in RECORD_COLUMNS)]


def record_bodies(rows: pl.DataFrame) -> pl.Series:
    """An answer of the API for each of ``rows`` (STORE_SCHEMA), JSON text; null for a row without a record.

    There is no member that is null, and none of what is not in the files.
    """
    number = RECORD_COLUMNS.index("number")
    cells = rows.select(RECORD_COLUMNS).iter_rows()
    bodies = [_body(row) if row[number] is not None else None for row in cells]
    return pl.Series("body", bodies, dtype=pl.String)


def _body(row: tuple[Any, ...]) -> str:
    parts: dict[str, dict[str, Any]] = {"": {}}
    for (part, field), value in zip(_PLACES, row, strict=True):
        if isinstance(value, list):
            parts[part][field] = [_without_nulls(item) for item in value]
        elif value is not None:
            parts.setdefault(part, {})[field] = value
    record = parts.pop("") | parts
    if _PICKED:
        picked = [record.pop(name) for _, name in _PICKED.picks if name in record]
        record[_PICKED.name] = [*picked, *record.pop(_PICKED.rest, [])]
    answer = {"result_count": 1, "results": [record]}
    return msgspec.json.encode(answer, order="sorted").decode()


def _without_nulls(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if value is not None}
