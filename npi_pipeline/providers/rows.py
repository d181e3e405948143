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
from npi_pipeline.schema.json_paths import Path, json_text, name_of, pattern_of

Unknown = Mapping[Path, Any]

MAX_CELLS = 4_000_000
"""Rows are handled so many at a time that their cells stay below this: wide records must not fill the memory."""

MAX_BYTES = 12 << 20
"""And so many that they take no more bytes than this, if they are more than one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rest:
    """What no column holds of one record.

    ``text`` is the cell of ``unknown_fields``: a JSON object of path and value; None where there is nothing.
    ``unknown`` are the names of the fields that are not known, with ``[*]`` for a position, and ``beyond`` those of the
    lists that have more items than columns.
    """

    text: str | None = None
    unknown: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()


NO_REST = Rest()


def rest_of(unknown: Unknown, beyond: Unknown) -> Rest:
    """The rest of a record, which is told at once: parsed, it would take many times as much memory as its text.

    ``unknown`` is what no column holds by its path, and ``beyond`` are the items for which their list has no columns
    left.
    """
    if not unknown and not beyond:
        return NO_REST
    return Rest(
        text=json_text({name_of(path): value for path, value in {**unknown, **beyond}.items()}),
        unknown=tuple(sorted(set(map(pattern_of, unknown)))),
        beyond=tuple(sorted({name_of(path) for path in {path[:-1] for path in beyond}})),
    )


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some records as rows.

    ``frame`` has the scalars of the records, one column each, and then their declared lists, one column each, whose
    values are lists of objects (null when a record has no item). ``widths`` says how many items each list has at most,
    ``paths`` the path and type of each column of a format without a declared schema. One item per row: ``rest`` is what
    no column holds, ``practice`` where the record practises.
    """

    frame: pl.DataFrame
    rest: list[Rest]
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
