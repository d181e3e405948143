"""Every fault alone and all at once, at 60 % of first tries: right outcomes, and how many requests it took.

    python benchmarks/fetch_faults.py [--quick]

The least is one request for each NPI and one more for each fault that the plan has for it. The last row is a registry
that closes its port for a minute (five seconds with --quick), with everything as it is set.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from npi_pipeline.http_fetch.client import Client
from npi_pipeline.http_fetch.fetch import fetch
from npi_pipeline.http_fetch.network import Network
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.testing.behaviour import FAULTS
from npi_pipeline.testing.providers import answer, npi_numbers, outcome_of
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry

SETTINGS = FetchSettings(read_timeout=2, request_timeout=4, max_body_bytes=1_000_000)


def show(name: str, registry: EmulatedRegistry, count: int, settings: FetchSettings, close_after: int = 0) -> None:
    npis = list(npi_numbers(count))
    fetching = fetch(iter(npis), Registry(FORMATS["nppes"], registry.url), settings)
    right = 0
    started = time.monotonic()
    for number, outcome in enumerate(fetching, start=1):
        truth = outcome_of(outcome.npi), answer(outcome.npi).decode()
        right += (outcome.verdict.outcome, outcome.body) == truth
        if number == close_after:
            registry.configure(down="closed", down_seconds=registry_is_closed_for)
    seconds = time.monotonic() - started
    least = registry.behaviour.least_requests(npis)
    asked = registry.stats().requests
    print(f"| {name} | {right} of {count} | {asked} | {least} | {asked / least:.3f} | {seconds:.1f} |", flush=True)


def dns_failure() -> None:
    registry = Registry(FORMATS["nppes"], "http://no-such-host.invalid/?number={npi}")
    verdict = Client(registry, SETTINGS, Network.from_environment(registry)).ask("1234567893").verdict
    print(f"\nA name that does not resolve is `{verdict.reason}`, to be asked again: {verdict.retryable}.")


def main() -> None:
    global registry_is_closed_for  # noqa: PLW0603
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="40 NPIs instead of 300, closed for five seconds")
    arguments = parser.parse_args()
    count = 40 if arguments.quick else 300
    registry_is_closed_for = 5.0 if arguments.quick else 60.0
    print("| fault | right outcomes | requests | the least | ratio | seconds |\n|---|---|---|---|---|---|")
    plans: dict[str, dict[str, Any]] = {fault: {"fault_kinds": [fault]} for fault in FAULTS}
    plans["all at once"] = {}
    plans["all at once, on the first two tries, and 3 % of all"] = {"fault_tries": 2, "error_share": 0.03}
    for name, plan in plans.items():
        with emulated_registry(fault_share=0.6, latency=0.02, **plan) as registry:
            show(name, registry, count, SETTINGS)
    with emulated_registry(latency=0.05) as registry:
        many = 3000 if arguments.quick else 20_000
        name = f"closed for {registry_is_closed_for:.0f} s"
        show(name, registry, many, FetchSettings(), close_after=many // 10)
    dns_failure()


if __name__ == "__main__":
    main()
