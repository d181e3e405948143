"""What the columns of a day are: names, types, descriptions and order. Pure data.

A ``TableLayout`` is what a registry format declares about its records. ``record_columns`` and ``file_columns`` turn
it into columns, given how wide the lists of the day are. Not here: taking values out of JSON (``declared``,
``inferred``), files (``provider_table``, ``state_files``).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from npi_pipeline.schema.json_paths import UNKNOWN_FIELDS, Path


class ColumnType(str, enum.Enum):
    """What the cells of a column hold. An empty cell is a missing value or null in every type."""

    string = "string"
    integer = "int"
    number = "float"
    boolean = "bool"
    date = "date"


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One column, as a table schema of the UI wants it."""

    name: str
    type: ColumnType
    description: str


class FieldType(str, enum.Enum):
    """How a scalar of a record is read.

    ``text`` takes any scalar (a number or boolean as its JSON text). The others take only what they can hold without
    loss; any other value goes to ``unknown_fields``. ``epoch`` is seconds or milliseconds since 1970, as number or
    text, and becomes milliseconds.
    """

    text = "text"
    boolean = "boolean"
    date = "date"
    epoch = "epoch"


COLUMN_TYPES = {
    FieldType.text: ColumnType.string,
    FieldType.boolean: ColumnType.boolean,
    FieldType.date: ColumnType.date,
    FieldType.epoch: ColumnType.integer,
}


MAX_COLUMNS = 1_600
"""A day has no more columns than this, unless a setting says so: as many as PostgreSQL takes (SQLite: 2,000)."""

LIST_WIDTH = 50
"""So many items of a list have columns where nothing else is declared."""


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One declared scalar. ``former_name`` is a key that older answers used for the same thing."""

    name: str
    description: str
    type: FieldType = FieldType.text
    former_name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectFields:
    """The scalars of the object under the key ``name`` of the record (``""``: of the record itself)."""

    name: str
    fields: tuple[Field, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ListFields:
    """The scalars of each object in the list under the key ``name`` of the record.

    No more than the first ``width`` items have columns, unless a setting says so.
    """

    name: str
    fields: tuple[Field, ...]
    width: int = LIST_WIDTH


@dataclasses.dataclass(frozen=True, slots=True)
class PickedFields:
    """A list whose order says nothing: its objects are told apart by the value of ``key``.

    The first object with each value of ``picks`` becomes the object of that name; the others become items of the list
    called ``rest``, of ``width`` items with columns at most.
    """

    name: str
    key: str
    picks: tuple[tuple[str, str], ...]
    rest: str
    fields: tuple[Field, ...]
    width: int = LIST_WIDTH


@dataclasses.dataclass(frozen=True, slots=True)
class PracticeAddresses:
    """Where it stands that a provider practises.

    ``path`` leads to address objects with ``state``, ``country_code`` (or ``country``) and ``address_type``; ``EACH``
    in it stands for every item of a list. It begins at the row's objects and lists when the layout is declared, at
    the record when it is not. Objects whose ``unless[0]`` is ``unless[1]`` are skipped.
    """

    path: tuple[str, ...]
    unless: tuple[str, str] | None = None


EACH = "[*]"


@dataclasses.dataclass(frozen=True, slots=True)
class TableLayout:
    """How the record inside an answer becomes one row.

    ``record_path`` leads from the answer to the record; ``envelope`` are the keys of the answer that belong to no
    record. With ``declared`` False the format has no schema: the columns are whatever paths the day's records have.
    """

    practice_addresses: tuple[PracticeAddresses, ...]
    record_path: Path = ()
    envelope: tuple[str, ...] = ()
    objects: tuple[ObjectFields, ...] = ()
    picked: PickedFields | None = None
    lists: tuple[ListFields, ...] = ()
    declared: bool = True

    def objects_of_columns(self) -> tuple[ObjectFields, ...]:
        """Every object with columns of its own, the picked ones included, in the order of the row."""
        picked = self.picked
        picks = () if picked is None else tuple(ObjectFields(name, picked.fields) for _, name in picked.picks)
        return (*self.objects, *picks)

    def lists_of_records(self) -> tuple[ListFields | PickedFields, ...]:
        """Every list that a record may have."""
        return self.lists if self.picked is None else (*self.lists, self.picked)

    def lists_of_columns(self) -> tuple[ListFields, ...]:
        """Every list with columns, in the order of the row."""
        picked = self.picked
        return self.lists if picked is None else (*self.lists, ListFields(picked.rest, picked.fields, picked.width))

    def widths(self, pinned: Mapping[str, int]) -> dict[str, int]:
        """How many items of each list have columns at most: as ``pinned``, else as declared."""
        return {part.name: pinned.get(part.name, part.width) for part in self.lists_of_columns()}


LEADING = (
    Column("npi", ColumnType.string, "National Provider Identifier, ten digits."),
    Column("outcome", ColumnType.string, "What became of the NPI: found, not_found, deactivated, invalid or failed."),
    Column("reason", ColumnType.string, "Why the outcome is not found; or which file of the registry a row is from."),
    Column("fetched_on", ColumnType.date, "Day (UTC) on which the registry was asked."),
)
TRAILING = (
    Column(
        UNKNOWN_FIELDS,
        ColumnType.string,
        "JSON object of path and value for whatever the record holds beyond the columns; empty when there is nothing.",
    ),
)


def column_name(prefix: str, field: Field) -> str:
    """The name of the column of ``field`` in the object ``prefix``."""
    return f"{prefix}.{field.name}" if prefix else field.name


def record_columns(layout: TableLayout, widths: Mapping[str, int]) -> tuple[Column, ...]:
    """The declared columns between the leading and the trailing ones; ``widths`` says how wide each list is."""
    prefixes = [(part.name, part.fields) for part in layout.objects_of_columns()]
    for part in layout.lists_of_columns():
        prefixes += [(f"{part.name}[{position}]", part.fields) for position in range(widths.get(part.name, 0))]
    return tuple(
        Column(column_name(prefix, field), COLUMN_TYPES[field.type], field.description)
        for prefix, fields in prefixes
        for field in fields
    )


def file_columns(record: tuple[Column, ...]) -> tuple[Column, ...]:
    """The header of a day's files around the columns of its records."""
    return (*LEADING, *record, *TRAILING)
