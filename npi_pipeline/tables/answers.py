"""Parsing the bodies of answers. Not here: what an answer means (the registry formats) and where its values go."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

_DECODER = msgspec.json.Decoder(float_hook=Decimal)


def parsed(body: str) -> Any:
    """The JSON value of ``body`` with every digit kept: int of any length, Decimal for all other numbers.

    Raises ValueError or RecursionError.
    """
    return _DECODER.decode(body.removeprefix("\ufeff"))
