"""Records of a format that declares its columns: answers in, typed columns out, nothing lost.

The layout becomes the type of a strict JSON decoder, which takes exactly the records that are as declared, down to
the last key and type, without making a dictionary; polars types the columns and lays the lists out side by side.
Measured: that costs less than polars' own JSON decoding, which cannot tell which fields it has passed over.
Any other record is made to fit first (``fitting``). Not here: which rows (``provider_table``).
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import polars as pl

from npi_pipeline.tables.answers import parsed
from npi_pipeline.tables.columns import (
    Field,
    FieldType,
    ListFields,
    ObjectFields,
    PickedFields,
    TableLayout,
    column_name,
)
from npi_pipeline.tables.fitting import MOST_EPOCH, fitted
from npi_pipeline.tables.paths import Path
from npi_pipeline.tables.rows import MOST_CELLS, Rows, Unknown
from npi_pipeline.tables.states import Address, Practice, practice_of

# Records handled at a time: decoded and picked apart while the processor's cache holds them. 50 takes two thirds of
# the time of 1,000.
RUN = 50

# As a number of seconds this is the year 5138, as milliseconds it is 1973: before the first NPI.
_LEAST_MILLISECONDS = 10**11

_DECODED: dict[FieldType, Any] = dict.fromkeys(FieldType, str | None) | {FieldType.boolean: bool | None}

Values = dict[tuple[str, str], list[Any]]
"""The values of each field by (object or list, field)."""


class _NotAsDeclared(Exception):  # noqa: N818 - no error: a turn in the road
    """A column cannot hold one of its values without loss."""


@dataclasses.dataclass(frozen=True)
class _Plan:
    """A layout made ready: the decoder of its answers, and how to get at every part of a decoded record."""

    layout: TableLayout
    objects: tuple[ObjectFields, ...]
    lists: tuple[ListFields, ...]
    decode: Callable[[str], Any]
    record_in: Callable[[Any], Any]
    record_type: Any
    part_of: dict[str, attrgetter[Any]]
    value_of: dict[tuple[str, str], attrgetter[Any]]


@functools.lru_cache(maxsize=16)
def _plan_of(layout: TableLayout) -> _Plan:
    keys: dict[str, tuple[Any, Any]] = {}
    parts: tuple[ObjectFields | ListFields, ...] = (*layout.objects_of_columns(), *layout.lists_of_columns())
    for part in layout.objects:
        if part.name:
            type_ = _object_type(part.fields)
            keys[part.name] = (type_, msgspec.field(default_factory=type_))
        else:
            keys |= {field.name: (_DECODED[field.type], None) for field in part.fields}
    for lists in layout.lists_of_records():
        keys[lists.name] = (types.GenericAlias(list, _object_type(lists.fields)), msgspec.field(default_factory=list))
    record_type = _struct(keys)
    answer_type, record_in = _way_to_record(layout.record_path, layout.envelope, record_type)
    return _Plan(
        layout=layout,
        objects=layout.objects_of_columns(),
        lists=layout.lists_of_columns(),
        decode=msgspec.json.Decoder(answer_type).decode,
        record_in=record_in,
        record_type=record_type,
        part_of=dict(zip(keys, map(attrgetter, record_type.__struct_fields__), strict=True)),
        value_of={
            (columns.name, field.name): attrgetter(_attribute(place))
            for columns in parts
            for place, field in enumerate(columns.fields)
        },
    )


def _attribute(place: int) -> str:
    """Keys of JSON need not be names in Python: the attributes are numbered."""
    return f"f{place}"


def _struct(keys: Mapping[str, tuple[Any, Any]]) -> Any:
    """A type for objects with just these ``keys`` (to type and default)."""
    return msgspec.defstruct(
        "Declared",
        [(_attribute(place), *of_key) for place, of_key in enumerate(keys.values())],
        rename={_attribute(place): key for place, key in enumerate(keys)},
        forbid_unknown_fields=True,
        gc=False,
    )


@functools.lru_cache(maxsize=256)
def _object_type(fields: tuple[Field, ...]) -> Any:
    return _struct({field.name: (_DECODED[field.type], None) for field in fields})


def _way_to_record(path: Path, envelope: Sequence[str], record_type: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The type of an answer that holds the record at ``path``, and how to get from the one to the other."""
    if not path:
        return record_type, lambda answer: answer
    key, rest = path[0], path[1:]
    inner, way = _way_to_record(rest, (), record_type)
    if isinstance(key, int):
        return types.GenericAlias(list, inner), lambda answer: way(answer[key])
    keys = {key: (inner, msgspec.NODEFAULT)} | {other: (Any, None) for other in envelope if other != key}
    return _struct(keys), lambda answer: way(answer.f0)


@dataclasses.dataclass(frozen=True)
class _Records:
    """Some records, read: their scalars, and the items of their lists one below the other.

    ``counts`` says for each list how many items each record has.
    """

    scalars: pl.DataFrame
    items: dict[str, pl.DataFrame]
    counts: dict[str, list[int]]
    unknown: list[Unknown]
    practice: list[Practice]


def read_declared(bodies: Sequence[str], layout: TableLayout, pinned: Mapping[str, int]) -> Iterator[Rows]:
    """The rows of the records in ``bodies``, in batches of bounded size.

    The bodies are answers that ``layout``'s format has judged to be ``found``. ``pinned`` says of some lists how wide
    they may be; items beyond go to ``unknown``, as does every value that no column of ``layout`` holds without loss.
    """
    plan = _plan_of(layout)
    try:
        records = _read(bodies, plan, pinned, fit_all=False)
    except _NotAsDeclared:
        records = _read(bodies, plan, pinned, fit_all=True)
    for start, stop in _batches(records):
        yield _rows(records, start, stop)


def _read(bodies: Sequence[str], plan: _Plan, pinned: Mapping[str, int], *, fit_all: bool) -> _Records:
    values: Values = {key: [] for key in plan.value_of}
    counts: dict[str, list[int]] = {part.name: [] for part in plan.lists}
    unknown: list[Unknown] = []
    for start in range(0, len(bodies), RUN):
        records = [_record(body, plan, pinned, unknown, fit=fit_all) for body in bodies[start : start + RUN]]
        groups = _groups(records, plan, counts)
        for key, value_of in plan.value_of.items():
            values[key] += map(value_of, groups[key[0]])
    return _Records(
        scalars=pl.DataFrame(
            [
                _typed(column_name(part.name, field), values[part.name, field.name], field.type)
                for part in plan.objects
                for field in part.fields
            ]
        ),
        items={
            part.name: pl.DataFrame([_typed(f.name, values[part.name, f.name], f.type) for f in part.fields])
            for part in plan.lists
        },
        counts=counts,
        unknown=unknown,
        practice=_practice(values, counts, plan.layout, len(bodies)),
    )


def _record(body: str, plan: _Plan, pinned: Mapping[str, int], unknown: list[Unknown], *, fit: bool) -> Any:
    if not fit:
        try:
            record = plan.record_in(plan.decode(body))
        except ValueError:
            record = None
        if record is not None and all(len(plan.part_of[name](record)) <= width for name, width in pinned.items()):
            unknown.append({})
            return record
    fit_record, rest = fitted(parsed(body), plan.layout, pinned)
    unknown.append(rest)
    return msgspec.convert(fit_record, plan.record_type)


def _groups(records: list[Any], plan: _Plan, counts: dict[str, list[int]]) -> dict[str, Iterable[Any]]:
    """The decoded objects of ``records`` by where their columns stand, those of lists in one row."""
    groups: dict[str, Iterable[Any]] = {}
    for part in plan.layout.objects:
        groups[part.name] = list(map(plan.part_of[part.name], records)) if part.name else records
    for lists in plan.layout.lists:
        items = list(map(plan.part_of[lists.name], records))
        groups[lists.name] = list(chain.from_iterable(items))
        counts[lists.name] += map(len, items)
    picked = plan.layout.picked
    if picked:
        _pick(map(plan.part_of[picked.name], records), picked, plan, groups, counts[picked.rest])
    return groups


def _pick(
    lists: Iterable[list[Any]], part: PickedFields, plan: _Plan, groups: dict[str, Iterable[Any]], counts: list[int]
) -> None:
    value_of = plan.value_of[part.rest, part.key]
    nothing = _object_type(part.fields)()
    picks: dict[str, list[Any]] = {value: [] for value, _ in part.picks}
    rest: list[Any] = []
    for items in lists:
        before = len(rest)
        free = dict.fromkeys(picks, nothing)
        for item in items:
            value = value_of(item)
            if free.get(value) is nothing:
                free[value] = item
            else:
                rest.append(item)
        for value, item in free.items():
            picks[value].append(item)
        counts.append(len(rest) - before)
    groups |= {name: picks[value] for value, name in part.picks}
    groups[part.rest] = rest


def _practice(values: Values, counts: dict[str, list[int]], layout: TableLayout, height: int) -> list[Practice]:
    of_rows: list[tuple[Address, ...]] = [()] * height
    for addresses in layout.practice_addresses:
        part = addresses.path[0]
        found: Iterable[Address] = zip(
            values[part, "state"], values[part, "country_code"], values[part, "address_type"], strict=True
        )
        if part not in counts:
            of_rows = [(*before, address) for before, address in zip(of_rows, found, strict=True)]
            continue
        key, value = addresses.unless or ("state", object())
        kept = zip(found, values[part, key], strict=True)
        for row, count in enumerate(counts[part]):
            for _ in range(count):
                address, told_by = next(kept)
                if told_by != value:
                    of_rows[row] += (address,)
    return list(map(practice_of, of_rows))


def _typed(name: str, values: list[Any], type_: FieldType) -> pl.Series:
    """A column of ``values``. Raises _NotAsDeclared when it cannot hold one of them without loss."""
    if type_ is FieldType.boolean:
        return pl.Series(name, values, dtype=pl.Boolean)
    series = pl.Series(name, values, dtype=pl.String)
    if type_ is FieldType.text:
        return series
    typed: pl.Series
    if type_ is FieldType.date:
        typed = series.str.to_date("%Y-%m-%d", strict=False)
    else:
        typed = series.cast(pl.Int64, strict=False)
    if not typed.cast(pl.String).eq_missing(series).all():
        raise _NotAsDeclared
    return _milliseconds(typed) if type_ is FieldType.epoch else typed


def _milliseconds(epochs: pl.Series) -> pl.Series:
    size = epochs.abs()
    if not size.is_between(0, MOST_EPOCH).all():
        raise _NotAsDeclared
    milliseconds: pl.Series = epochs.zip_with(size >= _LEAST_MILLISECONDS, epochs * 1000)
    return milliseconds


def _batches(records: _Records) -> Iterator[tuple[int, int]]:
    """Where to cut, so that no batch has more than MOST_CELLS cells (or more than one row)."""
    height = len(records.practice)
    columns = {name: items.width for name, items in records.items.items()}
    start, widths = 0, dict.fromkeys(columns, 0)
    if height * _width(records, {name: max(counts) for name, counts in records.counts.items()}) <= MOST_CELLS:
        yield 0, height
        return
    for row in range(height):
        wider = {name: max(width, records.counts[name][row]) for name, width in widths.items()}
        if row > start and _width(records, wider) * (row + 1 - start) > MOST_CELLS:
            yield start, row
            start, wider = row, {name: counts[row] for name, counts in records.counts.items()}
        widths = wider
    yield start, height


def _width(records: _Records, widths: Mapping[str, int]) -> int:
    return records.scalars.width + sum(items.width * widths[name] for name, items in records.items.items())


def _rows(records: _Records, start: int, stop: int) -> Rows:
    columns = records.scalars.slice(start, stop - start).get_columns()
    widths: dict[str, int] = {}
    for name, items in records.items.items():
        counts = records.counts[name]
        widths[name] = max(counts[start:stop])
        columns += _side_by_side(name, items, sum(counts[:start]), counts[start:stop])
    return Rows(pl.DataFrame(columns), records.unknown[start:stop], records.practice[start:stop], widths=widths)


def _side_by_side(name: str, items: pl.DataFrame, first: int, counts: list[int]) -> list[pl.Series]:
    """The columns ``name[0].field``, ``name[1].field``, ... of rows with so many items each, from item ``first`` on."""
    width, height = max(counts), len(counts)
    if not width:
        return []
    count = pl.Series(counts, dtype=pl.Int64)
    begin = count.cum_sum() - count + first
    places = pl.concat([(begin + position).set(count <= position, None) for position in range(width)])
    long = items.select(pl.all().gather(places))
    return [
        column.slice(position * height, height).alias(f"{name}[{position}].{column.name}")
        for position in range(width)
        for column in long.get_columns()
    ]
