"""The words for what became of one NPI: the five outcomes and the journal's row.

Not here: how an answer is judged (``registries``), how it is fetched (``fetch``), how it is kept (``journal``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import sys


class Outcome(str, enum.Enum):
    """What became of one NPI. Every distinct NPI of a list has exactly one."""

    found = "found"
    not_found = "not_found"
    deactivated = "deactivated"
    invalid = "invalid"
    failed = "failed"


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """How one answer of the registry, or the lack of one, is judged.

    ``retryable`` says of a ``failed`` verdict that its reason may pass, so that asking again makes sense.
    ``reason`` is one line for a person; it names no count and no time, so that equal outcomes read equal.
    """

    outcome: Outcome
    reason: str | None = None
    retryable: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class NpiOutcome:
    """The outcome of one NPI: one row of the journal.

    ``body`` is the registry's answer as it came (as UTF-8 text) for every outcome but ``failed`` and ``invalid``.
    ``status`` is the HTTP status of the last answer, if there was one; ``attempts`` counts the requests made, but for
    those that were sent again because the kept connection was stale.
    """

    npi: str
    verdict: Verdict
    fetched_at: dt.datetime
    attempts: int = 0
    status: int | None = None
    body: str | None = None

    @property
    def body_bytes(self) -> int:
        """The memory that the body takes: one rare character makes each of a text's take four bytes."""
        return 0 if self.body is None else sys.getsizeof(self.body)
