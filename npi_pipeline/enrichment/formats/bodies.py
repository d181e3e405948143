"""Reading the body of an answer so far as every registry format needs it before it judges.

Not here: what the answer says (one module per format).
"""

from __future__ import annotations

from typing import Any

import msgspec

from npi_pipeline.enrichment.outcomes import Outcome, Verdict

# Real answers are nested four deep. What is nested deeper than this is refused, so that whoever reads the body later
# can do so at any depth of its own stack.
_DEEPEST = 100


def passing(reason: str) -> Verdict:
    """A failed verdict whose reason may pass."""
    return Verdict(Outcome.failed, reason, passing=True)


def json_object(body: bytes) -> dict[str, Any] | Verdict:
    """The JSON object that ``body`` is, or the verdict on a body that is none."""
    try:
        answer = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return passing("the answer is no JSON")
    if not isinstance(answer, dict):
        return passing("the answer is no JSON object")
    if body.count(b"[") + body.count(b"{") > _DEEPEST and _depth_exceeds(answer, _DEEPEST):
        return passing("the answer is nested too deeply")
    return answer


def _depth_exceeds(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        below = [here.values() if isinstance(here, dict) else here for here in level]
        level = [item for items in below for item in items if isinstance(item, (dict, list))]
        if not level:
            return False
    return True
