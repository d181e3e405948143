"""How close the fetch comes to what a registry permits, as it is set, whatever the registry's limit is.

    python benchmarks/fetch_registries.py [--quick]

Real requests to the emulated registry. The floor is the time in which it admits, or can work on, as many requests as
are needed; for a cap on requests in flight and for no cap at all, that is latency over the requests in flight.
"""

from __future__ import annotations

import argparse
import math
import threading
import time
from typing import Any

from npi_pipeline.http_fetch.fetch import fetch
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import emulated_registry

LATENCY = {"latency": 0.2, "latency_sigma": 0.4}
MEAN_LATENCY = 0.2 * math.exp(0.4**2 / 2)
STEP_SECONDS = 10.0


def fetch_all(count: int, threads: int, changes: list[dict[str, Any]], **behaviour: Any) -> tuple[float, int, int]:
    """Seconds, requests and refusals; ``changes`` of the registry follow each other after each step."""
    npis = list(npi_numbers(count))
    with emulated_registry(**behaviour) as registry:
        timers = [
            threading.Timer(number * STEP_SECONDS, registry.configure, kwargs=change)
            for number, change in enumerate(changes, start=1)
        ]
        for timer in timers:
            timer.start()
        fetching = fetch(iter(npis), Registry(FORMATS["nppes"], registry.url), FetchSettings(threads=threads))
        started = time.monotonic()
        right = sum(outcome.verdict.outcome is outcome_of(outcome.npi) for outcome in fetching)
        seconds = time.monotonic() - started
        for timer in timers:
            timer.cancel()
        assert right == count, f"{count - right} NPIs have a wrong outcome"
        stats = registry.stats()
        return seconds, stats.requests, stats.refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="ten seconds for each registry, and fewer of them")
    arguments = parser.parse_args()
    seconds = 10 if arguments.quick else 30
    print("| registry | NPIs | seconds | over the floor | refused |\n|---|---|---|---|---|")

    def show(name: str, count: int, floor: float, measured: tuple[float, int, int]) -> None:
        took, asked, refused = measured
        print(f"| {name} | {count:,} | {took:.1f} | {took / floor:.2f} | {refused / asked:.1%} |", flush=True)

    for capacity in (20, 200) if arguments.quick else (2, 5, 20, 100, 200, 500, 1000):
        count = capacity * seconds
        threads = 400 if capacity >= 500 else 100
        show(f"{capacity} a second", count, seconds, fetch_all(count, threads, [], capacity=capacity, **LATENCY))
    # Half the capacity after ten seconds, double that after twenty.
    count = int(STEP_SECONDS * (160 + 80) + 160 * (seconds - 20)) if not arguments.quick else int(STEP_SECONDS * 160)
    steps = [{"capacity": 80}, {"capacity": 160}]
    floor = seconds if not arguments.quick else STEP_SECONDS
    show(
        "160 a second, 80 from 10 s, 160 from 20 s", count, floor, fetch_all(count, 100, steps, capacity=160, **LATENCY)
    )
    for name, behaviour in {
        "503 above 40 in flight": {"max_in_flight": 40},
        "slower above 40 in flight": {"slow_above": 40},
    }.items():
        count = int(40 / MEAN_LATENCY * seconds)
        show(name, count, seconds, fetch_all(count, 100, [], **behaviour, **LATENCY))
    for threads, latency in ((50, 0.1),) if arguments.quick else ((50, 0.1), (50, 0.6), (200, 0.6)):
        count = int(threads / latency * seconds)
        name = f"no limit, {latency * 1000:.0f} ms, {threads} threads"
        show(name, count, seconds, fetch_all(count, threads, [], latency=latency))


if __name__ == "__main__":
    main()
