"""What to ask next and when: attempts, waits and deadlines of every NPI. No threads, no time, no network.

The clock's reading is passed in, and so is the source of randomness, so that a test can drive a fetch of hours in
milliseconds. NPIs are taken from their iterable only when there is room to ask about them; those that wait are in a
heap ordered by time, so memory is bounded by what is under way and not by the length of the list.

Of the NPIs whose time has come and the fresh ones it takes both, by chance: if only those that have failed before fail,
that is seen at once (``own_failures``), and says nothing about the limits and about the registry.

Waits are exponential with full jitter, but failures that are no surprise, given how many requests fail anyway, do not
lengthen them: an NPI that met them is as likely to be answered now as any other. A ``Retry-After`` is obeyed for its
NPI, and holds everybody when refusals come in a row (``circuit_breaker``); the time that it takes does not count
against the NPI's deadline, up to as much again. A refusal with 429, or 503 and ``Retry-After``, says nothing about its
NPI, so it uses up none of its repeats; 403 does, because firewalls answer so for good. A bare 503 is that of a registry
which has too much to do, so as many in a row as are no surprise use up none; one that comes of the NPI itself goes on
longer.

Not here: how many may be in flight (``limiter``), how long one may take (``adaptive_timeout``), whether the registry is
down (``circuit_breaker``), the asking (``fetch``).
"""

from __future__ import annotations

import heapq
import http
import itertools
import math
import random
from collections.abc import Iterable, Iterator

from npi_pipeline import clock
from npi_pipeline.http_fetch.adaptive_timeout import AdaptiveTimeout
from npi_pipeline.http_fetch.answer import Answer, Signal
from npi_pipeline.http_fetch.attempt import Attempt
from npi_pipeline.http_fetch.circuit_breaker import Breaker
from npi_pipeline.http_fetch.limiter import Limiter
from npi_pipeline.http_fetch.own_failures import OwnFailures
from npi_pipeline.outcomes import NpiOutcome
from npi_pipeline.settings import FetchSettings

# Memory is bounded, whatever fails: beyond this no fresh NPI is taken until some of the waiting are done.
_MAX_WAITING = 20_000
_MAX_LOOKED_THROUGH = 1000
# One request in three is about a fresh NPI although others wait: fewer give too few neighbours, and more leave those
# that wait unfinished. Of probes, too: it may be those that wait at which the registry stumbles, or it may stumble at
# the first requests about any.
_FRESH = 1 / 3
# At the end of the list so many are about the NPIs that have failed most often, and not about those that wait longest.
# At random, all of this, because of two requests in a row a slow registry refuses the second.
_MOST_FAILED = 0.5


class Scheduler:
    """Decides what to do next. The caller makes the attempts that it is given and reports every answer."""

    def __init__(
        self,
        npis: Iterable[str],
        settings: FetchSettings,
        *,
        limiter: Limiter,
        breaker: Breaker,
        rng: random.Random,
        now: float,
    ) -> None:
        self._settings = settings
        self._limiter = limiter
        self._breaker = breaker
        self._rng = rng
        self._deadline = now + settings.run_deadline
        self._npis = iter(npis)
        self._fresh: str | None = next(self._npis, None)
        self._waiting: list[tuple[float, int, Attempt]] = []
        self._sequence = itertools.count()
        self._timeout = AdaptiveTimeout(settings.request_timeout)
        self._own_failures = OwnFailures()

    @property
    def waiting(self) -> int:
        """NPIs that wait for their time to be asked."""
        return len(self._waiting)

    def next(self, now: float) -> Attempt | NpiOutcome | float | None:
        """What to do at ``now``.

        An ``Attempt`` to make at once; the outcome of an NPI that is settled; the time at which to call again
        (infinity: after the next answer); or None when every NPI is settled.
        """
        if self._fresh is None and not self._waiting:
            return math.inf if self._limiter.in_flight else None
        if now >= self._deadline:
            return _settled(self._take(math.inf))
        gate = max(
            self._limiter.ready_at(now, self._timeout.overdue), self._breaker.ready_at(now, self._limiter.in_flight)
        )
        if gate > now:
            return min(gate, self._deadline)
        if not self._has_work(now):
            return min(self._waiting[0][0], self._deadline)
        attempt = self._take(now)
        if now > self._deadline_of(attempt):
            return _settled(attempt)
        attempt.number += 1
        attempt.sent_at = now
        attempt.is_last = attempt.repeats >= self._settings.max_retries and not self._settings.loop_till_done
        self._timeout.sent(attempt)
        attempt.first_sent_at = min(attempt.first_sent_at, now)
        self._limiter.sent(now)
        return attempt

    def answered(self, now: float, attempt: Attempt, answer: Answer) -> NpiOutcome | None:
        """Take the answer to an attempt; the NPI is settled, or waits to be asked again."""
        was_aborted = self._timeout.answered(attempt, answer.seconds, is_good=answer.signal is Signal.good)
        self._tell(now, attempt, answer, was_aborted=was_aborted)
        attempt.verdict, attempt.status = answer.verdict, answer.status
        if not answer.verdict.retryable:
            return _settled(attempt, answer.body)
        attempt.repeats += self._is_its_own(attempt, answer)
        asked_to_wait = answer.retry_after or 0.0
        attempt.asked_to_wait += asked_to_wait
        wait = 0.0 if was_aborted else max(asked_to_wait, self._backoff(attempt.number))
        is_used_up = attempt.repeats > self._settings.max_retries and not self._settings.loop_till_done
        if is_used_up or now + wait > self._deadline_of(attempt):
            return _settled(attempt)
        self._wait(attempt, now + wait)
        return None

    def to_abort(self, now: float) -> Iterator[Attempt]:
        """The attempts that have taken too long: the caller is to break them off, and reports what comes of it."""
        return self._timeout.to_abort(now, is_down=self._breaker.is_open)

    def _tell(self, now: float, attempt: Attempt, answer: Answer, *, was_aborted: bool) -> None:
        """Tell the limiter and the breaker of an answer."""
        failed = answer.signal is not Signal.good
        if not was_aborted and self._own_failures.answered(attempt.number, failed=failed):
            self._limiter.cleared(now)
        may_be_its_own = attempt.number > 1 and self._own_failures.are_likely
        if was_aborted or (failed and may_be_its_own):
            self._limiter.left_out()
        else:
            self._limiter.answered(now, attempt.sent_at, answer)
        is_telling = attempt.number == 1 or (self._fresh is not None and not may_be_its_own)
        reopening = self._breaker.answered(now, attempt.sent_at, answer, is_telling=is_telling)
        if reopening:
            self._limiter.reopened(now, reopening)

    def _deadline_of(self, attempt: Attempt) -> float:
        """When the NPI is given up. For as long again it may do what the registry asks of it: that is not its fault."""
        patience = math.inf if self._settings.loop_till_done else self._settings.npi_deadline
        return attempt.first_sent_at + patience + min(attempt.asked_to_wait, patience)

    def _is_its_own(self, attempt: Attempt, answer: Answer) -> bool:
        """Whether a failure is the NPI's, and so uses up a repeat, or everybody's."""
        if answer.signal is Signal.throttled:
            return answer.status == http.HTTPStatus.FORBIDDEN
        everybodys = attempt.number - attempt.repeats
        return answer.status != http.HTTPStatus.SERVICE_UNAVAILABLE or everybodys > self._breaker.unsurprising

    def _backoff(self, number: int) -> float:
        # The breaker spaces its probes itself, and one with an NPI that has failed before may be the one that succeeds.
        doublings = 0 if self._breaker.is_open else min(max(0, number - 1 - self._breaker.unsurprising), 60)
        longest = min(self._settings.max_wait, self._settings.wait * 2.0**doublings)
        return self._rng.uniform(0.0, longest)

    def _wait(self, attempt: Attempt, due: float) -> None:
        heapq.heappush(self._waiting, (due, next(self._sequence), attempt))

    def _has_work(self, now: float) -> bool:
        """Whether an NPI may be asked now; fresh ones first wait their random time, as many as there are threads."""
        spread = self._settings.pre_request_sleep_range
        while spread and self._fresh is not None and len(self._waiting) < self._settings.threads:
            self._wait(self._take_fresh(), now + self._rng.uniform(0.0, spread))
        return self._is_due(now) or self._may_take_fresh

    @property
    def _may_take_fresh(self) -> bool:
        waits_first = bool(self._settings.pre_request_sleep_range)
        return self._fresh is not None and not waits_first and len(self._waiting) < _MAX_WAITING

    def _is_due(self, now: float) -> bool:
        return bool(self._waiting) and self._waiting[0][0] <= now

    def _take(self, now: float) -> Attempt:
        """The NPI that has waited longest of those whose time has come, or a fresh one, or one that often failed."""
        if not self._is_due(now):
            return self._take_fresh()
        if now >= self._deadline:
            return heapq.heappop(self._waiting)[2]
        chance = self._rng.random()
        if self._may_take_fresh and chance < _FRESH:
            return self._take_fresh()
        if self._breaker.is_open or (self._fresh is None and chance < _MOST_FAILED):
            return self._take_most_failed(now)
        return heapq.heappop(self._waiting)[2]

    def _take_most_failed(self, now: float) -> Attempt:
        """The NPI whose time has come that has failed most often, of those that have two thirds of their repeats left.

        If the registry stumbles at the first requests about each, it may have them behind it about this one.
        """
        most = self._settings.max_retries // 3
        # The first of a heap are those of the nearest times; all of them would take long to look through.
        first = self._waiting[:_MAX_LOOKED_THROUGH]
        able = (entry for entry in first if entry[0] <= now and entry[2].repeats <= most)
        entry = max(able, key=lambda entry: (entry[2].repeats, entry[2].number), default=self._waiting[0])
        self._waiting.remove(entry)
        heapq.heapify(self._waiting)
        return entry[2]

    def _take_fresh(self) -> Attempt:
        assert self._fresh is not None  # noqa: S101 - the callers have looked
        attempt = Attempt(self._fresh)
        self._fresh = next(self._npis, None)
        self._timeout.is_at_the_end = self._fresh is None
        return attempt


def _settled(attempt: Attempt, body: str | None = None) -> NpiOutcome:
    return NpiOutcome(attempt.npi, attempt.verdict, clock.utc_now(), attempt.number, attempt.status, body)
