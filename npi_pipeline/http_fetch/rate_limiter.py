"""The rate limiter: how fast requests may follow each other, learnt from those that the registry refuses.

Requests are spaced evenly, because registries count in short windows. What got through at an alarm is what was
admitted per second, counted over the latest sends; sends before a pause of the fetch's own do not count, because a
rate that the fetch itself held down says nothing about the registry. Nor does the request after a pause that a refusal
has brought about, if it is admitted: it had the pause to itself.

When the registry has refused *everything* for a while and opens again, it matters what went before:

- refusals that a cut had ended: it is a rate, and exceeding it is punished. Go on well below it, and come near it again
  only when ten times as long has been worked as it was closed.
- nothing, and the registry had named the time at which it opens: it counts in windows, each of which can be used up at
  once. Nothing is won by spreading what it admits over all of it.
- neither: it is a quota that is used up. What it admits on average, the time in which it was closed included, is the
  rate. Of one that punishes, something between that and what was asked: a burst may have been taken for the rate.

Not here: the law by which the limit is learnt (``adaptive_limit``), whether the registry is closed
(``circuit_breaker``).
"""

from __future__ import annotations

import collections
import math
import threading

from npi_pipeline.http_fetch.adaptive_limit import AdaptiveLimit, Cut, Recovery

# What it begins with, before anything is known; it doubles with each round of answers.
_START = 80.0
_SLOWEST = 0.5
_FASTEST = 100_000.0
# One refusal in a hundred is tolerated: it costs less than to know the limit more precisely.
_ERROR_TOLERANCE = 0.01
# A single alarm takes no less than a quarter for what got through: more would be a guess.
_CUT = Cut(lowest_estimate=0.25, lowest_trial=0.0)
# A hundred answers tell a rate to within a few per cent; a slow registry is not left alone for more than 20 seconds.
_RECOVERY = Recovery(answers=100.0, seconds=20.0, shortest=0.25)
# A registry that punishes is asked a fifth less than it admitted.
_WARY = 0.8
# To ask too much again costs as long as it was closed: it is tried when ten times as long has been worked.
_CLOSURES = 10.0
# Asked for less than twice as long as it was then closed: it counts in windows, and this one is used up.
_BY_WINDOWS = 2.0
# Within a tenth: no more was asked than was admitted before.
_NO_MORE = 1.1
# Requests closer than this are sent in small groups, because threads do not wake up on time; slower ones are never
# sent sooner than their time, because a registry that allows no burst would refuse them.
_GROUP_SECONDS = 0.005
# Admitted requests are counted over so many sends and so many seconds at least.
_SENDS = 32
_SECONDS = 0.1
_MAX_REMEMBERED = 4096
# A gap of so many seconds between sends, or of so many sends' time, is the fetch's own.
_GAP_SECONDS = 0.25
_GAP_SENDS = 8.0
# The rate holds the fetch back when more than half of it is used (as in Netflix's concurrency limits).
_IN_USE = 0.5
# While nothing is known, the rate doubles in a round of answers: what is in flight, and a few for few.
_ROUND = 4


class Slots:
    """The times at which requests are sent, for several threads: each time is given away once."""

    def __init__(self) -> None:
        self.next = -math.inf
        self._lock = threading.Lock()

    def take(self, now: float, rate: float) -> float:
        """Take the next one, ``rate`` of them per second; its time."""
        with self._lock:
            slot = max(now, self.next)
            catch_up = max(0.0, _GROUP_SECONDS - 1 / rate)
            self.next = max(self.next, now - catch_up) + 1 / rate
            return slot

    def pass_over(self, now: float) -> None:
        """Let those go by that are over: they are not caught up with."""
        with self._lock:
            self.next = max(self.next, now)


class RateLimiter:
    """Requests per second, and when the next one is due. ``cap`` is never exceeded; infinity for none."""

    def __init__(self, cap: float) -> None:
        self._is_capped = cap < math.inf
        self._limit = AdaptiveLimit(
            min(cap, _START),
            bounds=_bounds(cap),
            error_tolerance=_ERROR_TOLERANCE,
            cut=_CUT,
            recovery=_RECOVERY,
        )
        self._slots = Slots()
        self._sent: collections.deque[float] = collections.deque(maxlen=_MAX_REMEMBERED)
        self._refused: collections.deque[float] = collections.deque(maxlen=_MAX_REMEMBERED)
        self._latest: collections.deque[float] = collections.deque(maxlen=_MAX_REMEMBERED)
        self._open_since = math.inf
        self._admitted_since = 0
        self._admitted_before = 0.0
        self._was_refused = False
        self._after_pause = -math.inf

    def cap(self, cap: float) -> None:
        """There is another cap now."""
        self._limit.bound(_bounds(cap))

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self._limit.value

    @property
    def next_slot(self) -> float:
        """The time from which the next request may be sent."""
        return self._slots.next

    @property
    def is_limiting(self) -> bool:
        """Whether a limit is known, or there is a cap."""
        return self._is_capped or self._limit.is_known

    def sent(self, now: float) -> None:
        """A request is sent."""
        self._open_since = min(self._open_since, now)
        if self._sent and now - self._sent[-1] > max(_GAP_SECONDS, _GAP_SENDS / self.rate):
            self._after_pause = now if self._was_refused else -math.inf
            self._sent.clear()
            self._refused.clear()
            self._latest.clear()
        self._sent.append(now)
        self._latest.append(now)
        while len(self._latest) > _SENDS and self._latest[0] < now - _SECONDS:
            self._latest.popleft()
        self._slots.take(now, self.rate)

    def slot_to_send_again(self, now: float) -> float:
        """The time at which a stale connection's request may be sent again; for any thread.

        That is at once, unless there is a cap: to be sent again is no mark against the registry's own limit.
        """
        return self._slots.take(now, self.rate) if self._is_capped else now

    def on_throttled(self, now: float, sent_at: float) -> None:
        """A request was refused."""
        self._was_refused = True
        self._refused.append(sent_at)
        if not self._limit.failed(now, sent_at):
            return
        admitted = self._admitted_around(sent_at)
        self._limit.cut(now, admitted / (1 - self._limit.usual))
        self._slots.pass_over(now)

    def admitted(self, now: float, sent_at: float, in_flight: int) -> None:
        """A request was not refused; ``in_flight`` are."""
        self._admitted_since += 1
        self._was_refused = False
        if sent_at == self._after_pause:
            return
        self._limit.succeeded(now, sent_at, 1 / (in_flight + _ROUND) if self._is_in_use() else 0.0)

    def cleared(self, now: float) -> None:
        """The refusals of late were not for asking too much."""
        self._limit.cleared(now)

    def reopened(self, now: float, seconds: float, *, was_named: bool) -> None:
        """The registry admits again after it has refused everything for so many ``seconds``, as it had named or not."""
        asked = now - self._open_since
        average = (self._admitted_since + 1) / max(asked, 1e-3)
        self._open_since, self._admitted_since = now, 0
        best = average
        if self._limit.has_helped:
            best = _WARY * self._limit.best if self._limit.is_known else average
            self._limit.be_wary(_CLOSURES * seconds)
        elif self._limit.is_wary:
            asked_no_more = self.rate <= _NO_MORE * self._admitted_before
            best = math.sqrt(average * self.rate) if asked_no_more else average
        elif was_named and asked < _BY_WINDOWS * seconds:
            self._limit.forget(now, self.rate)
            return
        self._limit.know(now, best)
        self._limit.has_helped = False
        self._admitted_before = best

    def _is_in_use(self) -> bool:
        latest = self._latest
        if len(latest) < 2:  # noqa: PLR2004 - there is no rate of one
            return False
        return (len(latest) - 1) / max(latest[-1] - latest[0], 1e-9) > _IN_USE * self.rate

    def _admitted_around(self, sent_at: float) -> float:
        """Requests admitted per second up to the one sent at ``sent_at``."""
        enough = max(_SENDS, self._limit.answers_of_the_alarm)
        count, start = 0, sent_at
        for when in reversed(self._sent):
            if when > sent_at:
                continue
            if when <= self._limit.changed_at or (count >= enough and sent_at - when >= _SECONDS):
                break
            count, start = count + 1, when
        admitted = max(0, count - sum(start <= when <= sent_at for when in self._refused))
        return admitted / max(sent_at - start, min(_SECONDS, count / self.rate), 1e-3)


def _bounds(cap: float) -> tuple[float, float]:
    return min(cap, _SLOWEST), min(cap, _FASTEST)
