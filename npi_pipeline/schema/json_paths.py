"""JSON paths: how the place of a value in a record becomes the name of a column, and in what order names stand.

A path is a tuple of keys (str) and list positions (int) that leads from the record to a value; its name reads
``items[0].address.state``. A key that is no plain word is written ``["a.b"]``; a first key that is the name of one of
our own columns as ``$.npi``, from the root of the answer. So two different paths never share a name, and no name
begins as a formula does. Not here: which columns there are (``columns``) and how values are taken out (``declared``,
``inferred``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

Path = tuple[str | int, ...]

LEADING_COLUMNS = ("npi", "outcome", "reason", "fetched_on")
UNKNOWN_FIELDS = "unknown_fields"
STATES = "states"
UNRECOGNISED_STATES = "unrecognised_states"
RESERVED = frozenset((*LEADING_COLUMNS, UNKNOWN_FIELDS, STATES, UNRECOGNISED_STATES))


NUL = "\0"
NUL_SIGN = "\N{SYMBOL FOR NULL}"

ROOT: Final = -1
"""The first step of a path that leads from the answer, and not from the record in it; neither key nor position."""

_PLAIN_KEY = re.compile(r"[^\W\d][\w\-]*")


def name_of(path: Path) -> str:
    """The name of ``path``; different paths have different names."""
    return _joined(path, "[{}]")


def column_of(path: Path) -> str:
    """The name of the column of ``path`` where the record is the whole answer; never one of our own columns' names."""
    return name_of((ROOT, *path) if path[0] in RESERVED else path)


def pattern_of(path: Path) -> str:
    """The name of ``path`` with every list position as ``[*]``."""
    return _joined(path, "[*]")


def _joined(path: Path, position: str) -> str:
    name = ""
    for step in path:
        if step == ROOT:
            name += "$"
        elif isinstance(step, int):
            name += position.format(step)
        elif _PLAIN_KEY.fullmatch(step):
            name += f".{step}" if name else step
        else:
            name += f"[{json_text(step)}]"
    return name


def order_of(path: Path) -> tuple[bool, tuple[tuple[bool, int, str], ...]]:
    """Sort key of ``path``: those outside lists first, then by key and position (``items[2]`` before ``items[10]``).

    It depends on nothing but the path, so that equal sets of paths always stand in the same order.
    """
    steps = tuple((True, step, "") if isinstance(step, int) else (False, 0, step) for step in path)
    return any(is_position for is_position, _, _ in steps), steps


def leaves(value: Any, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every scalar below ``value`` with its path, in the order of the text; an empty list or object is a leaf too.

    Works without recursion: a body may be nested deeper than Python's stack.
    """
    waiting: list[tuple[Path, Any]] = [(at, value)]
    while waiting:
        path, here = waiting.pop()
        if isinstance(here, dict) and here:
            waiting.extend(reversed([((*path, key), below) for key, below in here.items()]))
        elif isinstance(here, list) and here:
            waiting.extend(reversed([((*path, position), below) for position, below in enumerate(here)]))
        else:
            yield path, here


def json_text(value: Any) -> str:
    """``value`` as JSON, numbers as they came."""
    return msgspec.json.encode(value).decode()


def without_nul(text: str) -> str:
    """``text`` as a file may hold it: databases take no NUL, so the sign for it stands in its place."""
    return text.replace(NUL, NUL_SIGN)


def text_of(value: Any) -> str | None:
    """A leaf as the text of a cell: a string as it is, null as None, anything else as JSON."""
    return value if value is None or isinstance(value, str) else json_text(value)
