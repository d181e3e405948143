"""How the fetch does when the registry misbehaves in several ways at once: modelled registries, in simulated time.

    python benchmarks/fetch_weather.py [--seeds N] [--registry NAME]   # the table of named registries
    python benchmarks/fetch_weather.py --random N [--first-seed S]     # registries drawn at random, the worst shown

The scheduler and all that it asks (limiter, circuit breaker, adaptive timeout) are the product's own; only the clock
and the registry are modelled, so that an hour of a fetch takes a second. ``least`` is what any client needs, computed
from the model: the longest of its work, its admissions and its slowest NPI, and on top the time for which the registry
says nothing at all. Faults are served once each; a drip counts as the larger of 1 s and 10 latencies, since nobody can
know at once that it is one. A stall is the longest time without a good answer, less the time in which the registry
would have admitted nobody.
"""

from __future__ import annotations

import argparse
import bisect
import dataclasses
import heapq
import itertools
import math
import multiprocessing
import random
import statistics
from collections.abc import Iterable, Sequence

from npi_pipeline.http_fetch.answer import Answer, Signal
from npi_pipeline.http_fetch.attempt import Attempt
from npi_pipeline.http_fetch.circuit_breaker import Breaker
from npi_pipeline.http_fetch.limiter import Limiter
from npi_pipeline.http_fetch.scheduler import Scheduler
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.settings import FetchSettings

# The threads of a busy process do not wake up at once.
WAKING = 0.002
# How often the loop of the fetch looks for overdue requests (``workers``).
TICK = 0.25
REFUSAL_LATENCY = 0.03
READ_TIMEOUT = 30.0
DRIP_SECONDS = 60.0
MIX = ("503", "500", "429", "429 wait", "reset", "truncated", "html", "another", "drip", "empty", "502")
_FOUND = Verdict(Outcome.found)
_FAILED = Verdict(Outcome.failed, "failed", retryable=True)
GOOD = Answer(_FOUND, Signal.good, 200)
TROUBLE = Answer(_FAILED, Signal.error, 500)
REFUSED = Answer(_FAILED, Signal.throttled, 429)


@dataclasses.dataclass(frozen=True)
class Weather:
    """A registry and a list. Times are seconds, shares 0 to 1; 0 of a limit is no limit.

    steps: (from when, capacity a second). quota: admitted in each calendar window of ``quota_seconds``, of which
    ``quota_begun`` have passed when the fetch begins. penalty: so many refusals within ten seconds close the registry
    for ``penalty_seconds``; with ``penalty_renews`` each request in that time begins it anew. retry_after: seconds
    that a refusal names, or inf for the time until the registry admits again. faults: that share of NPIs meets faults
    on its first tries, so many as is drawn from ``faulty_tries``. slow: that share of NPIs always takes
    ``slow_seconds``. silent: (from when, how long) nothing is answered; black_holes: that share of requests is never
    answered; down: 503 to everything. latency_steps: (from when, factor).
    """

    npis: int = 883
    threads: int = 50
    latency: float = 0.02
    sigma: float = 0.4
    capacity: float = 0.0
    burst: float = 0.0
    steps: tuple[tuple[float, float], ...] = ()
    quota: int = 0
    quota_seconds: float = 60.0
    quota_begun: float = 0.0
    penalty: int = 0
    penalty_seconds: float = 30.0
    penalty_renews: bool = False
    retry_after: float | None = None
    max_in_flight: int = 0
    slow_above: int = 0
    errors: float = 0.0
    random_refusals: float = 0.0
    faults: float = 0.0
    faulty_tries: tuple[int, ...] = (3, 2, 1, 1)
    kinds: tuple[str, ...] = MIX
    slow: float = 0.0
    slow_seconds: float = 0.0
    black_holes: float = 0.0
    silent: tuple[float, float] | None = None
    down: tuple[float, float] | None = None
    latency_steps: tuple[tuple[float, float], ...] = ()

    def capacity_at(self, now: float) -> float:
        return next((capacity for start, capacity in reversed(self.steps) if start <= now), self.capacity)

    def slowness_at(self, now: float) -> float:
        return next((factor for start, factor in reversed(self.latency_steps) if start <= now), 1.0)


class ModelRegistry:
    """A registry in the given weather. The plan of faults is drawn from the seed, NPI by NPI."""

    def __init__(self, weather: Weather, seed: int) -> None:
        self.weather = weather
        self._rng = random.Random(f"answers {seed}")
        plan = random.Random(f"plan {seed}")
        self._faults = [self._planned(plan) for _ in range(weather.npis)]
        self._is_slow = [plan.random() < weather.slow for _ in range(weather.npis)]
        self._left = [list(reversed(faults)) for faults in self._faults]
        self.in_work = 0
        self.requests = self.refused = self.npis_asked = 0
        self._next_admission = -math.inf
        self._window, self._in_window = -1, 0
        self._refusals: list[float] = []
        self._closed_until = -math.inf
        self.mute: list[list[float]] = [
            [start, start + seconds] for start, seconds in filter(None, (weather.silent, weather.down))
        ]

    def _planned(self, plan: random.Random) -> list[str]:
        if plan.random() >= self.weather.faults:
            return []
        count = plan.choice(self.weather.faulty_tries)
        return [plan.choice(self.weather.kinds) for _ in range(count)]

    def ask(self, now: float, npi: int) -> tuple[float, bool, Answer]:  # noqa: PLR0911 - one way out a kind of weather
        """How long the answer takes, whether the request is in work, and the answer."""
        weather = self.weather
        self.requests += 1
        latency = weather.latency * weather.slowness_at(now) * math.exp(self._rng.gauss(0, weather.sigma))
        if weather.silent and weather.silent[0] <= now < sum(weather.silent):
            until_then = sum(weather.silent) - now + latency
            return (until_then, False, GOOD) if until_then < READ_TIMEOUT else (READ_TIMEOUT, False, TROUBLE)
        if weather.down and weather.down[0] <= now < sum(weather.down):
            return latency, False, TROUBLE
        if weather.max_in_flight and self.in_work >= weather.max_in_flight:
            self.refused += 1
            return REFUSAL_LATENCY, False, dataclasses.replace(TROUBLE, status=503)
        if not self._admits(now) or self._rng.random() < weather.random_refusals:
            return REFUSAL_LATENCY, False, self._refusal(now)
        self.in_work += 1
        if weather.slow_above and self.in_work > weather.slow_above:
            latency *= self.in_work / weather.slow_above
        if self._left[npi]:
            return self._fault(self._left[npi].pop(), latency)
        if self._rng.random() < weather.black_holes:
            return READ_TIMEOUT, True, TROUBLE
        if self._rng.random() < weather.errors:
            return latency, True, TROUBLE
        return (weather.slow_seconds if self._is_slow[npi] else latency), True, GOOD

    def _fault(self, kind: str, latency: float) -> tuple[float, bool, Answer]:
        if kind == "drip":
            return DRIP_SECONDS, True, TROUBLE
        if kind.startswith("429"):
            self.refused += 1
            return latency, True, dataclasses.replace(REFUSED, retry_after=1.0 if kind == "429 wait" else None)
        return latency, True, TROUBLE

    def _admits(self, now: float) -> bool:
        weather = self.weather
        if now < self._closed_until:
            if weather.penalty_renews:
                self._close(now)
            return False
        if weather.quota:
            window = int((now + weather.quota_begun) // weather.quota_seconds)
            if window != self._window:
                self._window, self._in_window = window, 0
            if self._in_window >= weather.quota:
                self.mute.append([now, (window + 1) * weather.quota_seconds - weather.quota_begun])
                return False
            self._in_window += 1
        capacity = weather.capacity_at(now)
        if not capacity:
            return True
        burst = max(1.0, weather.burst or round(capacity * 0.05))
        next_admission = max(self._next_admission, now)
        if next_admission - now > (burst - 1) / capacity + 1e-9:
            return False
        self._next_admission = next_admission + 1 / capacity
        return True

    def _refusal(self, now: float) -> Answer:
        self.refused += 1
        weather = self.weather
        if weather.penalty and now >= self._closed_until:
            self._refusals = [when for when in self._refusals if when > now - 10.0] + [now]
            if len(self._refusals) >= weather.penalty:
                self._refusals = []
                self._close(now)
        if weather.retry_after != math.inf:
            return dataclasses.replace(REFUSED, retry_after=weather.retry_after)
        until = max(self._closed_until, self.mute[-1][1] if self.mute else 0.0)
        return dataclasses.replace(REFUSED, retry_after=max(0.0, math.ceil(until - now)))

    def _close(self, now: float) -> None:
        self._closed_until = now + self.weather.penalty_seconds
        self.mute.append([now, self._closed_until])

    def least_seconds(self) -> float:
        """What any client needs, had it known all of this before."""
        weather = self.weather
        mean = weather.latency * math.exp(weather.sigma**2 / 2)
        drip = max(1.0, 10 * weather.latency)
        again = 1 / (1 - weather.errors) / (1 - weather.random_refusals) / (1 - weather.black_holes)
        requests = sum(1 + len(faults) for faults in self._faults) * again
        drips = sum(faults.count("drip") for faults in self._faults)
        lost = weather.npis * (1 / (1 - weather.black_holes) - 1)
        slow = sum(self._is_slow)
        width = min(weather.threads, weather.max_in_flight or weather.threads, weather.slow_above or weather.threads)
        quick_work = (requests - drips - slow - lost) * (mean + WAKING)
        slow_work = (drips + lost) * drip + slow * weather.slow_seconds
        path = max(
            sum(drip if kind == "drip" else 1.0 + mean if kind == "429 wait" else mean for kind in faults)
            + (weather.slow_seconds if is_slow else mean)
            for faults, is_slow in zip(self._faults, self._is_slow, strict=True)
        )
        least = max(
            path, self._seconds_to_admit(requests), self._seconds_to_work(quick_work / width) + slow_work / width
        )
        for start, seconds in sorted(filter(None, (weather.silent, weather.down))):
            least += seconds if start < least else 0.0
        return least

    def _seconds_to_work(self, seconds: float) -> float:
        """When so many seconds of work at the first latency are done, as the latency changes."""
        steps = (*((start, factor) for start, factor in self.weather.latency_steps), (math.inf, 1.0))
        now, factor = 0.0, 1.0
        for start, next_factor in steps:
            if seconds * factor <= start - now:
                return now + seconds * factor
            seconds -= (start - now) / factor
            now, factor = start, next_factor
        raise AssertionError("the last step has no end")

    def _seconds_to_admit(self, requests: float) -> float:
        weather = self.weather
        if weather.quota:
            full = math.ceil(requests / weather.quota) - 1
            quota = full * weather.quota_seconds - weather.quota_begun if full > 0 else 0.0
            return max(quota, self._seconds_of_capacity(requests))
        return self._seconds_of_capacity(requests)

    def _seconds_of_capacity(self, requests: float) -> float:
        weather = self.weather
        requests -= weather.burst
        steps = weather.steps or (((0.0, self._capacity()),) if weather.capacity else ())
        for (start, capacity), (end, _) in itertools.zip_longest(steps, steps[1:], fillvalue=(math.inf, 0.0)):
            if requests <= capacity * (end - start):
                return start + max(0.0, requests) / capacity
            requests -= capacity * (end - start)
        return 0.0

    def _capacity(self) -> float:
        """Requests a second: those that it refuses at random it punishes too, whatever a client does."""
        weather = self.weather
        if not weather.penalty or not weather.random_refusals:
            return weather.capacity
        until_closed = weather.penalty / weather.random_refusals
        never_closed = until_closed / 10.0
        always_closed = until_closed / (until_closed / weather.capacity + weather.penalty_seconds)
        return min(weather.capacity, max(never_closed, always_closed))


@dataclasses.dataclass(frozen=True)
class Run:
    """What a fetch of a simulated day was like."""

    seconds: float
    least: float
    refused: float
    stall: float
    failed: int
    requests: int

    @property
    def over(self) -> float:
        return self.seconds / self.least


def simulate(weather: Weather, seed: int) -> Run:  # noqa: C901 - the loop of the fetch, and the clock
    """A fetch with the product's settings as they are, in simulated time."""
    registry = ModelRegistry(weather, seed)
    settings = FetchSettings(threads=weather.threads)
    rng = random.Random(f"fetch {seed}")
    breaker = Breaker(patience=settings.down_after, now=0.0)
    scheduler = Scheduler(
        map(str, range(weather.npis)),
        settings,
        limiter=Limiter(ceiling=weather.threads),
        breaker=breaker,
        rng=rng,
        now=0.0,
    )
    now = 0.0
    good: list[float] = [0.0]
    settled: list[NpiOutcome] = []
    in_flight: dict[Attempt, tuple[float, int, bool, Answer]] = {}
    due: list[tuple[float, int, Attempt]] = []
    order = itertools.count()

    def answered(attempt: Attempt, answer: Answer) -> None:
        done = scheduler.answered(now, attempt, answer)
        settled.extend([done] if done else [])
        if answer.signal is Signal.good:
            good.append(now)

    while (step := scheduler.next(now)) is not None:
        if isinstance(step, NpiOutcome):
            settled.append(step)
            continue
        if isinstance(step, Attempt):
            seconds, in_work, answer = registry.ask(now, int(step.npi))
            seconds += rng.expovariate(1 / WAKING)
            number = next(order)
            in_flight[step] = (now, number, in_work, dataclasses.replace(answer, seconds=seconds))
            heapq.heappush(due, (now + seconds, number, step))
            continue
        while due and (due[0][2] not in in_flight or in_flight[due[0][2]][1] != due[0][1]):
            heapq.heappop(due)
        until = min(step, now + TICK)
        if due and due[0][0] <= until:
            now, _, attempt = heapq.heappop(due)
            _, _, in_work, answer = in_flight.pop(attempt)
            registry.in_work -= in_work
            answered(attempt, answer)
        else:
            now = until
        if breaker.outage(now):
            break
        for attempt in list(scheduler.to_abort(now)):
            if attempt not in in_flight:
                continue
            sent_at, _, in_work, _ = in_flight.pop(attempt)
            registry.in_work -= in_work
            answered(attempt, dataclasses.replace(TROUBLE, status=None, seconds=now - sent_at))
    if weather.slow:
        # At the end only NPIs are left that always take long.
        registry.mute.append([now - weather.slow_seconds, now])
    failed = sum(one.verdict.outcome is Outcome.failed for one in settled) + weather.npis - len(settled)
    return Run(
        seconds=now,
        least=registry.least_seconds(),
        refused=registry.refused / registry.requests,
        stall=_longest_stall([*good, now], registry.mute),
        failed=failed,
        requests=registry.requests,
    )


def _longest_stall(good: Sequence[float], mute: Iterable[Sequence[float]]) -> float:
    spans: list[list[float]] = []
    for start, end in sorted(mute):
        if spans and start <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([start, end])
    longest = 0.0
    for since, until in itertools.pairwise(good):
        if until - since <= longest:
            continue
        first = max(0, bisect.bisect(spans, [since]) - 1)
        silent = sum(max(0.0, min(end, until) - max(start, since)) for start, end in spans[first:])
        longest = max(longest, until - since - silent)
    return longest


def _mixed(share: float, **more: object) -> Weather:
    return Weather(faults=share, **more)  # type: ignore[arg-type]


def _only(kind: str, share: float, **more: object) -> Weather:
    return Weather(faults=share, kinds=(kind,), **more)  # type: ignore[arg-type]


WEATHERS: dict[str, Weather] = {
    **{f"mix {share:.0%}": _mixed(share) for share in (0.01, 0.05, 0.15, 0.4, 0.6)},
    "mix 15%, 200 ms": _mixed(0.15, latency=0.2, npis=1000),
    "mix 15%, 1 s": _mixed(0.15, latency=1.0, npis=1000),
    "mix 15%, 100 NPIs": _mixed(0.15, npis=100),
    "mix 15%, 10,000 NPIs": _mixed(0.15, npis=10_000),
    "mix 15%, cap 2/s": _mixed(0.15, capacity=2, npis=300),
    "mix 15%, cap 20/s": _mixed(0.15, capacity=20, npis=1000),
    "mix 15%, cap 200/s": _mixed(0.15, capacity=200, npis=3000),
    "mix 15%, cap 1,000/s": _mixed(0.15, capacity=1000, npis=10_000),
    **{f"only 429, {share:.0%}": _only("429", share) for share in (0.05, 0.15, 0.6)},
    **{f"only 429 with Retry-After 1, {share:.0%}": _only("429 wait", share) for share in (0.05, 0.15, 0.6)},
    **{
        f"429 with Retry-After 1 twice each, {share:.0%}": _only("429 wait", share, faulty_tries=(2,))
        for share in (0.05, 0.15, 0.6)
    },
    **{f"only drips, {share:.0%}": _only("drip", share) for share in (0.05, 0.15, 0.6)},
    **{
        f"any refused at random, {share:.0%}": Weather(random_refusals=share, npis=10_000)
        for share in (0.01, 0.02, 0.03, 0.05, 0.1, 0.35)
    },
    "any refused 3%, 200 ms": Weather(random_refusals=0.03, npis=10_000, latency=0.2),
    "silent for 30 s": Weather(npis=10_000, silent=(2.0, 30.0)),
    "silent for 120 s": Weather(npis=10_000, silent=(2.0, 120.0)),
    "silent for 30 s, cap 200/s, 200 ms": Weather(npis=4000, latency=0.2, capacity=200, silent=(8.0, 30.0)),
    "silent for 120 s, cap 200/s, 200 ms": Weather(npis=4000, latency=0.2, capacity=200, silent=(8.0, 120.0)),
    "503 to everything for 30 s": Weather(npis=10_000, down=(2.0, 30.0)),
    "503 to everything for 120 s": Weather(npis=10_000, down=(2.0, 120.0)),
    "300 a calendar minute, begun at :00": Weather(npis=1000, quota=300),
    "300 a calendar minute, begun at :30": Weather(npis=1000, quota=300, quota_begun=30.0),
    "the same with Retry-After": Weather(npis=1000, quota=300, quota_begun=30.0, retry_after=math.inf),
    "100 a calendar second": Weather(npis=3000, quota=100, quota_seconds=1.0),
    "100 a calendar second, 200 ms": Weather(npis=3000, quota=100, quota_seconds=1.0, latency=0.2),
    "bucket of 1,000, then 10/s": Weather(npis=2000, capacity=10, burst=1000),
    "cap 100/s, 30 s of penalty": Weather(npis=5000, capacity=100, penalty=20),
    "cap 100/s, 30 s of penalty, renewed": Weather(npis=5000, capacity=100, penalty=20, penalty_renews=True),
    "503 above 20 in flight": Weather(npis=10_000, max_in_flight=20),
    "503 above 20 in flight, 200 ms": Weather(npis=3000, max_in_flight=20, latency=0.2),
    "503 above 20 in flight, 200 ms, mix 5%": _mixed(0.05, npis=3000, max_in_flight=20, latency=0.2),
    "slower above 20 in flight, 200 ms, mix 5%": _mixed(0.05, npis=3000, slow_above=20, latency=0.2),
    "30% errors, 200 ms": Weather(npis=4000, errors=0.3, latency=0.2),
    "5% of NPIs always take 5 s": Weather(npis=2000, slow=0.05, slow_seconds=5.0),
    "0.5% of NPIs always take 50 s": Weather(npis=2000, slow=0.005, slow_seconds=50.0),
    "200/s, 20/s from 10 s, 200/s from 40 s": Weather(npis=6000, steps=((0.0, 200.0), (10.0, 20.0), (40.0, 200.0))),
}


def random_weather(seed: int) -> Weather:  # noqa: C901, PLR0912 - one draw a kind of weather
    """A registry drawn from the whole space of what is known to happen, several of it at once."""
    draw = random.Random(f"weather {seed}")
    options: dict[str, object] = {
        "latency": math.exp(draw.uniform(math.log(0.005), math.log(1.5))),
        "sigma": draw.uniform(0.1, 0.8),
        "threads": draw.choice((10, 50, 50, 50, 200)),
    }

    def share(of: float) -> bool:
        return draw.random() < of

    if share(0.5):
        options["faults"] = draw.uniform(0.0, 0.6)
        options["kinds"] = tuple(draw.sample(MIX, draw.randint(1, len(MIX))))
        # Of its own, so that all else is drawn as it was before.
        options["faulty_tries"] = random.Random(f"tries {seed}").choice(((3, 2, 1, 1), (1,), (2,), (5,)))
    if share(0.2):
        options["random_refusals"] = draw.uniform(0.0, 0.2)
    if share(0.2):
        options["errors"] = draw.uniform(0.0, 0.3)
    if share(0.15):
        options["black_holes"] = draw.uniform(0.0, 0.02)
    if share(0.15):
        options |= {"slow": draw.uniform(0.0, 0.05), "slow_seconds": draw.uniform(2.0, 20.0)}
    limit = draw.random()
    rate = math.exp(draw.uniform(math.log(2.0), math.log(1000.0)))
    if limit < 0.35:
        options["capacity"] = rate
        if share(0.3):
            options["burst"] = float(draw.randint(1, 500))
        if share(0.2):
            options |= {"penalty": draw.randint(10, 60), "penalty_seconds": draw.uniform(5.0, 60.0)}
            options["penalty_renews"] = share(0.3)
    elif limit < 0.45:
        first, second = draw.uniform(3.0, 20.0), draw.uniform(25.0, 50.0)
        options["steps"] = ((0.0, rate), (first, rate * draw.uniform(0.1, 3.0)), (second, rate))
    elif limit < 0.55:
        seconds = draw.choice((1.0, 1.0, 10.0, 60.0))
        quota = max(1, round(rate * seconds))
        options |= {"quota": quota, "quota_seconds": seconds, "quota_begun": draw.uniform(0.0, seconds)}
    elif limit < 0.65:
        options["max_in_flight"] = draw.randint(2, 80)
    elif limit < 0.75:
        options["slow_above"] = draw.randint(4, 80)
    if share(0.3):
        options["retry_after"] = draw.choice((0.0, 1.0, math.inf))
    if share(0.1):
        options["silent"] = (draw.uniform(0.5, 10.0), draw.uniform(5.0, 90.0))
    elif share(0.1):
        options["down"] = (draw.uniform(0.5, 10.0), draw.uniform(5.0, 90.0))
    if share(0.1):
        options["latency_steps"] = ((draw.uniform(1.0, 10.0), draw.uniform(0.3, 5.0)),)
    # A list that takes about a minute at best, so that neither the start nor the end is all there is.
    one = ModelRegistry(Weather(npis=2000, **options), seed)  # type: ignore[arg-type]
    pace = 2000 / max(1.0, one.least_seconds() - sum(end - start for start, end in one.mute))
    options["npis"] = int(min(20_000, max(100, pace * draw.uniform(10.0, 90.0))))
    return Weather(**options)  # type: ignore[arg-type]


def _run(job: tuple[Weather, int]) -> Run:
    return simulate(*job)


def _runs(jobs: Sequence[tuple[Weather, int]]) -> list[Run]:
    with multiprocessing.Pool() as pool:
        return pool.map(_run, jobs, chunksize=1)


def show_named(name: str, seeds: int, first_seed: int) -> None:
    names = [each for each in WEATHERS if name in each]
    runs = _runs([(WEATHERS[each], first_seed + seed) for each in names for seed in range(seeds)])
    print("| registry | least | median | worst | median over | refused | stall | failed | requests | |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    missed = 0
    for each, these in zip(names, _batches(runs, seeds), strict=True):
        least = statistics.median(run.least for run in these)
        median = statistics.median(run.seconds for run in these)
        worst = max(run.seconds for run in these)
        refused = statistics.median(run.refused for run in these)
        stall = statistics.median(run.stall for run in these)
        failed = sum(run.failed for run in these)
        is_met = all(
            (
                median <= 1.3 * least + 3,
                all(run.seconds <= 2 * run.least + 3 for run in these),
                stall <= 5,
                not failed,
            )
        )
        missed += not is_met
        print(
            f"| {each} | {least:.1f} | {median:.1f} | {worst:.1f} | {median / least:.2f} | {refused:.1%} | {stall:.1f} "
            f"| {failed} | {these[0].requests:,} | {'' if is_met else 'X'} |",
            flush=True,
        )
    print(f"\n{missed} of {len(names)} are not within 1.3 x least + 3 s (worst: 2 x + 3 s), or stall, or fail NPIs")


def _batches(runs: Sequence[Run], size: int) -> Iterable[Sequence[Run]]:
    return (runs[start : start + size] for start in range(0, len(runs), size))


def show_random(count: int, first_seed: int) -> None:
    seeds = range(first_seed, first_seed + count)
    jobs = [(random_weather(seed), seed) for seed in seeds]
    runs = _runs(jobs)
    ratios = sorted(run.over for run in runs)
    marks = {percent: ratios[min(count - 1, count * percent // 100)] for percent in (10, 50, 75, 90, 95, 99)}
    print(f"{count} registries drawn at random, seeds {seeds[0]} to {seeds[-1]}: seconds over the least possible")
    print("  ".join(f"p{percent} {value:.2f}" for percent, value in marks.items()), f" worst {ratios[-1]:.2f}")
    is_within = sum(run.seconds <= 1.3 * run.least + 3 for run in runs)
    print(f"within 1.3 x least + 3 s: {is_within}; NPIs failed in {sum(run.failed > 0 for run in runs)}")
    print("\nthe ten worst:")
    for (weather, seed), run in sorted(zip(jobs, runs, strict=True), key=lambda pair: -pair[1].over)[:10]:
        said = {
            field.name: value
            for field in dataclasses.fields(weather)
            if (value := getattr(weather, field.name)) != field.default
        }
        said = {name: round(value, 3) if isinstance(value, float) else value for name, value in said.items()}
        print(
            f"  seed {seed}: {run.seconds:.1f} of {run.least:.1f} s ({run.over:.2f}), refused {run.refused:.1%}, "
            f"stall {run.stall:.1f} s, failed {run.failed}: {said}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--registry", default="", help="only registries whose name holds this")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="N registries drawn at random instead")
    arguments = parser.parse_args()
    if arguments.random:
        show_random(arguments.random, arguments.first_seed)
    else:
        show_named(arguments.registry, arguments.seeds, arguments.first_seed)


if __name__ == "__main__":
    main()
