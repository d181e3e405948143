"""How a fetch is getting on: what is counted on the way, the snapshot for the log, and the report at the end.

Not here: who shows them and when (``fetch``).
"""

from __future__ import annotations

import collections
import dataclasses
import math
import time
from collections.abc import Mapping

from npi_pipeline.http_fetch.answer import Answer, Signal
from npi_pipeline.http_fetch.attempt import Attempt
from npi_pipeline.http_fetch.limiter import Limiter
from npi_pipeline.outcomes import NpiOutcome, Outcome

_REASONS_KEPT = 100
_OTHER = "other reasons"
_SHORTEST_RATE_SECONDS = 1.0
_PERCENTILES = (50, 90, 99, 100)


@dataclasses.dataclass(frozen=True, slots=True)
class FetchProgress:
    """How a fetch is getting on right now.

    ``done``: NPIs with an outcome, ``failed`` those of them that failed. ``rate``: outcomes per second, lately.
    ``in_flight``: requests at the registry. ``waiting``: NPIs that wait to be asked again.
    ``limit``: requests that may be in flight now; ``rate_limit``: requests that may be sent a second, infinity while
    nothing limits them. ``seconds_left`` is None when it cannot be told.
    """

    done: int
    total: int | None
    failed: int
    rate: float
    in_flight: int
    waiting: int
    limit: int
    rate_limit: float
    seconds_left: float | None

    def __str__(self) -> str:
        of_total = f" of {self.total:,} ({self.done / self.total:.0%})" if self.total else ""
        at_rate = "" if math.isinf(self.rate_limit) else f" at {self.rate_limit:,.1f}/s"
        left = "" if self.seconds_left is None else f", {_duration(self.seconds_left)} left"
        return (
            f"{self.done:,}{of_total} NPIs, {self.rate:,.1f}/s, {self.in_flight} in flight "
            f"(limit {self.limit}{at_rate}), {self.waiting:,} waiting, {self.failed:,} failed{left}"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class FetchReport:
    """What a fetch did, from its first request to its last.

    ``attempts``: requests made. ``outcomes``: NPIs by outcome. ``retries``: repeated requests by the reason of the
    failure before. ``refused``: requests that the registry refused for being too many. ``latency``: seconds of a
    request by percentile (50, 90, 99, 100), within 5 %. ``highest_limit``: the most requests in flight it came to.
    ``rate``: outcomes per second.
    """

    attempts: int
    outcomes: Mapping[str, int]
    retries: Mapping[str, int]
    refused: int
    latency: Mapping[int, float]
    highest_limit: int
    seconds: float
    rate: float


class Tally:
    """What is counted while a fetch goes on."""

    def __init__(self) -> None:
        self._started = self._ended = self._shown_at = math.nan
        self._done = self._shown = 0
        self._attempts = self._refused = 0
        self._outcomes: collections.Counter[str] = collections.Counter()
        self._retries: collections.Counter[str] = collections.Counter()
        self._latency = LatencyHistogram()

    @property
    def is_started(self) -> bool:
        """Whether the fetch has begun."""
        return not math.isnan(self._started)

    def start(self) -> None:
        """The fetch begins now."""
        self._started = self._shown_at = time.monotonic()

    def stop(self) -> None:
        """The fetch ends now."""
        self._ended = time.monotonic()

    def attempt(self, attempt: Attempt) -> None:
        """Count an attempt that is about to be made."""
        self._attempts += 1
        if attempt.number > 1:
            reason = attempt.verdict.reason or ""
            # Bounded: a registry's own words may be among the reasons.
            known = reason in self._retries or len(self._retries) < _REASONS_KEPT
            self._retries[reason if known else _OTHER] += 1

    def answer(self, answer: Answer) -> None:
        """Count an answer."""
        self._latency.add(answer.seconds)
        self._refused += answer.signal is Signal.throttled

    def outcome(self, outcome: NpiOutcome) -> None:
        """Count an outcome."""
        self._done += 1
        self._outcomes[outcome.verdict.outcome.value] += 1

    def progress(self, total: int | None, limiter: Limiter, waiting: int) -> FetchProgress:
        """How it is getting on; the rate is that since the last call, or since the beginning if that was just now."""
        now = time.monotonic()
        is_just_now = now - self._shown_at < _SHORTEST_RATE_SECONDS
        since, before = (self._started, 0) if is_just_now else (self._shown_at, self._shown)
        rate = (self._done - before) / max(now - since, 1e-9)
        self._shown_at, self._shown = now, self._done
        left = None if total is None else total - self._done
        return FetchProgress(
            done=self._done,
            total=total,
            failed=self._outcomes[Outcome.failed.value],
            rate=rate,
            in_flight=limiter.in_flight,
            waiting=waiting,
            limit=limiter.limit,
            rate_limit=limiter.rate,
            seconds_left=None if left is None or not rate else left / rate,
        )

    def report(self, highest_limit: int) -> FetchReport:
        """What was done until now, or until the end."""
        ended = time.monotonic() if math.isnan(self._ended) else self._ended
        seconds = ended - self._started if self.is_started else 0.0
        return FetchReport(
            attempts=self._attempts,
            outcomes=dict(self._outcomes),
            retries=dict(self._retries.most_common()),
            refused=self._refused,
            latency={percent: self._latency.percentile(percent) for percent in _PERCENTILES},
            highest_limit=highest_limit,
            seconds=seconds,
            rate=self._done / seconds if seconds else 0.0,
        )


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


def _duration(seconds: float) -> str:
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}h{minute:02}m" if hours else f"{minute}m{second:02}s" if minute else f"{second}s"
