"""How many requests may be in flight, and how fast they may follow each other: found out from the answers.

A registry limits a client in two ways, and no single published law finds both (benchmarks/fetch_limiters.py; seconds
over the least possible, and the share of requests that were refused, in simulation):

@@TABLE@@

So there are two limits, which obey one law (``learnt_limit``), and each is moved by the failures that concern it:

- the *rate limiter* by refusals (429, 403, ``Retry-After``): what is refused for being too many a second.
- the *concurrency limit* by troubles (5xx, timeouts, resets), and by latency that has doubled: an overloaded registry.

Not here: which NPI is asked next (``scheduler``), whether the registry is down (``breaker``).
"""

from __future__ import annotations

import math

from npi_pipeline.enrichment.answer import Answer, Sign
from npi_pipeline.enrichment.concurrency_limit import ConcurrencyLimit
from npi_pipeline.enrichment.rate_limiter import RateLimiter


class Limiter:
    """Says when one more request may be sent, and learns from every answer. Times are those of one clock.

    ``ceiling``: requests in flight at most. ``requests_per_second``: a cap that is never exceeded; 0 for none.
    """

    def __init__(self, *, ceiling: int, requests_per_second: float = 0.0) -> None:
        self._ceiling = ceiling
        self._concurrency = ConcurrencyLimit(ceiling)
        self._rate = RateLimiter(requests_per_second or math.inf)
        self.in_flight = 0
        self.highest_limit = self.limit

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return int(self._concurrency.limit)

    @property
    def rate(self) -> float:
        """Requests a second that may be sent now; infinity while nothing limits them."""
        return self._rate.rate if self._rate.is_limiting else math.inf

    def ready_at(self, now: float, overdue: int = 0) -> float:
        """The time from which one more request may be sent; infinity when an answer has to come first.

        ``overdue`` of those in flight may never be answered: they do not count, but for the ceiling.
        """
        if self.in_flight >= self._ceiling or self.in_flight - overdue >= self.limit:
            return math.inf
        return max(now, self._rate.next_slot)

    def sent(self, now: float) -> None:
        """One more request is in flight."""
        self.in_flight += 1
        self._rate.sent(now)

    def broken_off(self) -> None:
        """A request was broken off by the fetch itself, which says nothing about the registry's limits."""
        self.in_flight -= 1

    def answered(self, now: float, sent_at: float, answer: Answer) -> None:
        """A request sent at ``sent_at`` was answered."""
        use = self.in_flight / self.limit
        self.in_flight -= 1
        if answer.sign is Sign.refused:
            self._rate.refused(now, sent_at)
            return
        self._rate.admitted(now, sent_at, self.in_flight)
        if answer.sign is Sign.good:
            self._concurrency.good(now, sent_at, answer.seconds, use)
        else:
            self._concurrency.trouble(now, sent_at, answer.seconds, use)
        self.highest_limit = max(self.highest_limit, self.limit)

    def reopened(self, now: float, *, has_refused: bool) -> None:
        """The registry answers again after it answered nobody, or refused everybody, for a while."""
        if has_refused:
            self._rate.reopened(now)
        else:
            self._concurrency.restart(now)
