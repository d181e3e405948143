"""The circuit breaker: when everything fails, the fetch stops asking and probes gently.

It opens when more requests in a row have failed than happens by chance once in a million, given how many fail anyway.
A failure counts only if its request was sent after the last one that was answered well, so that slow failures do not
follow quick successes. Open, it lets probes through: as many as are needed for one to be answered well, if the
registry is up again, ever more rarely. Answers to requests that were sent before the failures began do not close it.

A ``Retry-After`` holds everybody while refusals come in a row, until its time or until a later request is answered
well. One that comes alone is about its own NPI (``scheduler``): a registry that is asked a thousand times and names a
second each time must not stand still for a thousand seconds.

At the end of a list only NPIs may be left at which the registry always stumbles; they are asked again and again, and
their failures say nothing about the registry. Nor need others be held then: each that is left waits as long as it was
asked to. The caller knows which failures are telling.

Not here: what failed and why (``client``), how fast a healthy registry is asked (``limiter``).
"""

from __future__ import annotations

import dataclasses
import math

from npi_pipeline.errors import PipelineError
from npi_pipeline.http_fetch.answer import Answer, Signal

# So improbable are failures in a row that open it, and no fewer are enough: more of errors, which may be those of a
# few NPIs that are asked again and again, than of refusals, which are the registry's.
_BY_CHANCE = math.log(1e-6)
_MIN_ERRORS = 30
_MIN_REFUSALS = 10
# So improbable are failures of one NPI in a row that are its own, and not what the registry does to everybody.
_BY_CHANCE_OF_ONE = math.log(1e-3)
# So improbable is it that all probes of a registry that is up again fail.
_PROBES_ALL_FAIL = math.log(0.05)
# The usual share of failures: over so many answers, within bounds that keep the logarithm sensible.
_MEMORY = 1 / 64
_SHARES = (0.01, 0.7)
_FIRST_PAUSE = 0.25
_MAX_PAUSE = 5.0
# Of a registry that fails, and that does not refuse, a probe a second asks little, and notices soon that it is back.
# Where no NPI is left but those that have failed, each probe uses up one of their repeats: they are to last.
_MAX_PAUSE_OF_ERRORS = 1.0
# A registry that still refuses everything after a calendar minute may begin its penalty anew with each request: then
# only ever longer pauses end it.
_MAX_QUOTA = 65.0


class RegistryDownError(PipelineError):
    """The registry stays down: which registry, what was seen, since when, what to do."""

    retryable = True


@dataclasses.dataclass(frozen=True)
class Outage:
    """What made the fetch give up: what the registry did, for how many seconds already, and the last reason."""

    seen: str
    seconds: float
    reason: str


class Breaker:
    """Open while the registry seems down: then only probes are let through, ever more rarely.

    ``patience``: seconds without a usable answer, or of a wait that the registry asks for, after which the fetch is
    to be given up. Times are those of one clock.
    """

    def __init__(self, *, patience: float, now: float) -> None:
        self._patience = patience
        self._good_at = now
        self._good_sent_at = -math.inf
        self._reason = ""
        self._share = 0.0
        self._share_then = _SHARES[0]
        self._failures = 0
        self._failing_since = -math.inf
        self._refused_in_a_row = 0
        self._held_until = self._held_by = -math.inf
        self._pause = 0.0
        self._first_pause = _FIRST_PAUSE
        self._opened_at = self._probe_at = -math.inf
        self._probes = self._probes_failed = 0
        self._has_refused = False

    @property
    def is_open(self) -> bool:
        """Whether only probes are let through."""
        return self._pause > 0

    @property
    def unsurprising(self) -> int:
        """How many failures of one NPI in a row are no surprise, given how many requests fail anyway."""
        return max(0, int(_BY_CHANCE_OF_ONE / math.log(_bounded(self._share))) - 1)

    def ready_at(self, now: float, in_flight: int) -> float:
        """The time from which one more request may be sent; infinity when an answer has to come first."""
        if not self.is_open:
            return max(now, self._held_until)
        if in_flight >= self._probes:
            return math.inf
        return max(now, self._probe_at, self._held_until)

    def answered(self, now: float, sent_at: float, answer: Answer, *, is_telling: bool) -> Reopening | None:
        """Take note of an answer; ``is_telling``: a failure would be the registry's and not only this NPI's.

        Returns what the registry did before, when a probe has found that it is back.
        """
        if answer.signal is Signal.good:
            return self._take_good(now, sent_at, is_telling=is_telling)
        self._reason = answer.verdict.reason or ""
        if is_telling and not self.is_open:
            self._share += (1 - self._share) * _MEMORY
        if sent_at > self._good_sent_at:
            self._count(sent_at, is_telling=is_telling)
            self._hold(now, sent_at, answer, is_telling=is_telling)
        if self.is_open:
            self._fail_probe(now, answer, is_telling=is_telling)
        elif self._failures >= max(_least(answer), _BY_CHANCE / math.log(self._share_then)):
            self._opened_at = now
            self._has_refused = answer.signal is Signal.throttled
            self._rest(now, self._first_pause if self._has_refused else _FIRST_PAUSE)
        return None

    def outage(self, now: float) -> Outage | None:
        """Why the fetch is to be given up, if it is."""
        seconds = now - self._good_at
        asked_to_wait = self._held_until - now
        if asked_to_wait > self._patience:
            return Outage(f"asks to be left alone for {asked_to_wait:,.0f} s", seconds, self._reason)
        if self.is_open and seconds >= self._patience:
            return Outage("gives no usable answer", seconds, self._reason)
        return None

    def _take_good(self, now: float, sent_at: float, *, is_telling: bool) -> Reopening | None:
        self._good_at = now
        self._good_sent_at = max(self._good_sent_at, sent_at)
        if is_telling and not self.is_open:
            self._share -= self._share * _MEMORY
        self._refused_in_a_row = 0
        was_named = self._opened_at < self._held_until <= sent_at
        if sent_at > self._held_by:
            self._held_until = -math.inf
        if sent_at < self._failing_since:
            return None
        is_back = self.is_open and now >= self._probe_at
        if is_back and self._has_refused and self._pause > _MAX_PAUSE:
            self._first_pause = self._pause
        self._failures = 0
        self._failing_since = -math.inf
        self._pause = 0.0
        if not is_back:
            return None
        return Reopening(now - self._opened_at, has_refused=self._has_refused, was_named=was_named)

    def _count(self, sent_at: float, *, is_telling: bool) -> None:
        if not is_telling:
            return
        if not self._failures:
            self._failing_since = sent_at
            self._share_then = _bounded(self._share)
        self._failures += 1

    def _hold(self, now: float, sent_at: float, answer: Answer, *, is_telling: bool) -> None:
        asked_to_wait = answer.retry_after or 0.0
        # What nobody has the patience for ends the fetch, whoever is asked to.
        if not is_telling and asked_to_wait <= self._patience:
            return
        self._refused_in_a_row += answer.signal is Signal.throttled
        until = now + asked_to_wait
        if self._refused_in_a_row > max(1, self.unsurprising) and until > max(now, self._held_until):
            self._held_until, self._held_by = until, sent_at

    def _fail_probe(self, now: float, answer: Answer, *, is_telling: bool) -> None:
        # Answers to what was in flight when it opened come before the time of the probes.
        if now < self._probe_at:
            return
        self._probes_failed += 1
        if self._probes_failed < self._probes:
            return
        self._rest(now, min(self._pause * 2, self._longest_pause(now, answer, is_telling=is_telling)))

    def _longest_pause(self, now: float, answer: Answer, *, is_telling: bool) -> float:
        if answer.signal is Signal.throttled:
            return math.inf if now - self._opened_at > _MAX_QUOTA else _MAX_PAUSE
        return _MAX_PAUSE_OF_ERRORS if is_telling else _MAX_PAUSE

    def _rest(self, now: float, seconds: float) -> None:
        self._pause = seconds
        self._probe_at = now + seconds
        self._probes = max(1, math.ceil(_PROBES_ALL_FAIL / math.log(self._share_then)))
        self._probes_failed = 0


@dataclasses.dataclass(frozen=True)
class Reopening:
    """The registry is back after so many ``seconds``.

    ``has_refused``: it had refused requests, and not failed; ``was_named``: it had said when it would be back.
    """

    seconds: float
    has_refused: bool
    was_named: bool


def _least(answer: Answer) -> int:
    return _MIN_REFUSALS if answer.signal is Signal.throttled else _MIN_ERRORS


def _bounded(share: float) -> float:
    return min(max(share, _SHARES[0]), _SHARES[1])
