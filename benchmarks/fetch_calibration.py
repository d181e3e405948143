"""The fetch against the script that it replaces, on the registry calibrated to that script's own figures.

    python benchmarks/fetch_calibration.py [--quick]

2,000 NPIs; latency lognormal with median 203 ms; 167 requests per second, more are refused with 429 and `Retry-After:
0` after 30 ms; 3 % random 5xx. The script's own figures, 50 to 70 s with 20 threads and 28 s with 200, come out of its
method on this registry. The runs are interleaved; the table holds medians. The floor is the time in which the registry
admits as many requests as are needed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import requests

from npi_pipeline.http_fetch.fetch import fetch
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry

CAPACITY = 167
CALIBRATED = {
    "latency": 0.203,
    "latency_sigma": 0.4,
    "capacity": CAPACITY,
    "retry_after": 0,
    "error_share": 0.03,
}


def the_script(registry: EmulatedRegistry, npis: list[str], threads: int) -> int:
    """Its method: a random sleep before each NPI, a plain get, and sleeping in the thread before each repeat."""

    def get_npi_data(npi: str) -> bool:
        time.sleep(random.uniform(0, 0.66))
        for attempt in range(10):
            response = requests.get(registry.url.format(npi=npi))
            if response.status_code == 200:
                response.json()
                return True
            time.sleep(min(3**attempt, 15))
        return False

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(get_npi_data, npis))


def the_fetch(registry: EmulatedRegistry, npis: list[str], threads: int) -> int:
    fetching = fetch(iter(npis), Registry(FORMATS["nppes"], registry.url), FetchSettings(threads=threads))
    return sum(outcome.verdict.outcome is outcome_of(outcome.npi, registry.behaviour.seed) for outcome in fetching)


METHODS: dict[str, Callable[[EmulatedRegistry, list[str]], int]] = {
    "the script, 20 threads": lambda registry, npis: the_script(registry, npis, 20),
    "the script, 200 threads": lambda registry, npis: the_script(registry, npis, 200),
    "fetch, as it is set (50 threads)": lambda registry, npis: the_fetch(registry, npis, 50),
    "fetch, 200 threads": lambda registry, npis: the_fetch(registry, npis, 200),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="one round of 1,000 NPIs, the script with 200 threads only"
    )
    arguments = parser.parse_args()
    npis = list(npi_numbers(1000 if arguments.quick else 2000))
    methods = [name for name in METHODS if not (arguments.quick and name == "the script, 20 threads")]
    runs: dict[str, list[tuple[float, float, int, int, int]]] = {name: [] for name in methods}
    for round_number in range(1 if arguments.quick else 3):
        for name in methods:
            with emulated_registry(seed=round_number, **CALIBRATED) as registry:
                least = registry.behaviour.least_requests(npis)
                started, cpu = time.monotonic(), time.process_time()
                right = METHODS[name](registry, npis)
                seconds, cpu = time.monotonic() - started, time.process_time() - cpu
                stats = registry.stats()
                runs[name].append((seconds, seconds / (least / CAPACITY), stats.requests, stats.refused, right))
                print(f"  round {round_number + 1}, {name}: {seconds:.1f} s, {cpu:.1f} CPU s", flush=True)
    print("\n| method | seconds | over the floor | requests | refused | right |\n|---|---|---|---|---|---|")
    for name, results in runs.items():
        seconds, over, asked, refused, right = (statistics.median(column) for column in zip(*results, strict=True))
        print(f"| {name} | {seconds:.1f} | {over:.2f} | {asked:,.0f} | {refused / asked:.1%} | {right:,.0f} |")
    best_script = min(statistics.median(run[0] for run in runs[name]) for name in runs if "script" in name)
    ours = statistics.median(run[0] for run in runs["fetch, as it is set (50 threads)"])
    print(f"\nThe fetch, as it is set, is {best_script / ours:.1f} times as fast as the script at its best.")


if __name__ == "__main__":
    main()
