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
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from npi_pipeline.tables.rows import NOTHING_UNKNOWN, Rows, Unknown
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
    keys_of: dict[str, list[tuple[str, str]]]


@functools.lru_cache(maxsize=16)
def _plan_of(layout: TableLayout) -> _Plan:
    # The record's own fields first: its tuple then begins with their values.
    keys: dict[str, tuple[Any, Any]] = {
        f.name: (_DECODED[f.type], None) for part in layout.objects if not part.name for f in part.fields
    }
    parts: tuple[ObjectFields | ListFields, ...] = (*layout.objects_of_columns(), *layout.lists_of_columns())
    for part in layout.objects:
        if part.name:
            type_ = _object_type(part.fields)
            keys[part.name] = (type_, msgspec.field(default_factory=type_))
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
        keys_of={columns.name: [(columns.name, field.name) for field in columns.fields] for columns in parts},
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


def read_declared(bodies: Sequence[str], layout: TableLayout, pinned: Mapping[str, int]) -> Rows:
    """The rows of the records in ``bodies``.

    The bodies are answers that ``layout``'s format has judged to be ``found``. ``pinned`` says of some lists how wide
    they may be; items beyond go to ``unknown``, as does every value that no column of ``layout`` holds without loss.
    """
    plan = _plan_of(layout)
    try:
        return _read(bodies, plan, pinned, fit_all=False)
    except _NotAsDeclared:
        return _read(bodies, plan, pinned, fit_all=True)


def _read(bodies: Sequence[str], plan: _Plan, pinned: Mapping[str, int], *, fit_all: bool) -> Rows:
    values: Values = {key: [] for keys in plan.keys_of.values() for key in keys}
    counts: dict[str, list[int]] = {part.name: [] for part in plan.lists}
    unknown: list[Unknown] = []
    for start in range(0, len(bodies), RUN):
        records = [_record(body, plan, pinned, unknown, fit=fit_all) for body in bodies[start : start + RUN]]
        for name, objects in _groups(records, plan, counts).items():
            for key, column in zip(plan.keys_of[name], _transposed(objects), strict=False):
                values[key] += column
    scalars = [
        _typed(column_name(part.name, field), values[part.name, field.name], field.type)
        for part in plan.objects
        for field in part.fields
    ]
    lists = [
        _list_column(
            part.name, [_typed(f.name, values[part.name, f.name], f.type) for f in part.fields], counts[part.name]
        )
        for part in plan.lists
    ]
    return Rows(
        frame=pl.DataFrame([*scalars, *lists]),
        unknown=unknown,
        practice=_practice(values, counts, plan.layout, len(bodies)),
        widths={name: max(of_list, default=0) for name, of_list in counts.items()},
    )


def _transposed(objects: list[Any]) -> Iterable[tuple[Any, ...]]:
    """The values of decoded ``objects``, field by field."""
    return zip(*map(msgspec.structs.astuple, objects), strict=True)


def _record(body: str, plan: _Plan, pinned: Mapping[str, int], unknown: list[Unknown], *, fit: bool) -> Any:
    if not fit:
        try:
            record = plan.record_in(plan.decode(body))
        except ValueError:
            record = None
        if record is not None and all(len(plan.part_of[name](record)) <= width for name, width in pinned.items()):
            unknown.append(NOTHING_UNKNOWN)
            return record
    fit_record, rest = fitted(parsed(body), plan.layout, pinned)
    unknown.append(rest)
    return msgspec.convert(fit_record, plan.record_type)


def _groups(records: list[Any], plan: _Plan, counts: dict[str, list[int]]) -> dict[str, list[Any]]:
    """The decoded objects of ``records`` by where their columns stand, those of lists in one row."""
    groups: dict[str, list[Any]] = {}
    for part in plan.layout.objects:
        groups[part.name] = list(map(plan.part_of[part.name], records)) if part.name else records
    for lists in plan.layout.lists:
        items = list(map(plan.part_of[lists.name], records))
        groups[lists.name] = list(chain.from_iterable(items))
        counts[lists.name] += map(len, items)
    picked = plan.layout.picked
    if picked:
        _pick(map(plan.part_of[picked.name], records), picked, groups, counts[picked.rest])
    return groups


def _pick(lists: Iterable[list[Any]], part: PickedFields, groups: dict[str, list[Any]], counts: list[int]) -> None:
    value_of = attrgetter(_attribute([field.name for field in part.fields].index(part.key)))
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


def _list_column(name: str, fields: list[pl.Series], counts: list[int]) -> pl.Series:
    """A column of lists of objects, given their fields one item below the other, and how many items each row has."""
    rows = pl.DataFrame({"row": pl.int_range(len(counts), dtype=pl.UInt32, eager=True), "count": counts})
    row_of_item = rows.select(pl.col("row").repeat_by("count").explode())
    items = row_of_item.with_columns(pl.DataFrame(fields).to_struct(name))
    lists = items.group_by("row", maintain_order=True).agg(name)
    return rows.join(lists, on="row", how="left", maintain_order="left")[name]
