"""Making any record fit a declared layout: what its columns cannot hold is set aside under its path.

Not here: records that are as declared already, which is nearly all of them (``declared``).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from npi_pipeline.providers.rows import Unknown
from npi_pipeline.schema.columns import Field, FieldType, ListFields, PickedFields, TableLayout
from npi_pipeline.schema.json_paths import NUL, ROOT, Path, leaves, text_of, without_nul

MAX_EPOCH = 10**15 - 1
"""The largest epoch that is taken for one, 31,000 years from now in milliseconds."""

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,14}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Json = dict[str, Any]


def coerce_to_layout(answer: Json, layout: TableLayout, widths: Mapping[str, int]) -> tuple[Json, Unknown, Unknown]:
    """The record in ``answer`` as ``layout`` declares it; everything else by its path; and what is beyond ``widths``.

    Those are the items for which a list has no columns left. Where a provider practises depends on them, they stay in
    the record too. What stands beside the record in the answer counts as something else (its path begins with ``$``).
    A null is a missing value wherever something is declared, and of a text with a NUL the column has no more than a
    readable likeness.
    """
    unknown: dict[Path, Any] = {}
    beyond: dict[Path, Any] = {}
    if layout.envelope:
        for key in answer.keys() - set(layout.envelope):
            unknown.update(leaves(answer[key], (ROOT, key)))
    record: Any = answer
    for step in layout.record_path:
        record = record[step]
    for part in layout.lists_of_records():
        items = record.get(part.name)
        if isinstance(items, list):
            beyond |= {(part.name, place): items[place] for place in _places_beyond(items, part, widths)}
    return _coerced_record(record, layout, beyond, unknown), unknown, beyond


def _places_beyond(items: list[Any], part: ListFields | PickedFields, widths: Mapping[str, int]) -> Iterator[int]:
    """The places of the ``items`` that get no columns."""
    if isinstance(part, ListFields):
        yield from range(widths[part.name], len(items))
        return
    free = {value for value, _ in part.picks}
    width = widths[part.rest]
    for place, item in enumerate(items):
        value = item.get(part.key) if isinstance(item, dict) else None
        if isinstance(value, str) and value in free:
            free.remove(value)
        elif width:
            width -= 1
        else:
            yield place


def _coerced_record(record: Json, layout: TableLayout, beyond: Unknown, unknown: dict[Path, Any]) -> Json:
    rest = dict(record)
    fit: Json = {}
    own: tuple[Field, ...] = ()
    for part in layout.objects:
        if not part.name:
            own = part.fields
        elif isinstance(rest.get(part.name, {}), dict | None):
            fit[part.name] = _coerced(rest.pop(part.name, None), part.fields, (part.name,), unknown)
    practice = {addresses.path[0] for addresses in layout.practice_addresses}
    for lists in layout.lists_of_records():
        is_practice = isinstance(lists, PickedFields) or lists.name in practice
        if isinstance(rest.get(lists.name, []), list | None):
            items = rest.pop(lists.name, None) or []
            fit[lists.name] = [
                # What is beyond is kept whole: nothing of it need be kept apart.
                _coerced(item, lists.fields, (lists.name, place), {} if (lists.name, place) in beyond else unknown)
                for place, item in enumerate(items)
                if is_practice or (lists.name, place) not in beyond
            ]
    return _coerced(rest, own, (), unknown) | fit


def _coerced(value: Any, fields: tuple[Field, ...], at: Path, unknown: dict[Path, Any]) -> Json:
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
            continue
        if isinstance(held, str) and NUL in held:
            unknown.update(leaves(scalar, (*at, key)))
            held = without_nul(held)
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
