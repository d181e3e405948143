"""The shape in which flattened records are handed on, whichever way they were read.

Not here: the reading (``declared``, ``undeclared``) and the files (``provider_table``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import polars as pl

from npi_pipeline.tables.columns import ColumnType
from npi_pipeline.tables.paths import Path, json_text, name_of
from npi_pipeline.tables.states import Practice

Unknown = Mapping[Path, Any]
NOTHING_UNKNOWN: Unknown = {}

MOST_CELLS = 4_000_000
"""Rows are handled so many at a time that their cells stay below this: wide records must not fill the memory."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some records as rows.

    ``frame`` has the scalars of the records, one column each, and then their declared lists, one column each, whose
    values are lists of objects (null when a record has no item). ``widths`` says how many items each list has at most,
    ``paths`` the path and type of each column of a format without a declared schema. One item per row: ``unknown`` is
    what no column holds, ``practice`` where the record practises.
    """

    frame: pl.DataFrame
    unknown: list[Unknown]
    practice: list[Practice]
    widths: Mapping[str, int] = dataclasses.field(default_factory=dict)
    paths: Mapping[Path, ColumnType | None] = dataclasses.field(default_factory=dict)


def list_beyond_width(path: Path, pinned: Mapping[str, int]) -> str | None:
    """The list of ``pinned`` (name to width) in which ``path`` lies beyond the pinned width, if there is one."""
    for place, step in enumerate(path):
        if isinstance(step, int):
            name = name_of(path[:place])
            if step >= pinned.get(name, step + 1):
                return name
    return None


def unknown_text(unknown: Unknown) -> str | None:
    """The cell of ``unknown_fields``: a JSON object of path and value; None when there is nothing."""
    return json_text({name_of(path): value for path, value in unknown.items()}) if unknown else None
