"""How fast requests may follow each other: learnt from those that the registry refuses for being too many.

Not here: how many may be in flight (``in_flight_limit``), why there are two limits (``limiter``).
"""

from __future__ import annotations

import collections
import math


class RateLimit:
    """Requests a second, and when the next one is due."""

    # A refusal costs 1/32 of the rate and an admitted request gives 1/3200 back: one in a hundred is refused.
    _CUT = 1 / 32
    _LEAST_GAIN = 0.01 * _CUT
    # Refusals and requests are counted over so many requests, and over so many seconds at least.
    _WINDOW = 32
    _WINDOW_SECONDS = 0.1
    _MOST_REMEMBERED = 4096
    # So many of them, and such a share, is not chance: then what was admitted is the rate.
    _TELLING = 4
    _TELLING_SHARE = 1 / 8
    # After so many admitted requests in a row the registry's limit may have been raised: the gain grows.
    _QUIET = 100
    # Requests closer than this are sent in small groups, because threads do not wake up on time; slower ones are
    # never sent sooner than their time, because a registry that allows no burst would refuse them.
    _GROUP_SECONDS = 0.005
    # However many are refused, the rate halves at most once in so many seconds, and never falls below the slowest.
    _HALVING_SECONDS = 0.75
    _SLOWEST = 1.0
    # What it begins with, before anything is known; it doubles with each round of answers until a refusal comes.
    _START = 80.0
    _FASTEST = 100_000.0

    def __init__(self, cap: float) -> None:
        """``cap`` is never exceeded; infinity for none."""
        self._is_capped = cap < math.inf
        self._cap = min(cap, self._FASTEST)
        self.rate = min(cap, self._START)
        self.next_slot = -math.inf
        self._sent: collections.deque[float] = collections.deque(maxlen=self._MOST_REMEMBERED)
        self._refused: collections.deque[float] = collections.deque(maxlen=self._MOST_REMEMBERED)
        self._gain = 1.0
        self._quiet = 0
        self._cut_at = -math.inf
        self._floor = min(self._SLOWEST, cap)
        self._floor_until = -math.inf
        self._pointless = _PointlessRefusals()

    @property
    def is_limiting(self) -> bool:
        """Whether a limit is known: the registry has refused, or there is a cap."""
        return self._is_capped or self._cut_at > -math.inf

    def sent(self, now: float) -> None:
        """A request is sent."""
        self._sent.append(now)
        self._pointless.sent(now)
        rate = self.rate / 2 if self._pointless.is_trying else self.rate
        catch_up = max(0.0, self._GROUP_SECONDS - 1 / rate)
        self.next_slot = max(self.next_slot, now - catch_up) + 1 / rate

    def refused(self, now: float, sent_at: float) -> None:
        """A request was refused: fall by a little, and to what was admitted when many are refused."""
        self._count(sent_at, refused=True)
        if self._pointless.forgives() or sent_at < self._sent[0]:
            return
        self._quiet = 0
        self._refused.append(sent_at)
        sent, seconds, refused = self._around(sent_at)
        rate = self.rate
        if sent_at > self._cut_at:
            # Requests sent before the last cut say nothing about the rate since.
            self._renew_floor(now)
            self._cut_at = now
            self._gain = max(self._LEAST_GAIN, self._gain / 2)
            rate = min(rate * (1 - self._CUT), sent / seconds)
        if refused >= self._TELLING and refused > sent * self._TELLING_SHARE:
            rate = min(rate, (sent - refused) / seconds)
        self.rate = max(rate, self._floor)
        self.next_slot = max(self.next_slot, now)

    def admitted(self, sent_at: float, in_flight: int) -> None:
        """A request was admitted: creep up; fast only while it is not yet known where the limit is."""
        self._count(sent_at, refused=False)
        if self.rate >= self._cap or self._pointless.is_trying:
            return
        self._quiet += 1
        if self._quiet > self._QUIET:
            self._gain *= 1 + 1 / self._QUIET
        # What is in flight is answered before the effect of a change is seen: in that time, double at most.
        most = 1.0 if self._cut_at == -math.inf else 0.5
        self._gain = min(self._gain, most / (in_flight + 4))
        self.rate = min(self._cap, self.rate * (1 + self._gain))

    def _count(self, sent_at: float, *, refused: bool) -> None:
        if self._pointless.count(sent_at, refused=refused):
            # The rate was given up in vain.
            self._gain = 1.0

    def _renew_floor(self, now: float) -> None:
        if now >= self._floor_until and self._cut_at > -math.inf:
            self._floor = min(max(self.rate / 2, self._SLOWEST), self._cap)
            self._floor_until = now + self._HALVING_SECONDS

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


class _PointlessRefusals:
    """Refusals that come however slowly the registry is asked, so that to slow down has no point.

    When many are refused for a while although the rate falls, half the rate is tried for a moment. If refusals are as
    frequent then, as many as that are forgiven, until the next trial.
    """

    _BLOCK = 48
    _TRIAL = 24
    _BLOCK_SECONDS = 0.25
    _MANY = 0.05
    _BLOCKS_BETWEEN_TRIALS = 20
    _MOST_FORGIVEN_AT_ONCE = 8.0

    def __init__(self) -> None:
        self.is_trying = False
        self._share = 0.0
        self._suspected = 0.0
        self._forgiveness = 0.0
        self._blocks = 0
        self._since = self._until = -math.inf
        self._sent = self._answered = self._refused = 0
        self._is_full = False

    def forgives(self) -> bool:
        """Whether the refusal that was just counted is to be passed over."""
        if self.is_trying or self._forgiveness < 1:
            return self.is_trying
        self._forgiveness -= 1
        return True

    def sent(self, now: float) -> None:
        """A request is sent; it belongs to the block that is being filled, if there is one."""
        if self._is_full:
            return
        if not self._sent:
            self._since = now
        self._sent += 1
        self._until = now
        block = self._TRIAL if self.is_trying else self._BLOCK
        self._is_full = self._sent >= block and now - self._since >= self._BLOCK_SECONDS

    def count(self, sent_at: float, *, refused: bool) -> bool:
        """Count an answer to a request that was sent at ``sent_at``; whether it proves that slowness was in vain."""
        self._forgiveness = min(self._forgiveness + 1.25 * self._share, self._MOST_FORGIVEN_AT_ONCE)
        if not self._since <= sent_at <= self._until:
            return False
        self._answered += 1
        self._refused += refused
        # All of the block, because refusals come sooner than answers.
        if not self._is_full or self._answered < self._sent:
            return False
        was_trying = self.is_trying
        self._end_block(self._refused / self._sent)
        self._sent = self._answered = self._refused = 0
        self._is_full = False
        return was_trying and self._share > 0

    def _end_block(self, share: float) -> None:
        self._blocks += 1
        if self.is_trying:
            self.is_trying = False
            self._blocks = 0
            self._share = share if share > 0.6 * self._suspected else 0.0
            self._suspected = 0.0
            self._forgiveness = self._MOST_FORGIVEN_AT_ONCE
        elif self._share:
            self.is_trying = self._blocks > self._BLOCKS_BETWEEN_TRIALS
            self._suspected = self._share
        else:
            self.is_trying = min(share, self._suspected) > self._MANY
            self._suspected = share
