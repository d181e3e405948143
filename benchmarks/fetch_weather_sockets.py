"""A dozen registries in bad weather as real servers: the fetch as it is set, over real sockets.

    python benchmarks/fetch_weather_sockets.py [--quick]

The emulated registry plays the faults of ``fetch_weather`` on the first two tries of a share of the NPIs; that table,
in simulated time, has more registries and seeds. The least is what it takes to be admitted, or to be worked on, as
often as is needed; a drip counts as a second.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

from npi_pipeline.http_fetch.fetch import fetch
from npi_pipeline.outcomes import Outcome
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.testing.behaviour import Behaviour
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import emulated_registry

MIX = (
    "500",
    "429",
    "429_retry_after",
    "reset",
    "truncated",
    "html_200",
    "another_npi",
    "slow_drip",
    "empty",
    "502",
    "503_html",
)
SIGMA = 0.4
REGISTRIES: dict[str, tuple[int, dict[str, Any]]] = {
    "mix 15 %": (900, {"fault_share": 0.15}),
    "mix 60 %": (900, {"fault_share": 0.6}),
    "mix 15 %, 200 ms": (900, {"fault_share": 0.15, "latency": 0.2}),
    "mix 15 %, cap 20/s": (300, {"fault_share": 0.15, "capacity": 20}),
    "mix 15 %, cap 200/s": (2000, {"fault_share": 0.15, "capacity": 200}),
    "only 429, 15 %": (900, {"fault_share": 0.15, "fault_kinds": ["429"]}),
    "only 429 with Retry-After, 15 %": (900, {"fault_share": 0.15, "fault_kinds": ["429_retry_after"]}),
    "only drips, 5 %": (900, {"fault_share": 0.05, "fault_kinds": ["slow_drip"]}),
    "only resets, 60 %": (900, {"fault_share": 0.6, "fault_kinds": ["reset"]}),
    "503 above 20 in flight, mix 5 %, 200 ms": (900, {"fault_share": 0.05, "max_in_flight": 20, "latency": 0.2}),
    "30 % errors, 200 ms": (900, {"error_share": 0.3, "latency": 0.2}),
    "closed for 10 s from the start": (900, {"down": "closed", "down_seconds": 10.0}),
}


def least_seconds(behaviour: Behaviour, npis: list[str]) -> float:
    """What any client of 50 threads needs, had it known the plan before."""
    plans = [behaviour.planned_faults(npi) for npi in npis]
    latency = behaviour.latency * math.exp(SIGMA**2 / 2)
    requests = len(npis) + sum(len(plan) for plan in plans)
    drips = sum(plan.count("slow_drip") for plan in plans)
    work = (requests - drips) * latency + drips * max(1.0, 10 * latency)
    slowest = max(
        sum(1.0 if fault in {"slow_drip", "429_retry_after"} else latency for fault in plan) + latency for plan in plans
    )
    admission = requests / behaviour.capacity if behaviour.capacity else 0.0
    width = min(50, behaviour.max_in_flight or 50)
    return max(work / width, slowest, admission) + behaviour.down_seconds


def show(name: str, format_name: str, count: int, options: dict[str, Any]) -> None:
    """One registry, asked with the settings as they are."""
    npis = list(npi_numbers(count))
    plan = {"latency": 0.02, "latency_sigma": SIGMA, "fault_tries": 2, "fault_kinds": MIX, **options}
    if format_name != "nppes":
        plan["fault_kinds"] = [kind for kind in plan["fault_kinds"] if kind != "another_npi"]
    with emulated_registry(**plan) as server:
        url = server.url if format_name == "nppes" else server.affiliated_practices_url
        fetching = fetch(iter(npis), Registry(FORMATS[format_name], url), FetchSettings())
        started = time.monotonic()
        outcomes = {outcome.npi: outcome.verdict.outcome for outcome in fetching}
        seconds = time.monotonic() - started
        least = least_seconds(server.behaviour, npis)
    # In the other format every NPI is found.
    truth = outcome_of if format_name == "nppes" else lambda _: Outcome.found
    right = sum(outcomes[npi] is truth(npi) for npi in npis)
    report = fetching.report
    refused = report.refused / report.attempts
    print(
        f"| {name} | {format_name} | {right} of {count} | {report.attempts:,} | {refused:.1%} | {least:.1f} "
        f"| {seconds:.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only the two mixes of everything, in both formats")
    arguments = parser.parse_args()
    print("| registry | format | right | requests | refused | least | seconds |\n|---|---|---|---|---|---|---|")
    for name, (count, options) in list(REGISTRIES.items())[: 2 if arguments.quick else None]:
        show(name, "nppes", count, options)
    for name, (count, options) in list(REGISTRIES.items())[:2]:
        show(name, "affiliated_practices", count, options)


if __name__ == "__main__":
    main()
