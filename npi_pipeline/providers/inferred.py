"""Records of a format without a declared schema: whatever JSON comes becomes columns, one for each path.

Cells are text (a number or boolean as its JSON text), so that the files do not depend on which records were read
together; what the column holds as a whole is told apart by its type. The keys come from outside, and one record may
have any number of them: where the day has more paths than a table may have columns, those that most records have are
columns (``most_common_columns``). Not here: the order and union of a day's columns (``provider_table``).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import msgspec
import polars as pl

from npi_pipeline.providers.answers import parsed
from npi_pipeline.providers.rows import MAX_CELLS, Rest, Rows, rest_of
from npi_pipeline.providers.states import Practice, addresses_in, practice_of
from npi_pipeline.schema.columns import LIST_WIDTH, MAX_COLUMNS, ColumnType, TableLayout, file_columns
from npi_pipeline.schema.json_paths import NUL, Path, column_of, name_of, order_of, text_of, without_nul

_TYPES: dict[type, ColumnType | None] = {
    type(None): None,
    bool: ColumnType.boolean,
    int: ColumnType.integer,
    msgspec.Raw: ColumnType.number,
}


MAX_PATHS = MAX_COLUMNS - len(file_columns(()))
"""So many columns are left for the records of a day."""

# A key may be as long as an answer; databases and readers of CSV want names that a person could read.
_MAX_NAME_LENGTH = 1_000
# Of a day's paths so many are counted at a time, and so many are remembered from one record to the next.
_MAX_COUNTED = 100_000


class TooManyPathsError(ValueError):
    """The records have more paths than a table may have columns."""


@dataclasses.dataclass(slots=True)
class _Place:
    """One path: the places below it, and the cells of the rows at hand.

    ``is_beyond``: it is an item for which its list has no columns left. ``has_column``: it may have one.
    """

    path: Path
    is_beyond: bool = False
    has_column: bool = True
    below: dict[str | int, _Place] = dataclasses.field(default_factory=dict)
    cells: list[str | None] = dataclasses.field(default_factory=list)
    used: bool = False
    type: ColumnType | None = None


class _Places:
    """The paths of some records, as far as they were met."""

    def __init__(self, pinned: Mapping[str, int], columns: Collection[str] | None = None) -> None:
        self._pinned = pinned
        self._columns = columns
        self._root = _Place(())
        self.count = 0

    def leaves(self, record: Any) -> Iterator[tuple[_Place, Any]]:
        """Every scalar of ``record`` with its place, and every item beyond the width of its list as a whole."""
        waiting = [(record, self._root)]
        while waiting:
            here, place = waiting.pop()
            for step, value in here.items() if isinstance(here, dict) else enumerate(here):
                below = place.below.get(step)
                if below is None:
                    below = place.below[step] = self._place(place.path, step)
                if value and isinstance(value, (dict, list)) and not below.is_beyond:
                    waiting.append((value, below))
                else:
                    yield below, value

    def _place(self, above: Path, step: str | int) -> _Place:
        self.count += 1
        path = (*above, step)
        if isinstance(step, int) and step >= self._pinned.get(name_of(above), LIST_WIDTH):
            return _Place(path, is_beyond=True)
        name = column_of(path)
        return _Place(
            path, has_column=len(name) <= _MAX_NAME_LENGTH and (self._columns is None or name in self._columns)
        )


def merged_type(a: ColumnType | None, b: ColumnType | None) -> ColumnType | None:
    """The type of a column that holds both; None is the type of nothing but nulls."""
    if a is None or b is None or a is b:
        return a or b
    numbers = {ColumnType.integer, ColumnType.number}
    return ColumnType.number if {a, b} == numbers else ColumnType.string


def read_undeclared(
    bodies: Iterable[str], layout: TableLayout, pinned: Mapping[str, int], columns: Collection[str] | None = None
) -> Iterator[Rows]:
    """The rows of the records in ``bodies``, in batches of bounded size.

    ``pinned`` says of some lists (by name) how wide they may be; items beyond go to ``beyond``. What has no column
    among ``columns`` (by name) goes to ``unknown``; without them every path is a column, and a batch that would have
    more than MAX_PATHS raises TooManyPathsError.
    """
    batch = _Batch(_Places(pinned, columns))
    for body in bodies:
        record = parsed(body)
        leaves = list(batch.places.leaves(record))
        if batch.practice and batch.is_full(leaves):
            yield batch.rows()
            batch = _Batch(_Places(pinned, columns))
            leaves = list(batch.places.leaves(record))
        batch.add(leaves)
        batch.practice.append(practice_of(addresses_in(record, layout.practice_addresses)))
    if batch.practice:
        yield batch.rows()


@dataclasses.dataclass
class _Batch:
    """Some records as far as they are read."""

    places: _Places
    used: list[_Place] = dataclasses.field(default_factory=list)
    rest: list[Rest] = dataclasses.field(default_factory=list)
    practice: list[Practice] = dataclasses.field(default_factory=list)

    def is_full(self, leaves: list[tuple[_Place, Any]]) -> bool:
        """Whether a record with these ``leaves`` is one too many."""
        fresh = sum(_may_be_column(place) and not place.used for place, _ in leaves)
        return (len(self.used) + fresh) * (len(self.practice) + 1) > MAX_CELLS or self.places.count > _MAX_COUNTED

    def add(self, leaves: list[tuple[_Place, Any]]) -> None:
        """Take the next record."""
        unknown: dict[Path, Any] = {}
        beyond: dict[Path, Any] = {}
        for place, value in leaves:
            if place.is_beyond:
                beyond[place.path] = value
            elif place.has_column:
                self._use(place)
                _put(place, len(self.practice), value)
                if type(value) is str and NUL in value:
                    unknown[place.path] = value
            else:
                unknown[place.path] = value
        self.rest.append(rest_of(unknown, beyond))

    def _use(self, place: _Place) -> None:
        if place.used:
            return
        if len(self.used) == MAX_PATHS:
            raise TooManyPathsError
        place.used = True
        self.used.append(place)

    def rows(self) -> Rows:
        """All of them."""
        for place in self.used:
            place.cells += [None] * (len(self.practice) - len(place.cells))
        return Rows(
            pl.DataFrame([pl.Series(column_of(place.path), place.cells, dtype=pl.String) for place in self.used]),
            self.rest,
            self.practice,
            paths={place.path: place.type for place in self.used},
        )


def most_common_columns(bodies: Iterable[str], pinned: Mapping[str, int]) -> frozenset[str]:
    """The names of the MAX_PATHS paths that most of the records in ``bodies`` have; those first in order among equals.

    Where there are too many paths to be counted, the rarest are given up on the way: a path that more than one record
    in a hundred has is always counted.
    """
    counts: Counter[Path] = Counter()
    places = _Places(pinned)
    for body in bodies:
        if places.count > _MAX_COUNTED:
            places = _Places(pinned)
        counts.update(place.path for place, _ in places.leaves(parsed(body)) if _may_be_column(place))
        if len(counts) > _MAX_COUNTED:
            counts = Counter(dict(_most_common(counts, _MAX_COUNTED // 2)))
    return frozenset(column_of(path) for path, _ in _most_common(counts, MAX_PATHS))


def _may_be_column(place: _Place) -> bool:
    return place.has_column and not place.is_beyond


def _most_common(counts: Counter[Path], most: int) -> list[tuple[Path, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], order_of(item[0])))[:most]


def _put(place: _Place, row: int, value: Any) -> None:
    missing = row - len(place.cells)
    if missing:
        place.cells += [None] * missing
    kind = type(value)
    text = value if kind is str else text_of(value)
    place.cells.append(without_nul(text) if text and NUL in text else text)
    type_ = _TYPES.get(kind, ColumnType.string)
    if type_ is not place.type:
        place.type = merged_type(place.type, type_)
