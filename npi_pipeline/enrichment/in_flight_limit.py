"""How many requests may be in flight: learnt from troubles and from latency.

Not here: how fast they may follow each other (``rate_limit``), why there are two limits (``limiter``).
"""

from __future__ import annotations

import math


class InFlightLimit:
    """Requests that may be in flight."""

    _START = 16.0
    _LEAST = 4.0
    # Troubles are borne up to this share of the answers, or half as many again as the registry always has.
    _TOLERANCE = 0.05
    _USUAL = 1.5
    _MOST_BORNE = 0.5
    # The first time that troubles exceed what is borne by so much, the start is over.
    _MANY = 0.15
    # Share of a new answer in the averages.
    _SHARE = 1 / 32
    # Latency counts as risen when it has doubled.
    _RISEN = math.log(2.0)

    def __init__(self, ceiling: int) -> None:
        """``ceiling`` is never exceeded."""
        self._ceiling = float(ceiling)
        self._least = min(self._LEAST, self._ceiling)
        self.limit = min(self._START, self._ceiling)
        self._is_starting = True
        self._troubles = 0.0
        self._usual_troubles = 0.0
        self._fell_from = 0.0
        self._answers = 0
        self._latency = 0.0
        self._best_latency = math.inf
        self._risen_from: tuple[float, float] | None = None

    def restart(self) -> None:
        """Begin again, from few."""
        self.limit = min(self._START, self.limit)
        self._is_starting = True
        self._troubles = self._usual_troubles = 0.0

    def good(self, latency: float, *, is_full: bool) -> None:
        """A usable answer came after ``latency`` seconds; ``is_full``: as many were in flight as may be."""
        self._troubles -= self._troubles * self._SHARE
        self._usual_troubles = min(self._usual_troubles, max(self._troubles, self._usual_troubles * 0.999))
        if self._troubles < self._borne / 2:
            self._fell_from = 0.0
        if self._has_risen(latency):
            self._is_starting = False
            self._change(-self._TOLERANCE)
        elif is_full:
            self._change(1.0 if self._is_starting else self._borne)

    def trouble(self) -> None:
        """A request failed in a way that an overloaded registry may cause."""
        self._troubles += (1.0 - self._troubles) * self._SHARE
        if self._is_starting and self._troubles < self._borne + self._MANY:
            return
        self._is_starting = False
        self._fell_from = max(self._fell_from, self.limit)
        self._change(self._borne - 1.0)
        if self.limit < max(self._fell_from / 3, self._least + 1) and self._troubles > self._borne:
            # A third of the requests has as many troubles: they do not come from there being too many.
            self._usual_troubles = self._troubles

    @property
    def _borne(self) -> float:
        return min(self._MOST_BORNE, max(self._TOLERANCE, self._USUAL * self._usual_troubles))

    def _change(self, by: float) -> None:
        self.limit = min(self._ceiling, max(self._least, self.limit + by))

    def _has_risen(self, latency: float) -> bool:
        """Whether latency (its geometric mean, which bears long tails) is twice what it was at its best."""
        log = math.log(max(latency, 1e-6))
        self._answers += 1
        self._latency += (log - self._latency) * max(self._SHARE, 1 / self._answers)
        if self._answers * self._SHARE < 1:
            return False
        self._best_latency = min(self._best_latency, self._latency)
        if self._latency < self._best_latency + self._RISEN:
            self._risen_from = None
            return False
        if self._risen_from is None:
            self._risen_from = self.limit, self._latency
        limit, latency_then = self._risen_from
        if self.limit < 0.7 * limit and self._latency > latency_then - 0.1:
            # Fewer requests have not made it faster: it is not ours that slow it down.
            self._best_latency = self._latency
        return True
