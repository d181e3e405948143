"""Do more requests fail than usual? A sequential test over the answers, one by one.

It is Page's cumulative sum of log-likelihood ratios (E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954):
each answer adds the logarithm of how much better it is explained by ``_ODDS_RATIO`` times the usual odds of failure
than by the usual odds. The sum never falls below zero, so that what was good long ago does not count against what is
bad now, and an alarm is given when it reaches ``_EVIDENCE``.

A stray failure therefore says nothing, a wall of failures is noticed after half a dozen, and a share of failures
that is a little higher than usual after a few hundred.

Not here: whether the failures are of our making (``cut_trial``), what follows (``adaptive_limit``).
"""

from __future__ import annotations

import collections
import itertools
import math

# Odds of failure that are to be noticed, as a multiple of the usual odds. Smaller ones cost less than slowing down.
_ODDS_RATIO = 4.0
# How much better they must explain the answers: a false alarm then comes once in more than a thousand answers.
_EVIDENCE = math.log(1000.0)
# With so much of it, it is better not to make things worse by asking for more.
_SUSPICION = 0.7 * _EVIDENCE
# The usual share falls when failures have become rarer: clearly, over so many answers.
_MEMORY = 1 / 256
_CLEARLY = 0.05
# The share of failures is taken over twice the answers that raised the alarm: over them alone it would be too high,
# because it is the failures that raise it.
_ANSWERS_OF_THE_SHARE = 2
_MAX_REMEMBERED = 1024


class FailureTest:
    """Counts answers since the last ``restart``; ``error_tolerance``: a share of failures that is never too many."""

    def __init__(self, error_tolerance: float) -> None:
        self._error_tolerance = error_tolerance
        self._recent = 0.0
        self.usual = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin anew: what was asked of the registry has changed."""
        self._evidence = 0.0
        self._answers = 0
        self._failed: collections.deque[bool] = collections.deque(maxlen=_MAX_REMEMBERED)

    def count(self, *, failed: bool) -> None:
        """Count one answer."""
        self._recent += (failed - self._recent) * _MEMORY
        self.usual = min(self.usual, self._recent + _CLEARLY)
        usual = max(self.usual, self._error_tolerance)
        suspected = _ODDS_RATIO * usual / (1 - usual + _ODDS_RATIO * usual)
        self._failed.append(failed)
        self._answers += 1
        self._evidence += math.log(suspected / usual) if failed else math.log((1 - suspected) / (1 - usual))
        if self._evidence <= 0:
            self._evidence = 0.0
            self._answers = 0

    def bear(self, share: float) -> None:
        """Failures have proven to be usual: from now on this share of them is tolerated."""
        self.usual = self._recent = share

    @property
    def is_suspicious(self) -> bool:
        """Whether an alarm is near."""
        return self._evidence >= _SUSPICION

    @property
    def is_alarmed(self) -> bool:
        """Whether more fail than usual."""
        return self._evidence >= _EVIDENCE

    @property
    def answers(self) -> int:
        """How many answers raised the alarm."""
        return self._answers

    def around_the_alarm(self, least: int) -> tuple[int, int]:
        """How many of how many answers failed around the alarm, of ``least`` at least, if there are as many."""
        count = min(len(self._failed), max(least, _ANSWERS_OF_THE_SHARE * self._answers))
        return sum(itertools.islice(reversed(self._failed), count)), count
