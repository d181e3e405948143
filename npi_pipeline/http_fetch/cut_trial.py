"""Was it us? After the limit was cut: do requests fail less than before the cut?

If failures come from asking too much, they become far fewer below the limit. If they come however little is asked,
their share stays. The answers to what was sent after the cut decide between the two (Wald's sequential probability
ratio test), and the share before the cut is what they are compared with.

Answers count in the order in which the requests were sent, and only once even slow ones have come: refusals come
sooner than answers, or later, and the first few would tell of whatever is quicker.

Not here: when the limit is cut, and what follows from the verdict (``adaptive_limit``).
"""

from __future__ import annotations

import enum
import heapq
import math

# Failures are to fall to this share of what they were, or to what is usual anyway, if the cut is to have helped.
_HELPED = 0.3
# To be told apart at all, the two must differ.
_MIN_CONTRAST = 0.8
# Nineteen in twenty verdicts are right where only one decides; a wrong one is found out by the next alarm.
_CERTAIN = math.log(20.0)
# A share that has risen by half, and by more than two failures, is no longer that before the cut.
_RISEN = 1.5
_RISEN_BY = 2
# From a registry at which (nearly) everything fails there is nothing to be learnt about a limit.
_MAX_USUAL = 0.75
_MAX_SHARE = 0.95
# Where nothing has failed yet, a failure is not taken for impossible.
_MIN_SHARE = 0.01
# So many times the mean latency after a request was sent, its answer is there, or will be very late.
_SLOW = 2.0
# After so many answers the likelier verdict is taken: where little differs, little is lost by a wrong one.
_LONGEST = 100
# So many answers are enough for another alarm to decide.
_ENOUGH = 32


class Verdict(enum.Enum):
    """What became of a trial: the cut has helped, or was in vain, or the limit was still above what is possible."""

    helped = "helped"
    in_vain = "in vain"
    still_too_high = "still too high"


class CutTrial:
    """One trial, begun at a cut. ``failed`` of ``answers`` before it; a share of ``usual`` failures was tolerated."""

    def __init__(self, failed: int, answers: int, usual: float) -> None:
        self._before = failed, answers
        self.share_before = min(max(failed / answers, _MIN_SHARE), _MAX_SHARE)
        self._helped = min(max(_HELPED * self.share_before, usual), _MIN_CONTRAST * self.share_before)
        self._evidence = 0.0
        self._arrived: list[tuple[float, bool]] = []
        self.failed = self.answers = 0

    def arrived(self, now: float, sent_at: float, *, failed: bool, latency: float) -> Verdict | None:
        """Take the answer to a request sent after the cut; the verdict, if there is one now."""
        heapq.heappush(self._arrived, (sent_at, failed))
        while self._arrived and self._arrived[0][0] < now - _SLOW * latency:
            verdict = self._count(failed=heapq.heappop(self._arrived)[1])
            if verdict:
                return verdict
        return None

    @property
    def is_in_vain(self) -> bool:
        """Whether another alarm, after this one cut, proves that it was in vain: enough fail as they did before."""
        is_as_before = 2 * self.failed >= self.share_before * self.answers
        return self.answers >= _ENOUGH and is_as_before and self._is_possible

    @property
    def share(self) -> float:
        """The share of failures before and after the cut together: what is usual if the cut was in vain."""
        return (self._before[0] + self.failed) / (self._before[1] + self.answers)

    def _count(self, *, failed: bool) -> Verdict | None:
        self.answers += 1
        self.failed += failed
        before, helped = self.share_before, self._helped
        self._evidence += math.log(before / helped) if failed else math.log((1 - before) / (1 - helped))
        # Else a registry that is closed for a while, and refuses everything, would count for ever.
        self._evidence = min(self._evidence, 2 * _CERTAIN)
        if self._evidence < -_CERTAIN:
            return Verdict.helped
        if self._evidence <= 0 and self.answers >= _LONGEST:
            return Verdict.helped
        if self._evidence <= _CERTAIN and self.answers < _LONGEST:
            return None
        if self.failed > _RISEN * before * self.answers + _RISEN_BY:
            return Verdict.still_too_high
        return Verdict.in_vain if self._is_possible else None

    @property
    def _is_possible(self) -> bool:
        """Whether such a share of failures may be usual."""
        return max(self.share, self.failed / self.answers) < _MAX_USUAL
