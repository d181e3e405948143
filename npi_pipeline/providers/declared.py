"""Records of a format that declares its columns: answers in, typed columns out, nothing lost.

The layout becomes the type of a strict JSON decoder, which takes exactly the records that are as declared, down to
the last key and type, without making a dictionary; polars takes the texts, types the columns and gathers the lists.
Measured: all of that costs less than polars' own JSON decoding, which cannot tell which fields it has skipped.
Any other record is made to fit first (``coercion``), which takes four times as long.
Not here: which rows (``provider_table``).
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import polars as pl

from npi_pipeline.providers.answers import parsed
from npi_pipeline.providers.coercion import MAX_EPOCH, coerce_to_layout
from npi_pipeline.providers.rows import NO_REST, Rest, Rows, rest_of
from npi_pipeline.providers.states import ADDRESS_FIELDS, MAX_TEXT_LENGTH, NOWHERE, Address, Practice, practice_of
from npi_pipeline.schema.columns import (
    Field,
    FieldType,
    ListFields,
    ObjectFields,
    PickedFields,
    TableLayout,
    column_name,
)
from npi_pipeline.schema.json_paths import Path

# Records handled at a time: decoded and picked apart while the processor's cache holds them. 50 takes two thirds of
# the time of 1,000. No more than so many characters of them, if they are more than one: decoded they are many times
# that.
RUN = 50
RUN_CHARACTERS = 1 << 20

# As a number of seconds this is the year 5138, as milliseconds it is 1973: before the first NPI.
_MIN_MILLISECONDS = 10**11

_DECODED: dict[FieldType, Any] = dict.fromkeys(FieldType, str | None) | {FieldType.boolean: bool | None}

Columns = dict[tuple[str, str], pl.Series]
"""The column of each field by (object or list, field); a list's items stand one below the other."""


class _NotAsDeclared(Exception):  # noqa: N818 - no error: a turn in the road
    """A column cannot hold one of its values without loss."""


@dataclasses.dataclass(frozen=True)
class _Plan:
    """A layout made ready: the decoder of its answers, and how to get at every part of a decoded record.

    The decoder takes no list that may be longer than its columns (``widths``), ``record_type`` takes any.
    """

    layout: TableLayout
    widths: Mapping[str, int]
    objects: tuple[ObjectFields, ...]
    lists: tuple[ListFields, ...]
    decode: Callable[[str], Any]
    record_in: Callable[[Any], Any]
    record_type: Any
    part_of: dict[str, attrgetter[Any]]
    texts: dict[str, tuple[Field, ...]]
    texts_of: dict[str, Callable[[Any], tuple[str | None, ...]]]
    boolean_of: dict[tuple[str, str], attrgetter[Any]]


@functools.lru_cache(maxsize=16)
def _plan_of(layout: TableLayout, of_lists: tuple[tuple[str, int], ...]) -> _Plan:
    widths = dict(of_lists)
    own = next((part.fields for part in layout.objects if not part.name), ())
    keys: dict[str, tuple[Any, Any]] = {field.name: (_DECODED[field.type], None) for field in own}
    for part in layout.objects:
        if part.name:
            type_ = _object_type(part.fields)
            keys[part.name] = (type_, msgspec.field(default_factory=type_))
    bounded = dict(keys)
    for lists in layout.lists_of_records():
        items = types.GenericAlias(list, _object_type(lists.fields))
        most = msgspec.Meta(max_length=widths[lists.rest if isinstance(lists, PickedFields) else lists.name])
        keys[lists.name] = (items, msgspec.field(default_factory=list))
        bounded[lists.name] = (Annotated[items, most], msgspec.field(default_factory=list))
    record_type = _struct(keys)
    answer_type, record_in = _way_to_record(layout.record_path, layout.envelope, _struct(bounded))
    fields = {part.name: part.fields for part in layout.objects_of_columns()}
    fields |= {part.name: part.fields for part in layout.lists_of_columns()}
    return _Plan(
        layout=layout,
        widths=widths,
        objects=layout.objects_of_columns(),
        lists=layout.lists_of_columns(),
        decode=msgspec.json.Decoder(answer_type).decode,
        record_in=record_in,
        record_type=record_type,
        part_of=dict(zip(keys, map(attrgetter, record_type.__struct_fields__), strict=True)),
        texts={name: tuple(f for f in of_part if f.type is not FieldType.boolean) for name, of_part in fields.items()},
        texts_of={name: _texts_of(of_part, whole=bool(name)) for name, of_part in fields.items()},
        boolean_of={
            (name, field.name): attrgetter(_attribute(place))
            for name, of_part in fields.items()
            for place, field in enumerate(of_part)
            if field.type is FieldType.boolean
        },
    )


def _texts_of(fields: tuple[Field, ...], *, whole: bool) -> Callable[[Any], tuple[str | None, ...]]:
    """How to get the values of an object's ``fields`` but the booleans; ``whole`` says that it has no other fields."""
    places = [place for place, field in enumerate(fields) if field.type is not FieldType.boolean]
    if whole and len(places) == len(fields):
        return msgspec.structs.astuple
    if len(places) > 1:
        return attrgetter(*map(_attribute, places))
    return lambda value: tuple(getattr(value, _attribute(place)) for place in places)


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
    they may be; items beyond go to ``beyond``, and every value that no column of ``layout`` holds without loss to
    ``unknown``. Where a provider practises is told from all items, those beyond too.
    """
    plan = _plan_of(layout, tuple(layout.widths(pinned).items()))
    try:
        return _read(bodies, plan, fit_all=False)
    except _NotAsDeclared:
        return _read(bodies, plan, fit_all=True)


def rows_of_records(records: pl.DataFrame, layout: TableLayout, pinned: Mapping[str, int]) -> Rows:
    """The rows of records that are in the declared columns of ``layout`` already, with their lists whole.

    As of ``read_declared``, but that nothing is unknown: the items beyond a list's width go to ``beyond``.
    """
    widths = layout.widths(pinned)
    counts = {name: records[name].list.len().fill_null(0).to_list() for name in widths}
    practice_lists = {addresses.path[0] for addresses in layout.practice_addresses} & widths.keys()
    columns = {
        (part.name, field.name): records[column_name(part.name, field)]
        for part in layout.objects_of_columns()
        for field in part.fields
    }
    for name in practice_lists:
        items = records[name].explode(empty_as_null=False, keep_nulls=False).struct.unnest()
        columns |= {(name, field): items[field] for field in items.columns}
    names = [column_name(part.name, field) for part in layout.objects_of_columns() for field in part.fields]
    return Rows(
        frame=records.select(*names, *(_first_items(name, width) for name, width in widths.items())),
        rest=_beyond(records, counts, widths),
        practice=_practice(columns, counts, layout, records.height),
        widths={name: min(max(of, default=0), widths[name]) for name, of in counts.items()},
    )


def _first_items(name: str, width: int) -> pl.Expr:
    """The first items of the list ``name``; null, as of no items, where it has no columns."""
    return pl.when(pl.lit(width > 0)).then(pl.col(name).list.head(width))


def _items_of(lists: pl.Series, place: int) -> list[dict[str, Any]]:
    """The items of one record; none where it has no list."""
    items = lists[place]
    return [] if items is None else items.to_list()


def _beyond(records: pl.DataFrame, counts: Mapping[str, list[int]], widths: Mapping[str, int]) -> list[Rest]:
    """What the lists of each record have beyond their ``widths``."""
    rest = [NO_REST] * records.height
    places = {place for name, of in counts.items() for place, count in enumerate(of) if count > widths[name]}
    for place in sorted(places):
        beyond: dict[Path, Any] = {
            (name, width + position): {key: value for key, value in sorted(item.items()) if value is not None}
            for name, width in widths.items()
            for position, item in enumerate(_items_of(records[name], place)[width:])
        }
        rest[place] = rest_of({}, beyond)
    return rest


def _read(bodies: Sequence[str], plan: _Plan, *, fit_all: bool) -> Rows:
    texts: dict[str, list[pl.Series]] = {name: [] for name in plan.texts}
    booleans: dict[tuple[str, str], list[bool | None]] = {key: [] for key in plan.boolean_of}
    counts: dict[str, list[int]] = {part.name: [] for part in plan.lists}
    rest: list[Rest] = []
    for run in _runs(bodies):
        records = [_record(body, plan, rest, fit=fit_all) for body in run]
        groups = _groups(records, plan, counts)
        _take_texts(groups, plan, texts)
        for key, value_of in plan.boolean_of.items():
            booleans[key] += map(value_of, groups[key[0]])
    columns = _columns(plan, texts, booleans)
    scalars = [
        columns[part.name, field.name].alias(column_name(part.name, field))
        for part in plan.objects
        for field in part.fields
    ]
    lists = [
        _list_column(
            part.name,
            [columns[part.name, f.name].alias(f.name) for f in part.fields],
            counts[part.name],
            plan.widths[part.name],
        )
        for part in plan.lists
    ]
    return Rows(
        frame=pl.DataFrame([*scalars, *lists]),
        rest=rest,
        practice=_practice(columns, counts, plan.layout, len(bodies)),
        widths={name: min(max(of_list, default=0), plan.widths[name]) for name, of_list in counts.items()},
    )


def _runs(bodies: Sequence[str]) -> Iterator[Sequence[str]]:
    """``bodies`` in runs of RUN at most, and of RUN_CHARACTERS at most where they are more than one."""
    start = size = 0
    for place, body in enumerate(bodies):
        if place - start == RUN or (size + len(body) > RUN_CHARACTERS and place > start):
            yield bodies[start:place]
            start, size = place, 0
        size += len(body)
    if bodies:
        yield bodies[start:]


def _take_texts(groups: dict[str, list[Any]], plan: _Plan, texts: dict[str, list[pl.Series]]) -> None:
    """Move the texts of a run into polars at once, object by object.

    Python's strings are then still in the cache, and are given back before the next run: keeping those of a whole
    batch until they make columns takes half as long again.
    """
    values: list[str | None] = []
    bounds = [0]
    for name in texts:
        values += chain.from_iterable(map(plan.texts_of[name], groups[name]))
        bounds.append(len(values))
    run = pl.Series(values, dtype=pl.String)
    for of_part, start, stop in zip(texts.values(), bounds[:-1], bounds[1:], strict=True):
        of_part.append(run.slice(start, stop - start))


def _columns(
    plan: _Plan, texts: dict[str, list[pl.Series]], booleans: dict[tuple[str, str], list[bool | None]]
) -> Columns:
    columns = {key: pl.Series(values, dtype=pl.Boolean) for key, values in booleans.items()}
    for name, fields in plan.texts.items():
        values = pl.concat(texts[name], rechunk=True)
        for place, field in enumerate(fields):
            columns[name, field.name] = _typed(values.gather_every(len(fields), place), field.type)
    return columns


def _record(body: str, plan: _Plan, rest: list[Rest], *, fit: bool) -> Any:
    # A NUL, which no file may hold, can only stand in JSON like this.
    if not fit and not ("\\" in body and "\\u0000" in body):
        try:
            record = plan.record_in(plan.decode(body))
        except ValueError:
            pass
        else:
            rest.append(NO_REST)
            return record
    fit_record, unknown, beyond = coerce_to_layout(parsed(body), plan.layout, plan.widths)
    rest.append(rest_of(unknown, beyond))
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


def _practice(columns: Columns, counts: dict[str, list[int]], layout: TableLayout, height: int) -> list[Practice]:
    of_rows: list[tuple[Address, ...]] = [()] * height
    for addresses in layout.practice_addresses:
        part = addresses.path[0]
        texts = (columns[part, field].str.head(MAX_TEXT_LENGTH + 1).to_list() for field in ADDRESS_FIELDS)
        found: Iterable[Address] = zip(*texts, strict=True)
        if part not in counts:
            of_rows = [(*before, address) for before, address in zip(of_rows, found, strict=True)]
            continue
        if addresses.unless:
            key, value = addresses.unless
            found = (
                NOWHERE if it == value else where for where, it in zip(found, columns[part, key].to_list(), strict=True)
            )
        items = iter(found)
        for row, count in enumerate(counts[part]):
            if count:
                of_rows[row] += tuple(islice(items, count))
    return list(map(practice_of, of_rows))


def _typed(texts: pl.Series, type_: FieldType) -> pl.Series:
    """The column of ``texts``. Raises _NotAsDeclared when it cannot hold one of them without loss."""
    if type_ is FieldType.text:
        return texts
    typed: pl.Series
    if type_ is FieldType.date:
        typed = texts.str.to_date("%Y-%m-%d", strict=False)
    else:
        typed = texts.cast(pl.Int64, strict=False)
    if not typed.cast(pl.String).eq_missing(texts).all():
        raise _NotAsDeclared
    return _milliseconds(typed) if type_ is FieldType.epoch else typed


def _milliseconds(epochs: pl.Series) -> pl.Series:
    size = epochs.abs()
    if not size.is_between(0, MAX_EPOCH).all():
        raise _NotAsDeclared
    milliseconds: pl.Series = epochs.zip_with(size >= _MIN_MILLISECONDS, epochs * 1000)
    return milliseconds


def _list_column(name: str, fields: list[pl.Series], counts: list[int], width: int) -> pl.Series:
    """A column of lists of objects, given their fields one item below the other, and how many items each row has.

    No more than the first ``width`` items of a row are taken.
    """
    rows = pl.DataFrame({"row": pl.int_range(len(counts), dtype=pl.UInt32, eager=True), "count": counts})
    row_of_item = rows.select(pl.col("row").repeat_by("count").explode().set_sorted())
    items = row_of_item.with_columns(pl.DataFrame(fields).to_struct(name))
    if max(counts, default=0) > width:
        items = items.filter(pl.int_range(pl.len()).over("row") < width)
    lists = items.group_by("row", maintain_order=True).agg(name)
    return rows.join(lists, on="row", how="left", maintain_order="left")[name]
