"""Whether the registry is up: when nearly everything fails, the fetch stops asking and probes gently.

Not here: what failed and why (``client``), how fast a healthy registry is asked (``limiter``).
"""

from __future__ import annotations

import math

from npi_pipeline.enrichment.client import Answer, Sign

# So many failures in a row do not happen by chance, even to a registry that fails more often than not.
_FAILURES_IN_A_ROW = 30
# A registry that lets requests hang gives few answers: then time counts.
_FEW_FAILURES = 5
_SECONDS_OF_FAILURES = 15.0
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 15.0


class RegistryDownError(RuntimeError):
    """The registry stays down. One line: which registry, what was seen, for how long, what to do."""


class Breaker:
    """Open while the registry seems down: then one request at a time is let through, ever more rarely.

    ``patience``: seconds without a usable answer after which ``given_up`` says so. Times are those of one clock.
    """

    def __init__(self, *, patience: float, now: float) -> None:
        self._patience = patience
        self._last_good = now
        self._failures = 0
        self._reason = "nothing"
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

    def answered(self, now: float, answer: Answer) -> None:
        """Take note of an answer."""
        if answer.sign is Sign.good:
            self._last_good = now
            self._failures = 0
            self._pause = 0.0
            return
        self._failures += 1
        self._reason = answer.verdict.reason or self._reason
        self._asked_to_wait = max(self._asked_to_wait, answer.retry_after or 0.0)
        if self.is_open:
            if now >= self._probe_at:
                self._rest(now, self._pause * 2)
        elif self._is_down(now):
            self._rest(now, _FIRST_PAUSE)

    def given_up(self, now: float) -> str | None:
        """What was seen and for how long, once patience is at its end."""
        if self._asked_to_wait > self._patience:
            return f"asks to be left alone for {self._asked_to_wait:.0f} s ({self._reason})"
        if self.is_open and now - self._last_good >= self._patience:
            return f"gave no usable answer for {now - self._last_good:.0f} s (last: {self._reason})"
        return None

    def _is_down(self, now: float) -> bool:
        if self._failures >= _FAILURES_IN_A_ROW:
            return True
        return self._failures >= _FEW_FAILURES and now - self._last_good >= _SECONDS_OF_FAILURES

    def _rest(self, now: float, seconds: float) -> None:
        self._pause = min(seconds, _LONGEST_PAUSE)
        self._probe_at = now + self._pause
