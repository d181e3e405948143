"""Reading the body of an answer so far as every registry format needs it before it judges.

Not here: what the answer says (one module per format), nor how it was compressed (``content_coding``).
"""

from __future__ import annotations

import contextlib
import email.message
import json
import re
from typing import Any

import msgspec

from npi_pipeline.outcomes import Outcome, Verdict

# Real answers are nested four deep. What is nested deeper than this is refused, so that whoever reads the body later
# can do so at any depth of its own stack.
_DEEPEST = 100

# One escape of a JSON text: a pair of surrogates, a lone one (the group), or any other.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def retryable(reason: str) -> Verdict:
    """A failed verdict whose reason may pass."""
    return Verdict(Outcome.failed, reason, retryable=True)


def text_of(body: bytes | bytearray, content_type: str) -> str:
    """The JSON text that ``body`` is, with nothing in it that UTF-8 cannot hold. Raises UnicodeDecodeError.

    JSON is UTF-8 (RFC 8259); UTF-16 and UTF-32, which it could be until then, show in the first bytes. A body that is
    none of them is in the charset that the header ``Content-Type`` declares. The escape of half a character, left where
    a text was cut, stands for nothing that can be kept: it becomes that of U+FFFD.
    """
    text = body.decode(json.detect_encoding(body)) if b"\0" in body[:4] else _decoded(body, content_type)
    # Most answers have no escape at all, which is found out in no time.
    if "\\" in text and ("\\ud" in text or "\\uD" in text):
        return _ESCAPE.sub(lambda escape: r"\ufffd" if escape[1] else escape[0], text)
    return text


def _decoded(body: bytes | bytearray, content_type: str) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        header = email.message.Message()
        header["Content-Type"] = content_type
        with contextlib.suppress(LookupError, ValueError):
            return body.decode(header.get_content_charset("utf-8"))
        raise


def json_object(body: bytes) -> dict[str, Any] | Verdict:
    """The JSON object that ``body`` is, or the verdict on a body that is none."""
    try:
        answer = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        return retryable(_why_no_json(body, error))
    if not isinstance(answer, dict):
        return retryable("the answer is no JSON object")
    if body.count(b"[") + body.count(b"{") > _DEEPEST and _depth_exceeds(answer, _DEEPEST):
        return retryable("the answer is nested too deeply")
    return answer


def _why_no_json(body: bytes, error: Exception) -> str:
    if not body.strip():
        return "the answer is empty"
    # As the decoder puts it: all of it is JSON so far, but more must follow.
    return "the answer is JSON that is cut short" if "truncated" in str(error) else "the answer is no JSON"


def _depth_exceeds(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        below = [here.values() if isinstance(here, dict) else here for here in level]
        level = [item for items in below for item in items if isinstance(item, (dict, list))]
        if not level:
            return False
    return True
