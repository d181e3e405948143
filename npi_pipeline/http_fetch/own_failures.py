"""Are failures the registry's, or those of NPIs that have failed before? A sequential test over neighbours.

A registry that is asked too much, or that is down, fails whoever comes next. But it may stumble at the first requests
about some NPIs, or at one of its machines: then those that have failed before fail again, while others beside them are
answered well. To ask less, or to wait, does not help then.

So of two answers in a row, one of them a failure and one not, it matters who has failed more often before:

- of a fresh NPI and one that has failed before, it is a sign if the latter fails;
- of two that have failed before, it is a sign if the one that has failed more often is answered well, for it has the
  failures behind it. (At the end of a list there are no others.)

By chance it is as often the one as the other, whatever the registry does to everybody. Each pair adds the logarithm of
how much better it is explained by failures that are the NPIs' own, and the sum never falls below zero (Page's test, as
in ``failure_test``). Failures of both kinds may come at once: then first requests tell of the registry.

Not here: what follows for the limits (``limiter``), for the breaker, and for what is asked next (``scheduler``).
"""

from __future__ import annotations

import math

# If failures are the NPIs' own, four of five pairs show it; else half of them do.
_SHARE = 0.8
_FOR = math.log(_SHARE / 0.5)
_AGAINST = math.log((1 - _SHARE) / 0.5)
# Thirteen pairs in a row are enough. A wrong verdict costs little, for first requests count all the same, and it is
# taken back when the sum has fallen to zero.
_EVIDENCE = math.log(300.0)


class OwnFailures:
    """Counts answers in the order in which they come."""

    def __init__(self) -> None:
        self._evidence = 0.0
        self._previous: tuple[int, bool] | None = None
        self.are_likely = False

    def answered(self, number: int, *, failed: bool) -> bool:
        """The ``number``-th request about an NPI was answered; whether that proves failures to be the NPIs' own."""
        before, self._previous = self._previous, (number, failed)
        if before is None or before[0] == number:
            return False
        # Each answer counts in one pair only.
        self._previous = None
        if before[1] == failed:
            return False
        fewer, more = sorted((before, (number, failed)))
        is_sign = fewer[1] if fewer[0] > 1 else more[1]
        self._evidence = min(max(0.0, self._evidence + (_FOR if is_sign else _AGAINST)), _EVIDENCE)
        were_likely = self.are_likely
        self.are_likely = self._evidence >= _EVIDENCE or (were_likely and self._evidence > 0)
        return self.are_likely and not were_likely
