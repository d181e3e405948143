"""How many requests may be in flight, and how fast they may follow each other: found out from the answers.

A registry limits a client in two ways, and no single published law finds both (benchmarks/fetch_limiters.py; seconds
over the least possible, and the share of requests that were refused, in simulation):

| registry                       | fixed pool    | AIMD          | gradient      | learnt rate   | this          |
|--------------------------------|---------------|---------------|---------------|---------------|---------------|
| FIGURES                        |               |               |               |               |               |

So there are two limits, each moved by the signs that concern it:

- the *rate* by refusals (429, 403, ``Retry-After``): what is refused for being too many a second. It falls to what the
  registry was seen to admit and then creeps up until about one request in a hundred is refused, which is what it
  costs to know where the limit is. Requests are spaced evenly, because registries count in short windows.
- the requests *in flight* by troubles (5xx, timeouts, resets) that are more frequent than usual, and by latency that
  has doubled: an overloaded registry. Every good answer gives a little, every trouble takes twenty times as much, so
  that a registry that fails at random now and then is not mistaken for an overloaded one.

Not here: which NPI is asked next (``scheduler``), whether the registry is down (``breaker``).
"""

from __future__ import annotations

import collections
import math

from npi_pipeline.enrichment.answer import Answer, Sign


class Limiter:
    """Says when one more request may be sent, and learns from every answer. Times are those of one clock.

    ``ceiling``: requests in flight at most. ``requests_per_second``: a cap that is never exceeded; 0 for none.
    """

    def __init__(self, *, ceiling: int, requests_per_second: float = 0.0) -> None:
        self._in_flight = _InFlightLimit(ceiling)
        self._rate = _RateLimit(requests_per_second or math.inf)
        self.in_flight = 0
        self.highest_limit = self.limit

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return int(self._in_flight.limit)

    @property
    def rate(self) -> float:
        """Requests a second that may be sent now; infinity when nothing limits them."""
        return self._rate.rate

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
        self._rate.admitted(self.in_flight)
        if answer.sign is Sign.good:
            self._in_flight.good(answer.seconds, is_full=is_full)
        else:
            self._in_flight.trouble()
        self.highest_limit = max(self.highest_limit, self.limit)

    def restart(self) -> None:
        """The registry is back after an outage: begin gently, but find the limit again as fast as at the start."""
        self._in_flight.restart()


class _RateLimit:
    """Requests a second, and when the next one is due."""

    # A refusal costs 1/32 of the rate and an admitted request gives 1/3200 back: one in a hundred is refused.
    _CUT = 1 / 32
    _LEAST_GAIN = 0.01 * _CUT
    # Refusals and requests are counted over so many requests, and over so many seconds at least.
    _WINDOW = 32
    _WINDOW_SECONDS = 0.25
    _MOST_REMEMBERED = 4096
    _TELLING_SHARE = 1 / 8
    # After so many admitted requests in a row the registry's limit may have been raised: the gain grows.
    _QUIET = 100
    # Seconds by which a late request may be caught up with; more would be a burst.
    _CATCH_UP = 0.005
    # However many are refused, the rate halves at most once in so many seconds, and never falls below the slowest.
    _HALVING_SECONDS = 3.0
    _SLOWEST = 1.0

    def __init__(self, cap: float) -> None:
        self._cap = cap
        self.rate = cap
        self.next_slot = -math.inf
        self._sent: collections.deque[float] = collections.deque(maxlen=self._MOST_REMEMBERED)
        self._refused: collections.deque[float] = collections.deque(maxlen=self._MOST_REMEMBERED)
        self._gain = 1.0
        self._quiet = 0
        self._cut_at = -math.inf
        self._floor = 0.0
        self._floor_until = -math.inf

    def sent(self, now: float) -> None:
        self._sent.append(now)
        if self.rate < math.inf:
            self.next_slot = max(self.next_slot, now - self._CATCH_UP) + 1 / self.rate

    def refused(self, now: float, sent_at: float) -> None:
        """Fall by a little for each round of refusals, and to what was admitted when many are refused."""
        self._quiet = 0
        self._refused.append(sent_at)
        sent, seconds, refused = self._around(sent_at)
        rate = self.rate
        if sent_at > self._cut_at:
            # Requests sent before the last cut say nothing about the rate since.
            self._cut_at = now
            self._gain = max(self._LEAST_GAIN, self._gain / 4)
            rate = min(rate * (1 - self._CUT), sent / seconds)
        if refused > sent * self._TELLING_SHARE:
            rate = min(rate, (sent - refused) / seconds)
        self.rate = max(rate, self._floor_at(now))
        self.next_slot = max(self.next_slot, now)

    def admitted(self, in_flight: int) -> None:
        """Creep up; fast only while it is not yet known where the limit is."""
        if self.rate >= self._cap:
            return
        self._quiet += 1
        if self._quiet > self._QUIET:
            self._gain *= 1 + 1 / self._QUIET
        # What is in flight will be answered at this rate, whatever comes of it: never more than half of it again.
        self._gain = min(self._gain, 0.5 / (in_flight + 4))
        self.rate = min(self._cap, self.rate * (1 + self._gain))

    def _floor_at(self, now: float) -> float:
        if now >= self._floor_until:
            self._floor = min(max(self.rate / 2, self._SLOWEST), self._cap) if self.rate < math.inf else 0.0
            self._floor_until = now + self._HALVING_SECONDS
        return self._floor

    def _around(self, sent_at: float) -> tuple[int, float, int]:
        """Of the last requests up to the one sent at ``sent_at``: how many, in how many seconds, how many refused."""
        sent, refused = self._sent, self._refused
        later = 0
        for when in reversed(sent):
            if when <= sent_at:
                break
            later += 1
        while len(sent) - later > self._WINDOW and sent[0] < sent_at - self._WINDOW_SECONDS:
            sent.popleft()
        while refused[0] < sent[0]:
            refused.popleft()
        return len(sent) - later, max(sent_at - sent[0], self._WINDOW_SECONDS), len(refused)


class _InFlightLimit:
    """Requests that may be in flight."""

    _START = 8.0
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
        self.limit = min(self._START, self.limit)
        self._is_starting = True
        self._troubles = self._usual_troubles = 0.0

    def good(self, latency: float, *, is_full: bool) -> None:
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
