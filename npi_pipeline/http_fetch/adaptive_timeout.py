"""How long one request is waited for: a small multiple of what answers take, unless that proves wrong.

An answer that comes byte by byte, or never, would hold its slot for a minute. So a request is *overdue* after three
times what all but the slowest hundredth of the good answers take, and may be broken off then; its NPI is asked again
at once. But an NPI that always takes long must not be cut off, and nobody can tell the two apart by waiting. So there
is a budget of requests to break off (a retry budget, as gRPC and Finagle have): it begins with a few, each that proves
right (the NPI is then answered in time) pays for more, and a registry that is slow for good uses it up at once and is
waited for from then on, which in turn teaches how long its answers take. A request that was waited for and failed all
the same pays for one more.

An overdue request that is waited for does not count as being in flight: it may never end.

Not here: the timeouts of one connection (``client``), the breaking off (``workers``).
"""

from __future__ import annotations

from collections.abc import Iterator

from npi_pipeline.http_fetch.attempt import Attempt

# Below a second there is little to be won, and threads of a busy process are late by tenths of it.
_MIN_SECONDS = 1.0
_MULTIPLE = 3.0
# At the end of a list no other NPI waits for the slot, and what is asked for again costs only the asking.
_MULTIPLE_AT_THE_END = 1.5
_QUANTILE = 0.99
# Fewer answers tell less of their tail: the multiple is larger in proportion.
_ENOUGH_ANSWERS = 20
# Share of the way to a slower answer by which the quantile rises; it falls by a hundredth of that for a faster one.
_STEP = 0.02
# Eight at once, of which half prove right in the worst known weather, so that four for one keeps them going.
_BUDGET = 8.0
_REWARD = 4.0
# Half of them are kept for those that were broken off before: where each NPI meets two drips, the second try proves
# nothing yet.
_RESERVE = 4.0
_MAX_BUDGET = 200.0


class AdaptiveTimeout:
    """Which requests in flight are to be broken off. ``longest``: seconds that one request may take in any case."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._in_flight: dict[Attempt, None] = {}
        self._aborted: dict[Attempt, None] = {}
        self._has_been_good = False
        self._answers = 0
        self._quantile = 0.0
        self._budget = _BUDGET
        self.overdue = 0
        self.is_at_the_end = False

    @property
    def seconds(self) -> float:
        """A request that takes longer is overdue."""
        if not self._answers:
            return self._longest
        doubt = max(1.0, _ENOUGH_ANSWERS / self._answers)
        multiple = _MULTIPLE_AT_THE_END if self.is_at_the_end else _MULTIPLE
        return min(self._longest, max(_MIN_SECONDS, multiple * self._quantile * doubt))

    def sent(self, attempt: Attempt) -> None:
        """A request is in flight."""
        self._in_flight[attempt] = None

    def answered(self, attempt: Attempt, seconds: float, *, is_good: bool) -> bool:
        """A request has ended after ``seconds``; whether it was broken off, and so says nothing of the registry."""
        if attempt in self._aborted:
            del self._aborted[attempt]
            return True
        del self._in_flight[attempt]
        if seconds > self.seconds:
            self._budget += not is_good
        elif is_good and attempt.aborted:
            self._budget = min(_MAX_BUDGET, self._budget + _REWARD)
        # Until the first good answer, failures tell at least how soon the registry answers at all.
        if is_good or (not self._has_been_good and seconds < self.seconds):
            self._learn(seconds)
        self._has_been_good |= is_good
        return False

    def to_abort(self, now: float, *, is_down: bool) -> Iterator[Attempt]:
        """The requests to break off now; ``is_down``: nothing is answered, so that nothing is lost by it.

        Each is named until it has ended, because it may just have begun when it was broken off.
        """
        yield from tuple(self._aborted)
        timeout = self.seconds
        self.overdue = 0
        # The oldest come first: a dictionary keeps the order of insertion.
        for attempt in tuple(self._in_flight):
            age = now - attempt.sent_at
            if age < timeout:
                return
            self.overdue += 1
            if age >= self._longest:
                yield attempt
            elif self._may_abort(attempt, age, timeout, is_down=is_down):
                self._budget -= not is_down
                attempt.aborted += 1
                self.overdue -= 1
                del self._in_flight[attempt]
                self._aborted[attempt] = None
                yield attempt

    def _may_abort(self, attempt: Attempt, age: float, timeout: float, *, is_down: bool) -> bool:
        # Who was broken off twice gets twice the time, and so on: it may be slow itself.
        if age < timeout * 2.0 ** max(0, attempt.aborted - 1):
            return False
        enough = 1.0 if attempt.aborted else _RESERVE + 1.0
        return is_down or (self._budget >= enough and not attempt.is_last)

    def _learn(self, seconds: float) -> None:
        """Follow the quantile: up by 99 for one slower answer, down by 1 for each of the 99 others."""
        self._answers += 1
        step = max(seconds, self._quantile) * max(_STEP, 1 / self._answers)
        self._quantile += step * (_QUANTILE - (seconds < self._quantile))
        self._quantile = max(self._quantile, 1e-3)
