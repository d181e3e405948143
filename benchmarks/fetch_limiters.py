"""Which law finds a registry's limit best? Published designs and ours, against modelled registries, in simulated time.

    python benchmarks/fetch_limiters.py [--quick] [--law NAME] [--registry NAME]

The scheduler and the breaker are the product's own; only the limiter is exchanged and the registry is a model, so a
fetch of a minute takes a second. Every cell is the median of several seeds: seconds over the least possible, and
the share of requests that the registry refused.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import itertools
import math
import random
import statistics
from collections.abc import Callable, Sequence

from npi_pipeline.http_fetch.answer import Answer, Signal
from npi_pipeline.http_fetch.attempt import Attempt
from npi_pipeline.http_fetch.circuit_breaker import Breaker
from npi_pipeline.http_fetch.limiter import Limiter
from npi_pipeline.http_fetch.scheduler import Scheduler
from npi_pipeline.outcomes import Outcome, Verdict
from npi_pipeline.settings import FetchSettings

# The threads of a busy process do not wake up at once.
_WAKING = 0.002
_FOUND = Verdict(Outcome.found)
_FAILED = Verdict(Outcome.failed, "failed", retryable=True)


@dataclasses.dataclass
class ModelRegistry:
    """A registry: what it admits, how long it takes, what it refuses. ``steps``: (from when, capacity)."""

    npis: int = 2000
    threads: int = 200
    latency: float = 0.203
    sigma: float = 0.4
    capacity: float = 0.0
    burst_seconds: float = 0.05
    max_in_flight: int = 0
    slow_above: int = 0
    errors: float = 0.0
    random_refusals: float = 0.0
    refusal_latency: float = 0.03
    steps: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        self.in_work = 0
        self.refused = 0
        self.requests = 0
        self._next_admission = 0.0

    def capacity_at(self, now: float) -> float:
        return next((capacity for start, capacity in reversed(self.steps) if start <= now), self.capacity)

    def ask(self, now: float, rng: random.Random) -> tuple[float, bool, Answer]:
        """How long the answer takes, whether the request was admitted, and the answer."""
        self.requests += 1
        if self.max_in_flight and self.in_work >= self.max_in_flight:
            self.refused += 1
            return self.refusal_latency, False, Answer(_FAILED, Signal.error, 503)
        if not self._admit(now) or rng.random() < self.random_refusals:
            self.refused += 1
            return self.refusal_latency, False, Answer(_FAILED, Signal.throttled, 429, retry_after=0.0)
        self.in_work += 1
        latency = self.latency * math.exp(rng.gauss(0, self.sigma))
        if self.slow_above and self.in_work > self.slow_above:
            latency *= self.in_work / self.slow_above
        is_error = rng.random() < self.errors
        return latency, True, Answer(_FAILED, Signal.error, 500) if is_error else Answer(_FOUND, Signal.good, 200)

    def _admit(self, now: float) -> bool:
        capacity = self.capacity_at(now)
        if not capacity:
            return True
        burst = max(1, round(capacity * self.burst_seconds))
        next_admission = max(self._next_admission, now)
        if next_admission - now > (burst - 1) / capacity + 1e-9:
            return False
        self._next_admission = next_admission + 1 / capacity
        return True

    def least_seconds(self) -> float:
        """The floor: what it takes to be admitted, or to be worked on, as often as is needed."""
        requests = self.npis / (1 - self.errors) / (1 - self.random_refusals)
        if self.capacity or self.steps:
            return self._seconds_to_admit(requests)
        workers = min(self.threads, self.max_in_flight or self.threads, self.slow_above or self.threads)
        return requests * (self.latency * math.exp(self.sigma**2 / 2) + _WAKING) / workers

    def _seconds_to_admit(self, requests: float) -> float:
        steps = self.steps or ((0.0, self.capacity),)
        for (start, capacity), (end, _) in itertools.zip_longest(steps, steps[1:], fillvalue=(math.inf, 0.0)):
            if requests <= capacity * (end - start):
                return start + requests / capacity
            requests -= capacity * (end - start)
        raise AssertionError("the last step has no end")


class FixedPool:
    """As many in flight as there are threads."""

    highest_limit = 0

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.in_flight = 0
        self.limit_now = float(ceiling)

    @property
    def limit(self) -> int:
        return max(1, int(self.limit_now))

    def ready_at(self, now: float) -> float:
        return now if self.in_flight < self.limit else math.inf

    def sent(self, now: float) -> None:
        self.in_flight += 1

    def answered(self, now: float, sent_at: float, answer: Answer) -> None:
        self.in_flight -= 1

    def restart(self) -> None:
        """After an outage."""


class Aimd(FixedPool):
    """Additive increase, multiplicative decrease of the requests in flight (TCP Reno)."""

    def __init__(self, ceiling: int) -> None:
        super().__init__(ceiling)
        self.limit_now = 8.0
        self.is_starting = True
        self.cut_at = -math.inf

    def answered(self, now: float, sent_at: float, answer: Answer) -> None:
        was_full = self.in_flight >= self.limit
        super().answered(now, sent_at, answer)
        if answer.signal is not Signal.good:
            if sent_at > self.cut_at:
                self.limit_now, self.cut_at, self.is_starting = max(1.0, self.limit_now * 0.8), now, False
        elif was_full:
            self.limit_now = min(self.ceiling, self.limit_now + (1.0 if self.is_starting else 1 / self.limit_now))


class Gradient(FixedPool):
    """In flight by latency: shortest known over recent, plus room for a queue (Netflix's Gradient, TCP Vegas)."""

    def __init__(self, ceiling: int) -> None:
        super().__init__(ceiling)
        self.limit_now = 8.0
        self.long = self.short = 0.0

    def answered(self, now: float, sent_at: float, answer: Answer) -> None:
        super().answered(now, sent_at, answer)
        if answer.signal is Signal.throttled:
            self.limit_now = max(1.0, self.limit_now * 0.97)
            return
        latency = answer.seconds
        self.short += (latency - self.short) * (0.05 if self.short else 1)
        self.long += (latency - self.long) * (0.005 if self.long else 1)
        gradient = max(0.5, min(1.0, 1.5 * self.long / self.short))
        target = self.limit_now * gradient + math.sqrt(self.limit_now)
        self.limit_now = min(self.ceiling, self.limit_now * 0.98 + target * 0.02)


class LearntRate(FixedPool):
    """A token bucket whose rate is learnt by a cubic law (botocore's adaptive mode)."""

    def __init__(self, ceiling: int) -> None:
        super().__init__(ceiling)
        self.rate = 50.0
        self.next_slot = 0.0
        self.highest = 0.0
        self.cut_at = 0.0
        self.counted_from = 0.0
        self.counted = 0
        self.seen_rate = 0.0
        self.was_cut = False

    def ready_at(self, now: float) -> float:
        return max(super().ready_at(now), self.next_slot)

    def sent(self, now: float) -> None:
        super().sent(now)
        self.next_slot = max(self.next_slot, now - 0.05) + 1 / self.rate
        self.counted += 1
        if now - self.counted_from >= 0.5:
            seen = self.counted / (now - self.counted_from)
            self.seen_rate = 0.8 * seen + 0.2 * self.seen_rate
            self.counted, self.counted_from = 0, now

    def answered(self, now: float, sent_at: float, answer: Answer) -> None:
        super().answered(now, sent_at, answer)
        if answer.signal is Signal.throttled:
            if sent_at > self.cut_at:
                self.highest = min(self.rate, self.seen_rate or self.rate)
                self.rate, self.cut_at, self.was_cut = max(0.5, self.highest * 0.7), now, True
            return
        if not self.was_cut:
            self.rate = min(self.rate * 1.02, 2 * max(self.seen_rate, 50.0))
            return
        turn = (self.highest * 0.3 / 0.4) ** (1 / 3)
        cubic = 0.4 * (now - self.cut_at - turn) ** 3 + self.highest
        self.rate = max(0.5, min(cubic, 2 * self.seen_rate if self.seen_rate else cubic))


LAWS: dict[str, Callable[[int], Limiter]] = {
    "fixed pool": FixedPool,  # type: ignore[dict-item]
    "AIMD": Aimd,  # type: ignore[dict-item]
    "gradient": Gradient,  # type: ignore[dict-item]
    "learnt rate": LearntRate,  # type: ignore[dict-item]
    "ours": lambda ceiling: Limiter(ceiling=ceiling),
}

REGISTRIES: dict[str, ModelRegistry] = {
    "calibrated: 167/s, 3 % errors": ModelRegistry(capacity=167, errors=0.03),
    "cap 2/s": ModelRegistry(npis=120, capacity=2),
    "cap 10/s": ModelRegistry(npis=400, capacity=10),
    "cap 50/s": ModelRegistry(npis=1500, capacity=50),
    "cap 110/s": ModelRegistry(capacity=110),
    "cap 400/s": ModelRegistry(npis=8000, capacity=400),
    "cap 1000/s": ModelRegistry(npis=20000, capacity=1000, threads=400),
    "cap 167/s, slow refusals": ModelRegistry(capacity=167, refusal_latency=0.2),
    "cap 167/s, bucket of 1 s": ModelRegistry(npis=4000, capacity=167, burst_seconds=1.0),
    "cap 167/s, bucket of 1": ModelRegistry(npis=4000, capacity=167, burst_seconds=0.001),
    "160/s, half at 15 s, double at 30 s": ModelRegistry(npis=6000, steps=((0.0, 160.0), (15.0, 80.0), (30.0, 160.0))),
    "503 above 60 in flight": ModelRegistry(max_in_flight=60),
    "slower above 40 in flight": ModelRegistry(slow_above=40),
    "no cap, 50 threads, 3 % errors": ModelRegistry(threads=50, errors=0.03),
    "no cap, 5 ms, 50 threads": ModelRegistry(npis=40000, threads=50, latency=0.005),
    "no cap, 600 ms, 200 threads": ModelRegistry(npis=8000, latency=0.6),
    "no cap, 50 threads, 8 % refused at random": ModelRegistry(npis=4000, threads=50, random_refusals=0.08),
    "no cap, 50 threads, 35 % refused at random": ModelRegistry(npis=4000, threads=50, random_refusals=0.35),
    "cap 167/s, 8 % refused at random": ModelRegistry(npis=4000, capacity=167, random_refusals=0.08),
    "no cap, 50 threads, 10 % errors": ModelRegistry(npis=4000, threads=50, errors=0.1),
    "no cap, 50 threads, 30 % errors": ModelRegistry(npis=4000, threads=50, errors=0.3),
}


def simulate(law: Callable[[int], Limiter], model: ModelRegistry, seed: int) -> tuple[float, float]:
    """Seconds over the floor, and the share of requests refused."""
    registry = dataclasses.replace(model)
    rng = random.Random(seed)
    limiter = law(registry.threads)
    settings = FetchSettings(threads=registry.threads, max_retries=1000)
    npis = (str(number) for number in range(registry.npis))
    scheduler = Scheduler(npis, settings, limiter=limiter, breaker=Breaker(patience=3600, now=0.0), rng=rng, now=0.0)
    now = 0.0
    answers: list[tuple[float, int, bool, Attempt, Answer]] = []
    order = itertools.count()
    while (step := scheduler.next(now)) is not None:
        if isinstance(step, Attempt):
            seconds, admitted, answer = registry.ask(now, rng)
            answer = dataclasses.replace(answer, seconds=seconds + rng.expovariate(1 / _WAKING))
            heapq.heappush(answers, (now + answer.seconds, next(order), admitted, step, answer))
            continue
        assert isinstance(step, float)
        if answers and answers[0][0] <= step:
            now, _, admitted, attempt, answer = heapq.heappop(answers)
            registry.in_work -= admitted
            scheduler.answered(now, attempt, answer)
        else:
            now = step
    return now / registry.least_seconds(), registry.refused / registry.requests


def table(laws: Sequence[str], registries: Sequence[str], seeds: int) -> None:
    print(f"| registry | {' | '.join(laws)} |\n|---|{'---|' * len(laws)}")
    for name in registries:
        cells = []
        for law in laws:
            runs = [simulate(LAWS[law], REGISTRIES[name], seed) for seed in range(seeds)]
            over = statistics.median(over for over, _ in runs)
            refused = statistics.median(refused for _, refused in runs)
            cells.append(f"{over:.3f} ({refused:.1%})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds instead of seven")
    parser.add_argument("--law", action="append", choices=list(LAWS))
    parser.add_argument("--registry", default="", help="only registries whose name holds this")
    arguments = parser.parse_args()
    table(
        arguments.law or list(LAWS),
        [name for name in REGISTRIES if arguments.registry in name],
        2 if arguments.quick else 7,
    )


if __name__ == "__main__":
    main()
