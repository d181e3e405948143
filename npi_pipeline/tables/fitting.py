"""Making any record fit a declared layout: what its columns cannot hold is set aside under its path.

Not here: records that are as declared already, which is nearly all of them (``declared``).
"""

from __future__ import annotations

import datetime as dt
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from npi_pipeline.tables.columns import Field, FieldType, ListFields, PickedFields, TableLayout
from npi_pipeline.tables.paths import ROOT, Path, leaves, text_of
from npi_pipeline.tables.rows import Unknown

MOST_EPOCH = 10**15 - 1
"""The largest epoch that is taken for one, 31,000 years from now in milliseconds."""

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,14}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Json = dict[str, Any]


def fitted(answer: Json, layout: TableLayout, pinned: Mapping[str, int]) -> tuple[Json, Unknown]:
    """The record in ``answer`` as ``layout`` declares it, and everything else by its path.

    Items of a list beyond its ``pinned`` width are among everything else, for they get no columns; they stay in the
    record too, where a provider practises depends on them. What stands beside the record in the answer counts as
    something else (its path begins with ``$``). A null is a missing value wherever something is declared.
    """
    unknown: dict[Path, Any] = {}
    if layout.envelope:
        for key in answer.keys() - set(layout.envelope):
            unknown.update(leaves(answer[key], (ROOT, key)))
    record: Any = answer
    for step in layout.record_path:
        record = record[step]
    return _fitted_record(record, layout, pinned, unknown), unknown


def _fitted_record(record: Json, layout: TableLayout, pinned: Mapping[str, int], unknown: dict[Path, Any]) -> Json:
    rest = dict(record)
    fit: Json = {}
    own: tuple[Field, ...] = ()
    for part in layout.objects:
        if not part.name:
            own = part.fields
        elif isinstance(rest.get(part.name, {}), dict | None):
            fit[part.name] = _fitted(rest.pop(part.name, None), part.fields, (part.name,), unknown)
    for lists in layout.lists_of_records():
        if isinstance(rest.get(lists.name, []), list | None):
            fit[lists.name] = _fitted_items(rest.pop(lists.name, None) or [], lists, pinned, unknown)
    return _fitted(rest, own, (), unknown) | fit


def _fitted_items(
    values: list[Any], part: ListFields | PickedFields, pinned: Mapping[str, int], unknown: dict[Path, Any]
) -> list[Json]:
    width = pinned.get(part.name, sys.maxsize)
    for position, value in enumerate(values[width:], start=width):
        unknown.update(leaves(value, (part.name, position)))
    return [_fitted(value, part.fields, (part.name, position), unknown) for position, value in enumerate(values)]


def _fitted(value: Any, fields: tuple[Field, ...], at: Path, unknown: dict[Path, Any]) -> Json:
    """The part of ``value`` that ``fields`` can hold without loss; the rest goes to ``unknown``."""
    if not isinstance(value, dict):
        if value is not None:
            unknown.update(leaves(value, at))
        return {}
    fit: Json = {}
    by_key = {field.name: field for field in fields}
    by_key |= {field.former_name: field for field in fields if field.former_name and field.name not in value}
    for key, scalar in value.items():
        field = by_key.get(key)
        held = None if field is None or scalar is None else _READERS[field.type](scalar)
        if field is None or (held is None and scalar is not None):
            unknown.update(leaves(scalar, (*at, key)))
        else:
            fit[field.name] = held
    return fit


def _text(value: Any) -> str | None:
    return None if isinstance(value, (dict, list)) else text_of(value)


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _epoch(value: Any) -> str | None:
    text = str(value) if type(value) is int else value
    return text if isinstance(text, str) and _INTEGER.fullmatch(text) else None


def _date(value: Any) -> str | None:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return None
    try:
        dt.date.fromisoformat(value)
    except ValueError:
        return None
    return value


_READERS: dict[FieldType, Callable[[Any], Any]] = {
    FieldType.text: _text,
    FieldType.boolean: _boolean,
    FieldType.epoch: _epoch,
    FieldType.date: _date,
}
