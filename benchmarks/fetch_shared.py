"""Shards that ask one registry at once: do their limits, each learnt for itself, add up to what the registry allows?

    python benchmarks/fetch_shared.py [--shards 2 4 8 16] [--registry NAME] [--first-seed S]   # in simulated time
    python benchmarks/fetch_shared.py --measure                 # processes, the emulated registry, sockets and files

Scheduler, limiter, breaker and adaptive timeout are the product's own, one set a shard, as on machines that know
nothing of each other; only clock and registry are modelled (``fetch_weather``). Shards are as long as each other
("even"), or the first half of them have an eighth of the NPIs of the others ("uneven"): then half of the budget comes
free early, and ``kept`` is what it costs if nobody takes it over.

``over``: seconds over the least that one client needs that knows the registry. ``refused``: share of all requests.
``fairness``: of the NPIs done by each shard while all were at it, Jain's index (1: all the same; 1/n: one had all).
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import functools
import heapq
import itertools
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import fetch_weather as weather

from npi_pipeline.http_fetch.attempt import Attempt
from npi_pipeline.http_fetch.circuit_breaker import Breaker
from npi_pipeline.http_fetch.limiter import Limiter
from npi_pipeline.http_fetch.scheduler import Scheduler
from npi_pipeline.npi_list import parse_npi_list
from npi_pipeline.npi_records.asking import Asking
from npi_pipeline.npi_records.shards import plan_shards, record_shard, seal_day
from npi_pipeline.npi_records.shared_caps import share_of
from npi_pipeline.outcomes import NpiOutcome
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import CheckSettings, FetchSettings
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import emulated_registry

# How often a shard looks how many are still at it (``npi_records.shared_caps``).
LOOK_SECONDS = 10.0
CAP_IS_SET = ", and NPI_REQUESTS_PER_SECOND says so"
REGISTRIES = {
    "cap 20/s, 200 ms": weather.Weather(npis=1600, capacity=20, latency=0.2),
    "cap 167/s, 200 ms": weather.Weather(npis=10_000, capacity=167, latency=0.2),
    "cap 167/s, 20 ms": weather.Weather(npis=10_000, capacity=167),
    "cap 167/s, 200 ms, mix 15%": weather.Weather(npis=10_000, capacity=167, latency=0.2, faults=0.15),
    "cap 2,000/s, 20 ms, 256 threads": weather.Weather(npis=30_000, capacity=2000, threads=256),
    "cap 2,000/s, 200 ms, 512 threads": weather.Weather(npis=30_000, capacity=2000, threads=512, latency=0.2),
    f"cap 167/s, 20 ms{CAP_IS_SET}": weather.Weather(npis=10_000, capacity=167),
    f"cap 2,000/s, 20 ms, 256 threads{CAP_IS_SET}": weather.Weather(npis=30_000, capacity=2000, threads=256),
    "503 above 40 in flight, 200 ms": weather.Weather(npis=10_000, max_in_flight=40, latency=0.2),
    "no limit, 200 ms, 64 threads": weather.Weather(npis=16_000, threads=64, latency=0.2),
}


@dataclasses.dataclass(frozen=True)
class Shared:
    """How the shards did together."""

    over: float
    refused: float
    fairness: float
    failed: int


class Shard:
    """One worker: its part of the list, and everything that it knows of the registry."""

    def __init__(self, npis: Sequence[int], settings: FetchSettings, at_once: int, seed: str) -> None:
        self._settings = settings
        share = share_of(settings, at_once)
        self._limiter = Limiter(ceiling=share.threads, requests_per_second=share.requests_per_second)
        self._breaker = Breaker(patience=settings.down_after, now=0.0)
        self.scheduler = Scheduler(
            map(str, npis), share, limiter=self._limiter, breaker=self._breaker, rng=random.Random(seed), now=0.0
        )
        self.settled: list[NpiOutcome] = []
        self.in_flight: dict[Attempt, tuple[int, bool, weather.Answer]] = {}
        self.due: list[tuple[float, int, Attempt]] = []
        self.wake_at = 0.0
        self.is_done = False

    def take_over(self, at_once: int) -> None:
        share = share_of(self._settings, at_once)
        self._limiter.cap(ceiling=share.threads, requests_per_second=share.requests_per_second)

    def run(self, now: float, registry: weather.ModelRegistry, order: itertools.count[int]) -> None:
        """Everything that there is to do at ``now``; ``wake_at`` is when there is more."""
        while self.due and self.due[0][0] <= now:
            _, number, attempt = heapq.heappop(self.due)
            if attempt in self.in_flight and self.in_flight[attempt][0] == number:
                self._take(now, registry, attempt, None)
        for attempt in list(self.scheduler.to_abort(now)):
            if attempt in self.in_flight:
                self._take(now, registry, attempt, weather.TROUBLE)
        while True:
            step = self.scheduler.next(now)
            if step is None:
                self.is_done = True
                return
            if isinstance(step, NpiOutcome):
                self.settled.append(step)
                continue
            if not isinstance(step, Attempt):
                break
            seconds, in_work, answer = registry.ask(now, int(step.npi))
            number = next(order)
            self.in_flight[step] = number, in_work, dataclasses.replace(answer, seconds=seconds)
            heapq.heappush(self.due, (now + seconds, number, step))
        self.wake_at = min(step, now + weather.TICK, self.due[0][0] if self.due else now + weather.TICK)

    def _take(
        self, now: float, registry: weather.ModelRegistry, attempt: Attempt, aborted: weather.Answer | None
    ) -> None:
        _, in_work, answer = self.in_flight.pop(attempt)
        registry.in_work -= in_work
        if aborted:
            answer = dataclasses.replace(aborted, seconds=now - attempt.sent_at)
        done = self.scheduler.answered(now, attempt, answer)
        self.settled.extend([done] if done else [])


def cut(npis: int, shards: int, *, is_even: bool) -> list[range]:
    weights = [1 if is_even or number >= shards // 2 else 1 / 8 for number in range(shards)]
    ends = [round(npis * sum(weights[: number + 1]) / sum(weights)) for number in range(shards)]
    return [range(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def simulate(registry_name: str, shards: int, seed: int, *, is_even: bool, takes_over: bool) -> Shared:
    """A day in so many shards, in simulated time."""
    of = REGISTRIES[registry_name]
    registry = weather.ModelRegistry(of, seed)
    cap = 0.97 * of.capacity if registry_name.endswith(CAP_IS_SET) else 0.0
    settings = FetchSettings(threads=of.threads, requests_per_second=cap)
    parts = cut(of.npis, shards, is_even=is_even)
    workers = [Shard(part, settings, shards, f"{seed} {number}") for number, part in enumerate(parts)]
    order = itertools.count()
    look_at = LOOK_SECONDS
    now, done_by_each = 0.0, [0] * shards
    while at_work := [worker for worker in workers if not worker.is_done]:
        now = max(now, min(worker.wake_at for worker in at_work))
        for worker in at_work:
            if worker.wake_at <= now:
                worker.run(now, registry, order)
        if len(at_work) == shards:
            done_by_each = [len(worker.settled) for worker in workers]
        if takes_over and now >= look_at:
            look_at = now + LOOK_SECONDS
            for worker in at_work:
                worker.take_over(len(at_work))
    failed = sum(outcome.verdict.outcome != weather.Outcome.found for worker in workers for outcome in worker.settled)
    fairness = sum(done_by_each) ** 2 / (shards * sum(done**2 for done in done_by_each))
    return Shared(now / registry.least_seconds(), registry.refused / registry.requests, fairness, failed)


def _simulate(job: tuple[str, int, int, bool, bool]) -> Shared:
    name, shards, seed, is_even, takes_over = job
    return simulate(name, shards, seed, is_even=is_even, takes_over=takes_over)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--registry", default="", help="only registries whose name holds this")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--measure", action="store_true", help="by real processes instead")
    arguments = parser.parse_args()
    if arguments.measure:
        show_measured(arguments.shards)
        return
    names = [name for name in REGISTRIES if arguments.registry in name]
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    cases = [(True, True), (False, False), (False, True)]
    rows = [(name, shards) for name in names for shards in arguments.shards]
    jobs = [(name, shards, seed, *case) for name, shards in rows for case in cases for seed in seeds]
    with multiprocessing.Pool() as pool:
        runs = dict(zip(jobs, pool.map(_simulate, jobs, chunksize=1), strict=True))
    print("| registry | shards | even: over | refused | fairness | uneven: kept | uneven: taken over | failed |")
    print("|---|---|---|---|---|---|---|---|")
    for name, shards in rows:
        even, kept, over = ([runs[(name, shards, seed, *case)] for seed in seeds] for case in cases)
        print(
            f"| {name} | {shards} | {_median(even, 'over'):.2f} | {_median(even, 'refused'):.1%} "
            f"| {_median(even, 'fairness'):.3f} | {_median(kept, 'over'):.2f} | {_median(over, 'over'):.2f} "
            f"| {sum(run.failed for run in (*even, *kept, *over))} |"
        )


def measure(shards: int, latency: float, cap: float) -> str:
    """A day of 4,000 NPIs whose registry admits 200 a second, each shard a process: a row of the table."""
    npis = parse_npi_list("\n".join(["npi", *npi_numbers(4000)]).encode()).npis
    with tempfile.TemporaryDirectory() as folder, emulated_registry(capacity=200, latency=latency) as registry:
        of = Asking(
            root=LocalRoot(Path(folder)),
            day=dt.date(2026, 7, 1),
            npis=npis,
            registry=Registry(FORMATS["nppes"], registry.url),
            settings=FetchSettings(requests_per_second=cap, reuse_hours=0),
            checks=CheckSettings(),
        )
        plan = plan_shards(of, shards, at_once=shards, planned_by="run", asked_by="run")
        began = time.monotonic()
        with multiprocessing.get_context("spawn").Pool(shards) as pool:
            pool.starmap(functools.partial(record_shard, planned_by="run"), [(of, shard) for shard in plan.shards])
        seconds = time.monotonic() - began
        failed = seal_day(of, planned_by="run").report.outcomes.get("failed", 0)
        stats = registry.stats()
    refused = stats.refused / stats.requests
    return (
        f"| {latency * 1000:.0f} ms | {cap or 'not set'} | {shards} | {seconds:.1f} | {refused:.1%} "
        f"| {stats.peak_requests_in_a_second} | {failed} |"
    )


def show_measured(shards: Sequence[int]) -> None:
    print("4,000 NPIs, a registry that admits 200 a second: 20 s at least")
    print("| latency | NPI_REQUESTS_PER_SECOND | shards | seconds | refused | most in a second | failed |")
    print("|---|---|---|---|---|---|---|")
    for latency, cap in ((0.02, 190.0), (0.2, 0.0), (0.02, 0.0)):
        for number in shards:
            print(measure(number, latency, cap), flush=True)


def _median(runs: Sequence[Shared], field: str) -> float:
    return statistics.median(getattr(run, field) for run in runs)


if __name__ == "__main__":
    main()
