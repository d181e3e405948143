"""One NPI under way: the word between the scheduler and those who make its attempts.

Not here: what is asked next and when (``scheduler``), the asking (``workers``).
"""

from __future__ import annotations

import dataclasses
import math

from npi_pipeline.outcomes import Outcome, Verdict

_NEVER_ASKED = Verdict(Outcome.failed, "not asked before NPI_RUN_DEADLINE passed", retryable=True)


@dataclasses.dataclass(slots=True, eq=False)
class Attempt:
    """One NPI under way. ``number`` counts its requests so far, ``sent_at`` is the time of the last of them.

    ``repeats``: those of them that used up one of its repeats. ``aborted``: those that took too long. ``is_last``:
    after this one it is not asked again. ``asked_to_wait``: for so many seconds in all, by ``Retry-After``.
    """

    npi: str
    number: int = 0
    repeats: int = 0
    aborted: int = 0
    is_last: bool = False
    asked_to_wait: float = 0.0
    first_sent_at: float = math.inf
    sent_at: float = math.inf
    verdict: Verdict = _NEVER_ASKED
    status: int | None = None
