"""Records of a format that declares its columns: answers in, typed columns out, nothing lost.

orjson parses and Python picks the scalars, a few dozen records at a time while they are in the processor's cache;
polars types them and lays the lists out side by side. Measured: polars' own JSON decoding takes as long as all of
that and cannot tell which fields it has not read.

Most records are exactly as declared and take the short way. A run of records that holds anything else is *fitted*
first: what the columns cannot hold moves to ``unknown_fields``, record by record.
Not here: which rows (``provider_table``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson
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
from npi_pipeline.tables.paths import Path, leaves, text_of
from npi_pipeline.tables.rows import MOST_CELLS, Rows, Unknown
from npi_pipeline.tables.states import Practice, practice_states

# Records handled at a time: parsed, checked and picked while the processor's cache holds them. 50 takes two thirds of
# the time of 1,000.
RUN = 50

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# As a number of seconds this is the year 5138, as milliseconds it is 1973: before the first NPI.
_LEAST_MILLISECONDS = 10**11

Json = dict[str, Any]


class _NotAsDeclared(Exception):  # noqa: N818 - no error: a turn in the road
    """The records hold something that the short way cannot take."""


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What a layout says, by key, ready for use."""

    layout: TableLayout
    objects: tuple[ObjectFields, ...]
    lists: tuple[ListFields, ...]
    nested: frozenset[str]
    record_keys: frozenset[str]


@functools.lru_cache(maxsize=16)
def _plan_of(layout: TableLayout) -> _Plan:
    nested = {part.name for part in layout.objects if part.name} | {part.name for part in layout.lists}
    if layout.picked:
        nested.add(layout.picked.name)
    own = {field.name for part in layout.objects if not part.name for field in part.fields}
    return _Plan(
        layout, layout.objects_of_columns(), layout.lists_of_columns(), frozenset(nested), frozenset(nested | own)
    )


@dataclasses.dataclass
class _Groups:
    """The objects of some records, by where their columns stand; a list's items follow each other, record by record."""

    objects: dict[str, list[Json]]
    items: dict[str, list[Json]]
    counts: dict[str, list[int]]
    unknown: list[Unknown]


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
        records = _read(bodies, plan, pinned, fitted=False)
    except _NotAsDeclared:
        records = _read(bodies, plan, pinned, fitted=True)
    for start, stop in _batches(records):
        yield _rows(records, start, stop)


def _batches(records: _Records) -> Iterator[tuple[int, int]]:
    """Where to cut, so that no batch has more than MOST_CELLS cells (or more than one row)."""
    start, widths = 0, dict.fromkeys(records.counts, 0)
    fields = {name: items.width for name, items in records.items.items()}
    for row in range(len(records.practice)):
        wider = {name: max(width, records.counts[name][row]) for name, width in widths.items()}
        columns = records.scalars.width + sum(fields[name] * width for name, width in wider.items())
        if row > start and columns * (row + 1 - start) > MOST_CELLS:
            yield start, row
            start, wider = row, {name: counts[row] for name, counts in records.counts.items()}
        widths = wider
    if start < len(records.practice):
        yield start, len(records.practice)


def _rows(records: _Records, start: int, stop: int) -> Rows:
    columns = records.scalars.slice(start, stop - start).get_columns()
    widths: dict[str, int] = {}
    for name, items in records.items.items():
        counts = records.counts[name]
        widths[name] = max(counts[start:stop])
        columns += _side_by_side(name, items, sum(counts[:start]), counts[start:stop])
    return Rows(pl.DataFrame(columns), records.unknown[start:stop], records.practice[start:stop], widths=widths)


def _read(bodies: Sequence[str], plan: _Plan, pinned: Mapping[str, int], *, fitted: bool) -> _Records:
    scalars: dict[tuple[str, str], list[Any]] = {(part.name, f.name): [] for part in plan.objects for f in part.fields}
    items: dict[tuple[str, str], list[Any]] = {(part.name, f.name): [] for part in plan.lists for f in part.fields}
    counts: dict[str, list[int]] = {part.name: [] for part in plan.lists}
    unknown: list[Unknown] = []
    practice: list[Practice] = []
    for start in range(0, len(bodies), RUN):
        run = bodies[start : start + RUN]
        answers = _answers(run, exact=fitted)
        groups = _fitted_groups(answers, plan, pinned) if fitted else _groups(answers, plan, pinned)
        _pick(scalars, groups.objects)
        _pick(items, groups.items)
        for name, lengths in groups.counts.items():
            counts[name] += lengths
        unknown += groups.unknown
        practice += [practice_states(_record(answer, plan), plan.layout.practice_addresses) for answer in answers]
    return _Records(
        scalars=_frame(plan.objects, scalars, qualified=True),
        items={part.name: _frame((part,), items, qualified=False) for part in plan.lists},
        counts=counts,
        unknown=unknown,
        practice=practice,
    )


def _answers(bodies: Sequence[str], *, exact: bool) -> list[Any]:
    if exact:
        return [parsed(body) for body in bodies]
    try:
        return [orjson.loads(body) for body in bodies]
    except orjson.JSONDecodeError as error:
        raise _NotAsDeclared from error


def _record(answer: Any, plan: _Plan) -> Json:
    record: Any = answer
    for step in plan.layout.record_path:
        record = record[step]
    return record  # type: ignore[no-any-return]


def _pick(columns: dict[tuple[str, str], list[Any]], objects: dict[str, list[Json]]) -> None:
    for (part, field), values in columns.items():
        values += [here.get(field) for here in objects[part]]


# --- the short way


def _groups(answers: list[Any], plan: _Plan, pinned: Mapping[str, int]) -> _Groups:
    """The objects of records that are as declared. Raises _NotAsDeclared."""
    layout = plan.layout
    _must_hold_only(answers, frozenset(layout.envelope) or plan.record_keys)
    records = [_record(answer, plan) for answer in answers]
    _must_hold_only(records, plan.record_keys)
    objects: dict[str, list[Json]] = {}
    items: dict[str, list[Json]] = {}
    counts: dict[str, list[int]] = {}
    for part in layout.objects:
        here = [record.get(part.name, {}) for record in records] if part.name else records
        if part.name:
            _must_hold_only(here, _keys(part.fields))
        objects[part.name] = here
    for lists in layout.lists:
        items[lists.name], counts[lists.name] = _items([record.get(lists.name, []) for record in records], lists)
        if max(counts[lists.name]) > pinned.get(lists.name, sys.maxsize):
            raise _NotAsDeclared
    if layout.picked:
        objects |= _picked(records, layout.picked)
        items[layout.picked.rest], counts[layout.picked.rest] = [], [0] * len(records)
    return _Groups(objects, items, counts, [{}] * len(records))


def _must_hold_only(objects: list[Any], keys: frozenset[str]) -> None:
    if set(map(type, objects)) - {dict} or not all(map(keys.issuperset, objects)):
        raise _NotAsDeclared


@functools.lru_cache(maxsize=64)
def _keys(fields: tuple[Field, ...]) -> frozenset[str]:
    return frozenset(field.name for field in fields)


def _items(lists: list[Any], part: ListFields | PickedFields) -> tuple[list[Json], list[int]]:
    if set(map(type, lists)) - {list}:
        raise _NotAsDeclared
    items = list(chain.from_iterable(lists))
    _must_hold_only(items, _keys(part.fields))
    return items, list(map(len, lists))


def _picked(records: list[Json], part: PickedFields) -> dict[str, list[Json]]:
    lists = [record.get(part.name, []) for record in records]
    _items(lists, part)
    try:
        by_value = [{item.get(part.key): item for item in items} for items in lists]
    except TypeError as error:
        raise _NotAsDeclared from error
    picks = frozenset(value for value, _ in part.picks)
    if not all(map(picks.issuperset, by_value)) or list(map(len, by_value)) != list(map(len, lists)):
        raise _NotAsDeclared
    return {name: [found.get(value, {}) for found in by_value] for value, name in part.picks}


# --- the long way


def _fitted_groups(answers: list[Any], plan: _Plan, pinned: Mapping[str, int]) -> _Groups:
    """As ``_groups``, of any records at all: what does not fit moves to ``unknown``."""
    groups = _Groups(
        {part.name: [] for part in plan.objects},
        {part.name: [] for part in plan.lists},
        {part.name: [] for part in plan.lists},
        [],
    )
    for answer in answers:
        unknown: Unknown = {}
        if plan.layout.envelope:
            for key in answer.keys() - set(plan.layout.envelope):
                _keep(unknown, ("$", key), answer[key])
        objects, items = _fit_record(_record(answer, plan), plan, pinned, unknown)
        for part in plan.objects:
            groups.objects[part.name].append(objects.get(part.name, {}))
        for lists in plan.lists:
            here = items.get(lists.name, [])
            groups.items[lists.name] += here
            groups.counts[lists.name].append(len(here))
        groups.unknown.append(unknown)
    return groups


def _fit_record(
    record: Json, plan: _Plan, pinned: Mapping[str, int], unknown: Unknown
) -> tuple[dict[str, Json], dict[str, list[Json]]]:
    layout, rest = plan.layout, dict(record)
    objects: dict[str, Json] = {}
    items: dict[str, list[Json]] = {}
    for part in layout.objects:
        if part.name and isinstance(rest.get(part.name), dict):
            objects[part.name] = _fit(rest.pop(part.name), part.fields, (part.name,), unknown)
    for lists in layout.lists:
        if isinstance(rest.get(lists.name), list):
            items[lists.name] = _fit_items(rest.pop(lists.name), lists, pinned, unknown)
    if layout.picked and isinstance(rest.get(layout.picked.name), list):
        _fit_picked(rest.pop(layout.picked.name), layout.picked, objects, items, unknown)
    rest = {key: value for key, value in rest.items() if not (value is None and key in plan.nested)}
    own = next((part.fields for part in layout.objects if not part.name), ())
    objects[""] = _fit(rest, own, (), unknown)
    return objects, items


def _fit_items(values: list[Any], part: ListFields, pinned: Mapping[str, int], unknown: Unknown) -> list[Json]:
    width = pinned.get(part.name, sys.maxsize)
    for position, value in enumerate(values[width:], start=width):
        _keep(unknown, (part.name, position), value)
    return [_fit(value, part.fields, (part.name, position), unknown) for position, value in enumerate(values[:width])]


def _fit_picked(
    values: list[Any], part: PickedFields, objects: dict[str, Json], items: dict[str, list[Json]], unknown: Unknown
) -> None:
    names = dict(part.picks)
    for position, value in enumerate(values):
        purpose = value.get(part.key) if isinstance(value, dict) else None
        name = names.get(purpose) if isinstance(purpose, str) else None
        fitted = _fit(value, part.fields, (part.name, position), unknown)
        if name and name not in objects:
            objects[name] = fitted
        else:
            items.setdefault(part.rest, []).append(fitted)


def _fit(value: Any, fields: tuple[Field, ...], at: Path, unknown: Unknown) -> Json:
    """The part of ``value`` that ``fields`` can hold without loss; the rest is kept in ``unknown``."""
    if not isinstance(value, dict):
        if value is not None:
            _keep(unknown, at, value)
        return {}
    fitted: Json = {}
    by_key = {field.name: field for field in fields}
    by_key |= {field.former_name: field for field in fields if field.former_name and field.name not in value}
    for key, scalar in value.items():
        field = by_key.get(key)
        held = None if field is None or scalar is None else _READERS[field.type](scalar)
        if field is None or (held is None and scalar is not None):
            _keep(unknown, (*at, key), scalar)
        else:
            fitted[field.name] = held
    return fitted


def _keep(unknown: Unknown, at: Path, value: Any) -> None:
    unknown.update(leaves(value, at))


def _read_text(value: Any) -> str | None:
    return None if isinstance(value, (dict, list)) else text_of(value)


def _read_boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _read_epoch(value: Any) -> str | None:
    text = str(value) if type(value) is int else value
    return text if isinstance(text, str) and _INTEGER.fullmatch(text) else None


def _read_date(value: Any) -> str | None:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return None
    try:
        dt.date.fromisoformat(value)
    except ValueError:
        return None
    return value


_READERS: dict[FieldType, Callable[[Any], Any]] = {
    FieldType.text: _read_text,
    FieldType.boolean: _read_boolean,
    FieldType.epoch: _read_epoch,
    FieldType.date: _read_date,
}


# --- columns


def _frame(
    parts: Iterable[ObjectFields | ListFields], columns: dict[tuple[str, str], list[Any]], *, qualified: bool
) -> pl.DataFrame:
    return pl.DataFrame(
        [
            _typed(column_name(part.name if qualified else "", field), columns[part.name, field.name], field.type)
            for part in parts
            for field in part.fields
        ]
    )


def _typed(name: str, values: list[Any], type_: FieldType) -> pl.Series:
    """A column of ``values``. Raises _NotAsDeclared when it cannot hold one of them without loss."""
    try:
        series = pl.Series(name, values, dtype=pl.Boolean if type_ is FieldType.boolean else pl.String)
    except TypeError as error:
        raise _NotAsDeclared from error
    if type_ is FieldType.date:
        typed = series.str.to_date("%Y-%m-%d", strict=False)
        as_text = typed.dt.to_string("%Y-%m-%d")
    elif type_ is FieldType.epoch:
        number = series.cast(pl.Int64, strict=False)
        as_text = number.cast(pl.String)
        typed = (
            number.to_frame()
            .select(
                pl.when(pl.col(name).abs() < _LEAST_MILLISECONDS)
                .then(pl.col(name) * 1000)
                .otherwise(pl.col(name))
                .alias(name)
            )
            .to_series()
        )
    else:
        return series
    if not as_text.eq_missing(series).all():
        raise _NotAsDeclared
    return typed


def _side_by_side(name: str, items: pl.DataFrame, first: int, counts: list[int]) -> list[pl.Series]:
    """The columns ``name[0].field``, ``name[1].field``, ... of rows with so many items each, from item ``first`` on."""
    width, height = max(counts, default=0), len(counts)
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
