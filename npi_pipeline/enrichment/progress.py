"""How a fetch is getting on: the snapshot for the log, and the report at the end.

Not here: who takes the snapshots (``fetch``).
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping

_KINDS_KEPT = 100
_OTHER = "other reasons"


@dataclasses.dataclass(frozen=True, slots=True)
class FetchProgress:
    """How a fetch is getting on right now.

    ``done``: NPIs with an outcome, ``failed`` those of them that failed. ``rate``: outcomes a second, lately.
    ``in_flight``: requests at the registry. ``waiting``: NPIs that wait to be asked again.
    ``limit``: requests that may be in flight now. ``seconds_left`` is None when it cannot be told.
    """

    done: int
    total: int | None
    failed: int
    rate: float
    in_flight: int
    waiting: int
    limit: int
    seconds_left: float | None

    def __str__(self) -> str:
        of_total = f" of {self.total:,} ({self.done / self.total:.0%})" if self.total else ""
        left = "" if self.seconds_left is None else f", {_duration(self.seconds_left)} left"
        return (
            f"{self.done:,}{of_total} NPIs, {self.rate:,.1f}/s, {self.in_flight} in flight (limit {self.limit}), "
            f"{self.waiting:,} waiting, {self.failed:,} failed{left}"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class FetchReport:
    """What a fetch did, from its first request to its last.

    ``attempts``: requests made. ``outcomes``: NPIs by outcome. ``retries``: repeated requests by the reason of the
    failure before. ``refused``: requests that the registry refused for being too many. ``latency``: seconds of a
    request by percentile (50, 90, 99, 100), within 5 %. ``highest_limit``: the most requests in flight it came to.
    ``rate``: outcomes a second.
    """

    attempts: int
    outcomes: Mapping[str, int]
    retries: Mapping[str, int]
    refused: int
    latency: Mapping[int, float]
    highest_limit: int
    seconds: float
    rate: float


class LatencyHistogram:
    """Latencies in buckets 5 % wide, so that a million of them cost no memory."""

    _WIDTH = math.log(1.05)
    _SMALLEST = 1e-5

    def __init__(self) -> None:
        self._counts: collections.Counter[int] = collections.Counter()

    def add(self, seconds: float) -> None:
        """Count one latency."""
        self._counts[math.ceil(math.log(max(seconds, self._SMALLEST) / self._SMALLEST) / self._WIDTH)] += 1

    def percentile(self, percent: int) -> float:
        """The latency in seconds that ``percent`` of the requests did not exceed; 0 when there were none."""
        rank = math.ceil(self._counts.total() * percent / 100) if self._counts else 0
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                return self._SMALLEST * math.exp(bucket * self._WIDTH)
        return 0.0


class CountsByReason:
    """Counts by reason; bounded, because a registry's own words may be among the reasons."""

    def __init__(self) -> None:
        self._counts: collections.Counter[str] = collections.Counter()

    def add(self, reason: str) -> None:
        """Count one."""
        known = reason in self._counts or len(self._counts) < _KINDS_KEPT
        self._counts[reason if known else _OTHER] += 1

    def as_dict(self) -> dict[str, int]:
        """The counts, the largest first."""
        return dict(self._counts.most_common())


def _duration(seconds: float) -> str:
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}h{minute:02}m" if hours else f"{minute}m{second:02}s" if minute else f"{second}s"
