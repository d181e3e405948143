"""The shape in which flattened records are handed on, whichever way they were read.

Not here: the reading (``declared``, ``inferred``) and the files (``provider_table``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from npi_pipeline.providers.states import Practice
from npi_pipeline.schema.columns import ColumnType
from npi_pipeline.schema.json_paths import Path, json_text, name_of

Unknown = Mapping[Path, Any]
NOTHING_UNKNOWN: Unknown = {}

MAX_CELLS = 4_000_000
"""Rows are handled so many at a time that their cells stay below this: wide records must not fill the memory."""

MAX_BYTES = 12 << 20
"""And so many that they take no more bytes than this, if they are more than one."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some records as rows.

    ``frame`` has the scalars of the records, one column each, and then their declared lists, one column each, whose
    values are lists of objects (null when a record has no item). ``widths`` says how many items each list has at most,
    ``paths`` the path and type of each column of a format without a declared schema. One item per row: ``unknown`` is
    what no column holds, ``beyond`` the items for which their list has no columns left, ``practice`` where the record
    practises.
    """

    frame: pl.DataFrame
    unknown: list[Unknown]
    beyond: list[Unknown]
    practice: list[Practice]
    widths: Mapping[str, int] = dataclasses.field(default_factory=dict)
    paths: Mapping[Path, ColumnType | None] = dataclasses.field(default_factory=dict)


def runs_of(sizes: Iterable[int], most: int = MAX_BYTES) -> Iterator[slice]:
    """Which rows, of these ``sizes`` in bytes, are handled at a time: so many bytes at most, a row at least."""
    start = stop = total = 0
    for stop, size in enumerate(sizes):
        if total + size > most and stop > start:
            yield slice(start, stop)
            start, total = stop, 0
        total += size
    yield slice(start, stop + 1)


def unknown_texts(rows: Rows) -> list[str | None]:
    """The cells of ``unknown_fields``: a JSON object of path and value each; None where there is nothing."""
    return [
        json_text({name_of(path): value for path, value in {**unknown, **beyond}.items()})
        if unknown or beyond
        else None
        for unknown, beyond in zip(rows.unknown, rows.beyond, strict=True)
    ]
