"""Records of a format without a declared schema: whatever JSON comes becomes columns, one for each path.

Cells are text (a number or boolean as its JSON text), so that the files do not depend on which records were read
together; what the column holds as a whole is told apart by its type. Not here: the order and union of a day's
columns (``provider_table``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from npi_pipeline.tables.answers import parsed
from npi_pipeline.tables.columns import ColumnType, TableLayout
from npi_pipeline.tables.paths import Path, column_of, text_of
from npi_pipeline.tables.rows import MOST_CELLS, Rows, Unknown, list_beyond_width
from npi_pipeline.tables.states import Practice, addresses_in, practice_of

_TYPES: dict[type, ColumnType | None] = {
    type(None): None,
    bool: ColumnType.boolean,
    int: ColumnType.integer,
    msgspec.Raw: ColumnType.number,
}


@dataclasses.dataclass(slots=True)
class _Place:
    """One path: the places below it, and the cells of the rows at hand."""

    path: Path
    below: dict[str | int, _Place] = dataclasses.field(default_factory=dict)
    cells: list[str | None] = dataclasses.field(default_factory=list)
    used: bool = False
    type: ColumnType | None = None
    beyond: bool = False


def merged_type(a: ColumnType | None, b: ColumnType | None) -> ColumnType | None:
    """The type of a column that holds both; None is the type of nothing but nulls."""
    if a is None or b is None or a is b:
        return a or b
    numbers = {ColumnType.integer, ColumnType.number}
    return ColumnType.number if {a, b} == numbers else ColumnType.string


def read_undeclared(bodies: Sequence[str], layout: TableLayout, pinned: Mapping[str, int]) -> Iterator[Rows]:
    """The rows of the records in ``bodies``, in batches of bounded size.

    ``pinned`` says of some lists (by name) how wide they may be; what lies beyond goes to ``unknown``.
    """
    root = _Place(())
    used: list[_Place] = []
    unknown: list[Unknown] = []
    practice: list[Practice] = []
    for body in bodies:
        record = parsed(body)
        leaves = list(_leaves(record, root, pinned))
        fresh = [place for place, _ in leaves if not place.used]
        if practice and (len(used) + len(fresh)) * (len(practice) + 1) > MOST_CELLS:
            yield _rows(used, unknown, practice)
            root, used, unknown, practice = _Place(()), [], [], []
            leaves = list(_leaves(record, root, pinned))
            fresh = [place for place, _ in leaves]
        for place in fresh:
            if not place.beyond:
                place.used = True
                used.append(place)
        beyond: dict[Path, Any] = {}
        for place, value in leaves:
            if place.beyond:
                beyond[place.path] = value
            else:
                _put(place, len(practice), value)
        unknown.append(beyond)
        practice.append(practice_of(addresses_in(record, layout.practice_addresses)))
    if practice:
        yield _rows(used, unknown, practice)


def _leaves(record: Any, root: _Place, pinned: Mapping[str, int]) -> Iterator[tuple[_Place, Any]]:
    waiting = [(record, root)]
    while waiting:
        here, place = waiting.pop()
        for step, value in here.items() if isinstance(here, dict) else enumerate(here):
            below = place.below.get(step)
            if below is None:
                path = (*place.path, step)
                below = place.below[step] = _Place(path, beyond=list_beyond_width(path, pinned) is not None)
            if value and isinstance(value, (dict, list)):
                waiting.append((value, below))
            else:
                yield below, value


def _put(place: _Place, row: int, value: Any) -> None:
    missing = row - len(place.cells)
    if missing:
        place.cells += [None] * missing
    kind = type(value)
    place.cells.append(value if kind is str else text_of(value))
    type_ = _TYPES.get(kind, ColumnType.string)
    if type_ is not place.type:
        place.type = merged_type(place.type, type_)


def _rows(used: list[_Place], unknown: list[Unknown], practice: list[Practice]) -> Rows:
    for place in used:
        place.cells += [None] * (len(practice) - len(place.cells))
    frame = pl.DataFrame([pl.Series(column_of(place.path), place.cells, dtype=pl.String) for place in used])
    return Rows(frame, unknown, practice, paths={place.path: place.type for place in used})
