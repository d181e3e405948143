"""How many requests may be in flight, and how fast they may follow each other: found out from the answers.

A registry limits a client in two ways, and no single published law finds both (benchmarks/fetch_limiters.py; seconds
over the least possible, and the share of requests that were refused, in simulation):

| registry                      | fixed pool    | AIMD          | gradient      | learnt rate   | ours          |
|-------------------------------|---------------|---------------|---------------|---------------|---------------|
| calibrated: 167/s, 3 % errors | 3.562 (82.8%) | 2.631 (0.0%)  | 1.240 (8.0%)  | 1.274 (0.2%)  | 1.073 (2.9%)  |
| cap 2/s                       | 2.003 (89.3%) | 1.666 (85.4%) | 1.685 (84.8%) | 1.309 (25.5%) | 1.332 (22.6%) |
| cap 50/s                      | 2.223 (86.7%) | 2.064 (14.5%) | 1.523 (18.6%) | 1.073 (0.5%)  | 1.051 (3.7%)  |
| cap 1000/s                    | 2.226 (78.6%) | 1.133 (0.2%)  | 1.373 (4.1%)  | 1.451 (0.1%)  | 1.082 (1.6%)  |
| 160/s, 80/s, 160/s            | 1.343 (86.8%) | 1.192 (1.3%)  | 1.101 (10.1%) | 1.189 (0.3%)  | 1.098 (3.3%)  |
| 503 above 60 in flight        | 3.524 (80.1%) | 1.183 (0.5%)  | 3.200 (71.4%) | 2.766 (71.6%) | 1.174 (3.5%)  |
| slower above 40 in flight     | 1.106 (0.0%)  | 1.138 (0.0%)  | 1.380 (0.0%)  | 1.186 (0.0%)  | 1.143 (0.0%)  |
| 3 % errors                    | 1.040 (0.0%)  | 3.505 (0.0%)  | 1.412 (0.0%)  | 1.172 (0.0%)  | 1.099 (0.0%)  |
| 8 % refused at random         | 0.959 (8.2%)  | 6.535 (8.1%)  | 1.434 (8.2%)  | 32.621 (8.2%) | 1.032 (7.8%)  |

So there are two limits, which obey one law (``adaptive_limit``), and each is moved by the failures that concern it:

- the *rate limiter* by refusals (429, 403, ``Retry-After``): what is refused for being too many a second.
- the *concurrency limit* by errors (5xx, timeouts, resets), and by latency that has doubled: an overloaded registry.

What fails because of its own NPI concerns neither (``own_failures``).

Not here: which NPI is asked next (``scheduler``), whether the registry is down (``circuit_breaker``).
"""

from __future__ import annotations

import math

from npi_pipeline.http_fetch.answer import Answer, Signal
from npi_pipeline.http_fetch.circuit_breaker import Reopening
from npi_pipeline.http_fetch.concurrency_limit import ConcurrencyLimit
from npi_pipeline.http_fetch.rate_limiter import RateLimiter


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

    def cap(self, *, ceiling: int, requests_per_second: float) -> None:
        """From now on these are the ceiling and the cap."""
        self._ceiling = ceiling
        self._concurrency.cap(ceiling)
        self._rate.cap(requests_per_second or math.inf)

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return int(self._concurrency.limit + 0.5)

    @property
    def rate(self) -> float:
        """Requests per second that may be sent now; infinity while nothing limits them."""
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

    def seconds_to_send_again(self, now: float) -> float:
        """How long a request waits that is sent again because its connection was stale; for any thread.

        It is the same request to everybody else, but it counts against the cap.
        """
        return max(0.0, self._rate.slot_to_send_again(now) - now)

    def left_out(self) -> None:
        """A request ended in a way that says nothing about the registry's limits."""
        self.in_flight -= 1

    def answered(self, now: float, sent_at: float, answer: Answer) -> None:
        """A request sent at ``sent_at`` was answered."""
        use = self.in_flight / self.limit
        self.in_flight -= 1
        if answer.signal is Signal.throttled:
            self._rate.on_throttled(now, sent_at)
            return
        self._rate.admitted(now, sent_at, self.in_flight)
        if answer.signal is Signal.good:
            self._concurrency.good(now, sent_at, answer.seconds, use)
        else:
            self._concurrency.on_error(now, sent_at, answer.seconds, use)
        self.highest_limit = max(self.highest_limit, self.limit)

    def cleared(self, now: float) -> None:
        """What failed of late was not for asking too much. From errors the limit recovers soon by itself."""
        self._rate.cleared(now)

    def reopened(self, now: float, reopening: Reopening) -> None:
        """The registry answers again after it answered nobody, or refused everybody."""
        if reopening.has_refused:
            self._rate.reopened(now, reopening.seconds, was_named=reopening.was_named)
        else:
            self._concurrency.restart(now)
