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


def record_bodies(rows: pl.DataFrame) -> pl.Series:
    """An answer of the API for each of ``rows`` (STORE_SCHEMA), JSON text; null for a row without a record.

    There is no member that is null, and none of what is not in the files.
    """
    bodies = [
        _body(row) if row["number"] is not None else None for row in rows.select(RECORD_COLUMNS).iter_rows(named=True)
    ]
    return pl.Series("body", bodies, dtype=pl.String)


def _body(row: dict[str, Any]) -> str:
    record: dict[str, Any] = {}
    for name, value in row.items():
        if value is None:
            continue
        part, _, field = name.rpartition(".")
        if isinstance(value, list):
            record[name] = [_without_nulls(item) for item in value]
        elif part:
            record.setdefault(part, {})[field] = value
        else:
            record[field] = value
    if _PICKED:
        picked = [record.pop(name) for _, name in _PICKED.picks if name in record]
        record[_PICKED.name] = [*picked, *record.pop(_PICKED.rest, [])]
    answer = {"result_count": 1, "results": [record]}
    return msgspec.json.encode(answer, order="sorted").decode()


def _without_nulls(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if value is not None}
