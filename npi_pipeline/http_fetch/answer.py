"""What became of one request: the words between the client, which makes requests, and those who decide.

Not here: how a result is judged (``client``, ``registries``), what follows from it (``scheduler``).
"""

from __future__ import annotations

import dataclasses
import enum

from npi_pipeline.outcomes import Verdict


class Signal(enum.Enum):
    """What an answer shows of the registry: it is usable, it throttles us (too many requests), or it fails."""

    good = "good"
    throttled = "throttled"
    error = "error"


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    ``body`` is there when the registry said something about the NPI. ``retry_after``: seconds from the answer on, if
    it named a time. ``seconds``: how long the request took.
    """

    verdict: Verdict
    signal: Signal
    status: int | None = None
    body: str | None = None
    retry_after: float | None = None
    seconds: float = 0.0
