"""A limit that is found out from what fails: the one law behind the rate and the requests in flight.

- **Nothing is known.** The limit doubles with each round of answers, for as long as it is what holds the fetch back.
- **An alarm** (``failure_test``): more fail than usual. The limit is cut to a quarter less than what got through.
- **The trial** (``cut_trial``) shows whether that helped. If not, the failures are the registry's usual ones: the limit
  goes back to where it was, nothing is known about it, and that share of failures is tolerated from then on.
- **If it helped**, the limit is known. It goes back up on a cubic curve (as TCP CUBIC does, RFC 9438): fast to just
  below the known limit, slowly past it, then ever faster, because a limit that is not met again has been raised. Each
  alarm near the last one doubles the length of the way: what is certain is tried less often.

Where too much is punished (``be_wary``) the way back takes as long as that is worth, and a cut in vain does not undo
what is known.

Answers to requests that were sent before the last change say nothing about the limit since.

Not here: how much got through at an alarm, and what counts as a failure (``rate_limiter``, ``concurrency_limit``).
"""

from __future__ import annotations

import dataclasses
import math

from npi_pipeline.http_fetch.cut_trial import CutTrial, Verdict
from npi_pipeline.http_fetch.failure_test import FailureTest

# The way back up begins so far below the known limit.
_DEPTH = 0.08
# During the trial it is lower still, so that an estimate that is too high does not look like a cut in vain: what was
# counted while the limit doubled may be too high by a third.
_TRIAL_DEPTH = 0.12
_FIRST_TRIAL_DEPTH = 0.25
# Near a known limit things change slowly: more answers tell more precisely what got through.
_STEADY_ANSWERS = 64
# The larger the share that failed, the less certain is what got through: the cut is deeper by up to half.
_MAX_DOUBT = 0.9
# Nothing is learnt by cutting further while everything fails, or of few answers nearly everything: the registry is
# closed (``circuit_breaker``). One that goes on to answer some has a limit that is far lower.
_CLOSED = 0.9
# With so many failures, and twice as many as at the first cut, it is they that a further cut is to end.
_WORSE = 0.8
# An estimate is near the last one within these bounds.
_NEAR = (0.75, 1.33)
# The longest way back up that alarms which agree can make, as a multiple of the ordinary one.
_LONGEST = 1.0
# So far along the curve it has more than doubled without an alarm: the limit is not what it was.
_FORGOTTEN = 4.0
# Share of a new answer in the mean latency.
_LATENCY_SHARE = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class Recovery:
    """How far it is back up to the known limit and past it: so many answers, but no longer than so many seconds.

    ``shortest``: what the first estimate begins with, as a share of that.
    """

    answers: float
    seconds: float
    shortest: float

    def length(self, seconds: float, rate: float) -> float:
        """The length of a way that takes ``seconds`` at least, at ``rate`` answers a second; 1 is the ordinary one."""
        return seconds * max(rate / self.answers, 1 / self.seconds)


@dataclasses.dataclass(frozen=True, slots=True)
class Cut:
    """How deep a single alarm cuts: shares of the value, below which no estimate and no trial goes."""

    lowest_estimate: float
    lowest_trial: float


class AdaptiveLimit:
    """The limit's ``value`` now, between ``bounds``; ``best``: the known one, else infinity."""

    def __init__(
        self,
        start: float,
        *,
        bounds: tuple[float, float],
        error_tolerance: float,
        cut: Cut,
        recovery: Recovery,
    ) -> None:
        self.value = start
        self.best = math.inf
        self.changed_at = -math.inf
        self.has_helped = False
        self._minimum, self._maximum = bounds
        self._cut = cut
        self._recovery = recovery
        self._wary_seconds = 0.0
        self._progress = 0.0
        self._length = 1.0
        self._grown_at = -math.inf
        self._latency = 0.0
        self._test = FailureTest(error_tolerance)
        self._trial: CutTrial | None = None
        self._value_before_trial = start
        self._below_the_limit: tuple[int, int] | None = None

    def bound(self, bounds: tuple[float, float]) -> None:
        """There are other bounds now: what the fetch itself allows, whatever the registry does."""
        self._minimum, self._maximum = bounds
        self.value = self._bounded(self.value)

    @property
    def is_known(self) -> bool:
        """Whether there is a limit, as far as is known."""
        return self.best < math.inf

    @property
    def is_wary(self) -> bool:
        """Whether to exceed the limit has been punished."""
        return self._wary_seconds > 0

    @property
    def usual(self) -> float:
        """The share of requests that fails however little is asked."""
        return self._test.usual

    @property
    def answers_of_the_alarm(self) -> int:
        """How many answers it took to raise the alarm."""
        return self._test.answers

    def succeeded(self, now: float, sent_at: float, growth: float) -> None:
        """A request sent at ``sent_at`` got through.

        ``growth``: the share by which the limit grows for it while nothing is known, and at most otherwise; 0 when it
        was not this limit that held the fetch back.
        """
        if sent_at <= self.changed_at:
            return
        self._count(now, sent_at, failed=False)
        if growth and self._trial is None and not self._test.is_suspicious:
            self._grow(now, growth)

    def failed(self, now: float, sent_at: float) -> bool:
        """A request failed in a way that asking too much may cause; whether that raises an alarm: ``cut`` then."""
        if sent_at <= self.changed_at:
            return False
        self._count(now, sent_at, failed=True)
        return self._test.is_alarmed

    def cut(self, now: float, estimate: float, weight: float = 1.0) -> None:
        """After an alarm: ``estimate`` is what got through while nothing was known.

        ``weight``: how much of the limit a failure takes, where a success takes 1.
        """
        failed, answers = self._test.around_the_alarm(_STEADY_ANSWERS if self.is_known else 0)
        share = failed / answers
        trial = self._trial
        if trial is not None and share > _CLOSED and (failed == answers or answers < _STEADY_ANSWERS):
            return
        if trial is not None and trial.is_in_vain:
            self._undo(now, trial)
            return
        lost = weight * failed / (weight * failed + answers - failed)
        was_known = self.is_known
        if was_known:
            # The value rose slowly in the meantime, so that the share is more precise than any count.
            estimate = self.value * (1 - lost) / (1 - self.usual)
        self._begin_trial(failed, answers)
        before = self.value
        estimate = min(max(estimate, before * self._cut.lowest_estimate), before)
        is_near = _NEAR[0] < estimate / self.best < _NEAR[1]
        length = min(_LONGEST, self._length * 2) if is_near else self._recovery.shortest
        depth = _TRIAL_DEPTH if was_known else _FIRST_TRIAL_DEPTH
        doubt = min(lost, _MAX_DOUBT) / 2
        self._set(now, estimate, length)
        self.value = self._bounded(max(before * self._cut.lowest_trial, self.best * (1 - depth) * (1 - doubt)))

    def know(self, now: float, best: float) -> None:
        """The limit is known from elsewhere."""
        self._trial = None
        self._set(now, best, 1.0)

    def be_wary(self, seconds: float) -> None:
        """To exceed the limit is punished: from now on every way back up to it takes so many ``seconds`` at least."""
        self._wary_seconds = seconds

    def forget(self, now: float, value: float) -> None:
        """Nothing is known any more; begin again at ``value``."""
        self.value = self._bounded(value)
        self.best = math.inf
        self.changed_at = now
        self._trial = None
        self._test.restart()

    def cleared(self, now: float) -> None:
        """The failures of late were not ours: what was learnt from them is forgotten, but for what was punished."""
        if self.is_known and not self.is_wary:
            self.forget(now, self.value)

    def lower(self, by: float) -> None:
        """Lower the limit a little, for a reason other than failures; what is known comes down with it."""
        self.value = self._bounded(self.value - by)
        self.best = min(self.best, self.value * _NEAR[1])

    def _count(self, now: float, sent_at: float, *, failed: bool) -> None:
        self._latency += (now - sent_at - self._latency) * _LATENCY_SHARE
        if self._below_the_limit and self._progress < 1:
            self._count_below_the_limit(*self._below_the_limit, failed=failed)
        self._test.count(failed=failed)
        if self._trial is None:
            return
        verdict = self._trial.arrived(now, sent_at, failed=failed, latency=self._latency)
        if verdict is Verdict.helped:
            self._conclude(self._trial)
        elif verdict is Verdict.in_vain:
            self._undo(now, self._trial)
        elif verdict is Verdict.still_too_high:
            self._trial = CutTrial(self._trial.failed, self._trial.answers, self.usual)

    def _count_below_the_limit(self, failed_before: int, answers_before: int, *, failed: bool) -> None:
        """Whatever fails there fails anyway: no more than that is usual."""
        self._below_the_limit = failed_before + failed, answers_before + 1
        most = (failed_before + failed + 1) / (answers_before + 2)
        self._test.usual = min(self._test.usual, most)

    def _begin_trial(self, failed: int, answers: int) -> None:
        if self._trial is None:
            self._value_before_trial = self.value
            self._trial = CutTrial(failed, answers, self.usual)
        elif failed / answers > max(_WORSE, 2 * self._trial.share_before):
            self._trial = CutTrial(failed, answers, self.usual)

    def _conclude(self, trial: CutTrial) -> None:
        """The cut has helped: the limit is known."""
        self.has_helped = True
        self.value = self._bounded(max(self.value, self.best * (1 - _DEPTH)))
        self._below_the_limit = trial.failed, trial.answers
        self._trial = None

    def _undo(self, now: float, trial: CutTrial) -> None:
        """The cut was in vain: what fails is usual."""
        self._test.bear(trial.share)
        if self.is_wary:
            self.know(now, self._value_before_trial)
        else:
            self.forget(now, self._value_before_trial)

    def _set(self, now: float, best: float, length: float) -> None:
        self.best = max(best, self._minimum)
        self.value = self._bounded(self.best * (1 - _DEPTH))
        self.changed_at = now
        self._length = max(length, self._recovery.length(self._wary_seconds, self.best))
        self._progress = 0.0
        self._below_the_limit = None
        self._test.restart()

    def _grow(self, now: float, growth: float) -> None:
        if not self.is_known:
            self.value = self._bounded(self.value * (1 + growth))
            return
        elapsed = now - max(self._grown_at, self.changed_at)
        self._grown_at = now
        # No faster than a round of answers shows the effect.
        by_answers = min(growth, 1 / (self._recovery.answers * self._length))
        self._progress += max(by_answers, elapsed / (self._recovery.seconds * self._length))
        curve = self.best * (1 + _DEPTH * (self._progress - 1) ** 3)
        self.value = self._bounded(max(self.value, curve))
        if self._progress > _FORGOTTEN:
            self.best = math.inf

    def _bounded(self, value: float) -> float:
        return min(self._maximum, max(self._minimum, value))
