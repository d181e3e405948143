"""The concurrency limit: how many requests may be in flight, learnt from errors and from latency.

An overloaded registry answers 5xx, resets, or lets everybody wait. What got through at an alarm is the mean number of
requests in flight that ended well: latency times good answers a second, by Little's law. Requests that the fetch broke
off itself are no sign: whether they were slow because of the load is seen by the good answers.

Not here: the law by which the limit is learnt (``adaptive_limit``), how fast requests follow each other
(``rate_limiter``).
"""

from __future__ import annotations

import math

from npi_pipeline.http_fetch.adaptive_limit import AdaptiveLimit, Cut, Recovery

_START = 16.0
_LEAST = 1.0
# Three errors in a hundred are tolerated; registries have so many for reasons of their own.
_ERROR_TOLERANCE = 0.03
# The fewer in flight, the longer does each request that hangs hold up the trial of a cut: half of them are kept.
_CUT = Cut(lowest_estimate=0.5, lowest_trial=0.5)
# Twice as many answers as for the rate, because one request in flight too many can cost many errors; but few requests
# that take long must not keep the limit down for minutes.
_RECOVERY = Recovery(answers=200.0, seconds=20.0, shortest=1.0)
# Answers count when at least half of the limit was in use: else it was not what held the fetch back.
_IN_USE = 0.5
# Latency counts as risen when it has doubled; then each good answer takes a little of the limit.
_RISEN = math.log(2.0)
_LOWERED_BY = 0.05
# Share of a new answer in the mean of the latency's logarithm, which bears long tails.
_SHARE = 1 / 32
# Latency that stays up although a third fewer are in flight is not ours.
_FEWER = 0.7
_AS_SLOW = -0.1


class ConcurrencyLimit:
    """Requests that may be in flight; ``ceiling`` is never exceeded."""

    def __init__(self, ceiling: int) -> None:
        self._limit = AdaptiveLimit(
            min(_START, ceiling),
            bounds=_bounds(ceiling),
            error_tolerance=_ERROR_TOLERANCE,
            cut=_CUT,
            recovery=_RECOVERY,
        )
        self._good_seconds = self._bad_seconds = 0.0
        self._good = self._bad = 0
        self._answers = 0
        self._latency = 0.0
        self._best_latency = math.inf
        self._risen_from: tuple[float, float] | None = None

    @property
    def limit(self) -> float:
        """Requests that may be in flight."""
        return self._limit.value

    def cap(self, ceiling: int) -> None:
        """There is another ceiling now."""
        self._limit.bound(_bounds(ceiling))

    def restart(self, now: float) -> None:
        """Begin again, from few."""
        self._limit.forget(now, min(_START, self.limit))
        self._good_seconds = self._bad_seconds = 0.0

    def good(self, now: float, sent_at: float, latency: float, use: float) -> None:
        """A usable answer came after ``latency`` seconds; ``use``: the share of the limit that was in flight."""
        if self._has_risen(latency):
            self._limit.lower(_LOWERED_BY)
        elif use >= _IN_USE:
            self._good_seconds += latency
            self._good += 1
            self._limit.succeeded(now, sent_at, 1 / self.limit if use >= 1 else 0.0)

    def on_error(self, now: float, sent_at: float, latency: float, use: float) -> None:
        """A request failed, after ``latency`` seconds, in a way that an overloaded registry may cause."""
        if use < _IN_USE:
            return
        self._bad_seconds += latency
        self._bad += 1
        if not self._limit.failed(now, sent_at):
            return
        share = self._good_seconds / max(self._good_seconds + self._bad_seconds, 1e-9)
        self._limit.cut(now, self.limit * share, self._weight())
        self._good_seconds = self._bad_seconds = 0.0
        self._good = self._bad = 0

    def _weight(self) -> float:
        """How much of the limit a failure takes, where a good answer takes 1: a refusal is soon there."""
        if not self._good_seconds:
            return 1.0
        return min(1.0, (self._bad_seconds / self._bad) / (self._good_seconds / self._good))

    def _has_risen(self, latency: float) -> bool:
        """Whether latency (its geometric mean) is twice what it was at its best."""
        log = math.log(max(latency, 1e-6))
        self._answers += 1
        self._latency += (log - self._latency) * max(_SHARE, 1 / self._answers)
        if self._answers * _SHARE < 1:
            return False
        self._best_latency = min(self._best_latency, self._latency)
        if self._latency < self._best_latency + _RISEN:
            self._risen_from = None
            return False
        if self._risen_from is None:
            self._risen_from = self.limit, self._latency
        limit, latency_then = self._risen_from
        if self.limit < _FEWER * limit and self._latency > latency_then + _AS_SLOW:
            self._best_latency = self._latency
        return True


def _bounds(ceiling: int) -> tuple[float, float]:
    return min(_LEAST, ceiling), ceiling
