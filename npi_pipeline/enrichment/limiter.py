"""How many requests may be in flight, and how fast they may follow each other: found out from the answers.

Not here: which NPI is asked next (``scheduler``), whether the registry is down (``breaker``).
"""

from __future__ import annotations

import math

from npi_pipeline.enrichment.client import Sign

_FIRST_LIMIT = 10.0
_BURST_SECONDS = 0.02


class Limiter:
    """Says when one more request may be sent, and learns from every answer. Times are those of one clock."""

    def __init__(self, *, ceiling: int, requests_per_second: float = 0.0) -> None:
        self._ceiling = ceiling
        self._interval = 1 / requests_per_second if requests_per_second else 0.0
        self._limit = min(float(ceiling), _FIRST_LIMIT)
        self._growing = True
        self._in_flight = 0
        self._next_slot = -math.inf
        self._cut_at = -math.inf
        self.highest_limit = self.limit

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return max(1, int(self._limit))

    @property
    def in_flight(self) -> int:
        """Requests sent and not yet answered."""
        return self._in_flight

    def ready_at(self, now: float) -> float:
        """The time from which one more request may be sent; infinity when an answer has to come first."""
        if self._in_flight >= self.limit:
            return math.inf
        return max(now, self._next_slot)

    def sent(self, now: float) -> None:
        """One more request is in flight."""
        self._in_flight += 1
        if self._interval:
            self._next_slot = max(self._next_slot, now - _BURST_SECONDS) + self._interval

    def answered(self, now: float, sent_at: float, sign: Sign) -> None:
        """A request sent at ``sent_at`` was answered."""
        was_full = self._in_flight >= self.limit
        self._in_flight -= 1
        if sign is Sign.refused:
            if sent_at > self._cut_at:
                self._limit = max(1.0, self._limit * 0.8)
                self._growing = False
                self._cut_at = now
        elif sign is Sign.good and was_full:
            self._limit = min(float(self._ceiling), self._limit + (1.0 if self._growing else 1.0 / self._limit))
            self.highest_limit = max(self.highest_limit, self.limit)
