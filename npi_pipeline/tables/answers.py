"""Parsing the bodies of answers. Not here: what an answer means (the registry formats) and where its values go."""

from __future__ import annotations

import json
from typing import Any

import orjson

from npi_pipeline.tables.paths import leaves

# From here on a float may be a whole number that lost digits: orjson reads what exceeds 64 bits as a float.
_INEXACT = 2.0**53
_MOST_DIGITS = 18


class NumberText(str):
    """A number as it stands in the body, for numbers that no type of Python's or polars' holds exactly."""

    __slots__ = ()


def parsed(body: str) -> Any:
    """The JSON value of ``body``, every digit kept: huge numbers are NumberText. Raises ValueError."""
    body = body.removeprefix("\ufeff")
    value = orjson.loads(body)
    if not any(isinstance(leaf, float) and abs(leaf) >= _INEXACT for _, leaf in leaves(value)):
        return value
    try:
        return json.loads(body, parse_int=_whole, parse_float=NumberText)
    except RecursionError:
        return value


def _whole(digits: str) -> int | NumberText:
    return int(digits) if len(digits) <= _MOST_DIGITS else NumberText(digits)
