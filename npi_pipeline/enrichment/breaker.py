"""Whether the registry is up: when everything fails, the fetch stops asking and probes gently.

At the end of a list only NPIs may be left at which the registry always stumbles; they are asked again and again, and
their failures say nothing about the registry. The caller knows which failures do.

Not here: what failed and why (``client``), how fast a healthy registry is asked (``limiter``).
"""

from __future__ import annotations

import dataclasses
import math

from npi_pipeline.enrichment.answer import Answer, Sign

# So many NPIs in a row do not fail by chance, even with a registry that fails more often than not.
_FAILURES_IN_A_ROW = 30
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 15.0


class RegistryDownError(RuntimeError):
    """The registry stays down. One line: which registry, what was seen, since when, what to do."""


@dataclasses.dataclass(frozen=True)
class Outage:
    """What made the fetch give up: what the registry did, for how many seconds already, and the last reason."""

    seen: str
    seconds: float
    reason: str


class Breaker:
    """Open while the registry seems down: then one request at a time is let through, ever more rarely.

    ``patience``: seconds without a usable answer, or of a wait that the registry asks for, after which the fetch is
    to be given up. Times are those of one clock.
    """

    def __init__(self, *, patience: float, now: float) -> None:
        self._patience = patience
        self._good_at = now
        self._failures = 0
        self._reason = ""
        self._pause = 0.0
        self._probe_at = -math.inf
        self._asked_to_wait = 0.0

    @property
    def is_open(self) -> bool:
        """Whether only probes are let through."""
        return self._pause > 0

    def ready_at(self, now: float, in_flight: int) -> float:
        """The time from which one more request may be sent; infinity when an answer has to come first."""
        if not self.is_open:
            return now
        return math.inf if in_flight else max(now, self._probe_at)

    def answered(self, now: float, answer: Answer, *, is_telling: bool) -> None:
        """Take note of an answer; ``is_telling``: a failure would be the registry's and not only this NPI's."""
        if answer.sign is Sign.good:
            self._good_at = now
            self._failures = 0
            self._pause = 0.0
            return
        self._reason = answer.verdict.reason or ""
        self._asked_to_wait = max(self._asked_to_wait, answer.retry_after or 0.0)
        self._failures += is_telling
        if self.is_open:
            self._fail_probe(now)
        elif self._failures >= _FAILURES_IN_A_ROW:
            self._rest(now, _FIRST_PAUSE)

    def outage(self, now: float) -> Outage | None:
        """Why the fetch is to be given up, if it is."""
        seconds = now - self._good_at
        if self._asked_to_wait > self._patience:
            return Outage(f"asks to be left alone for {self._asked_to_wait:,.0f} s", seconds, self._reason)
        if self.is_open and seconds >= self._patience:
            return Outage("gives no usable answer", seconds, self._reason)
        return None

    def _fail_probe(self, now: float) -> None:
        # Answers to what was in flight when it opened come before the time of the probe.
        if now >= self._probe_at:
            self._rest(now, min(self._pause * 2, _LONGEST_PAUSE))

    def _rest(self, now: float, seconds: float) -> None:
        self._pause = seconds
        self._probe_at = now + seconds
