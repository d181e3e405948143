"""How many requests may be in flight, and how fast they may follow each other: found out from the answers.

A registry limits a client in two ways, and no single published law finds both (benchmarks/fetch_limiters.py; seconds
over the least possible, and the share of requests that were refused, in simulation):

| registry                      | fixed pool    | AIMD          | gradient      | learnt rate   | this          |
|-------------------------------|---------------|---------------|---------------|---------------|---------------|
| calibrated: 167/s, 3 % errors | 3.562 (82.8%) | 2.631 (0.0%)  | 1.240 (8.0%)  | 1.274 (0.2%)  | 1.065 (1.4%)  |
| cap 2/s                       | 2.003 (89.3%) | 1.666 (85.4%) | 1.685 (84.8%) | 1.309 (25.5%) | 1.176 (13.0%) |
| cap 50/s                      | 2.223 (86.7%) | 2.064 (14.5%) | 1.523 (18.6%) | 1.073 (0.5%)  | 1.029 (2.1%)  |
| cap 1000/s                    | 2.226 (78.6%) | 1.133 (0.2%)  | 1.373 (4.1%)  | 1.451 (0.1%)  | 1.066 (1.5%)  |
| 160/s, 80/s, 160/s            | 1.343 (86.8%) | 1.192 (1.3%)  | 1.101 (10.1%) | 1.189 (0.3%)  | 1.046 (1.4%)  |
| 503 above 60 in flight        | 3.524 (80.1%) | 1.183 (0.5%)  | 3.200 (71.4%) | 2.766 (71.6%) | 1.103 (5.7%)  |
| slower above 40 in flight     | 1.106 (0.0%)  | 1.138 (0.0%)  | 1.380 (0.0%)  | 1.186 (0.0%)  | 1.111 (0.0%)  |
| 3 % errors                    | 1.040 (0.0%)  | 3.505 (0.0%)  | 1.412 (0.0%)  | 1.172 (0.0%)  | 1.092 (0.0%)  |
| 8 % refused at random         | 0.959 (8.2%)  | 6.535 (8.1%)  | 1.434 (8.2%)  | 32.621 (8.2%) | 1.205 (8.1%)  |

So there are two limits, each moved by the signs that concern it:

- the *rate* by refusals (429, 403, ``Retry-After``): what is refused for being too many a second. It falls to what the
  registry was seen to admit and then creeps up until about one request in a hundred is refused, which is what it
  costs to know where the limit is. Requests are spaced evenly, because registries count in short windows. Refusals that
  come however slowly one asks are borne.
- the requests *in flight* by troubles (5xx, timeouts, resets) that are more frequent than usual, and by latency that
  has doubled: an overloaded registry. Every good answer gives a little, every trouble takes twenty times as much, so
  that a registry that fails at random now and then is not mistaken for an overloaded one.

Not here: which NPI is asked next (``scheduler``), whether the registry is down (``breaker``).
"""

from __future__ import annotations

import math

from npi_pipeline.enrichment.answer import Answer, Sign
from npi_pipeline.enrichment.in_flight_limit import InFlightLimit
from npi_pipeline.enrichment.rate_limit import RateLimit


class Limiter:
    """Says when one more request may be sent, and learns from every answer. Times are those of one clock.

    ``ceiling``: requests in flight at most. ``requests_per_second``: a cap that is never exceeded; 0 for none.
    """

    def __init__(self, *, ceiling: int, requests_per_second: float = 0.0) -> None:
        self._in_flight = InFlightLimit(ceiling)
        self._rate = RateLimit(requests_per_second or math.inf)
        self.in_flight = 0
        self.highest_limit = self.limit

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return int(self._in_flight.limit)

    @property
    def rate(self) -> float:
        """Requests a second that may be sent now; infinity while nothing limits them."""
        return self._rate.rate if self._rate.is_limiting else math.inf

    def ready_at(self, now: float) -> float:
        """The time from which one more request may be sent; infinity when an answer has to come first."""
        if self.in_flight >= self.limit:
            return math.inf
        return max(now, self._rate.next_slot)

    def sent(self, now: float) -> None:
        """One more request is in flight."""
        self.in_flight += 1
        self._rate.sent(now)

    def answered(self, now: float, sent_at: float, answer: Answer) -> None:
        """A request sent at ``sent_at`` was answered."""
        is_full = self.in_flight >= self.limit
        self.in_flight -= 1
        if answer.sign is Sign.refused:
            self._rate.refused(now, sent_at)
            return
        self._rate.admitted(sent_at, self.in_flight)
        if answer.sign is Sign.good:
            self._in_flight.good(answer.seconds, is_full=is_full)
        else:
            self._in_flight.trouble()
        self.highest_limit = max(self.highest_limit, self.limit)

    def restart(self) -> None:
        """The registry is back after an outage: begin gently, but find the limit again as fast as at the start."""
        self._in_flight.restart()
