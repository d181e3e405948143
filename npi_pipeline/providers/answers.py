"""Parsing the bodies of answers. Not here: what an answer means (the registry formats) and where its values go."""

from __future__ import annotations

from typing import Any

import msgspec

from npi_pipeline.errors import PipelineError


class UnreadableAnswerError(PipelineError):
    """An answer that was found once is not what its registry's format reads: between which NPIs, and the remedy."""


_DECODER = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode()))


def parsed(body: str) -> Any:
    """The JSON value of ``body`` with every digit as it came: whole numbers are int, others msgspec.Raw.

    Of a key that stands twice in an object the last counts, as with any JSON parser; the journal keeps the body.
    Raises ValueError or RecursionError.
    """
    return _DECODER.decode(body.removeprefix("\ufeff"))
