"""Cancelled at random moments and begun again: nothing lost, nothing asked twice beyond what was in flight.

python benchmarks/fetch_cancel.py [--quick]
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time

from npi_pipeline.http_fetch.fetch import fetch
from npi_pipeline.outcomes import Outcome
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import emulated_registry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 cancellations instead of 100")
    cancellations = 20 if parser.parse_args().quick else 100
    rng = random.Random(1)
    npis = list(npi_numbers(cancellations * 60))
    known: dict[str, Outcome] = {}
    seconds_to_stop: list[float] = []
    with emulated_registry(latency=0.05, latency_sigma=0.8, error_share=0.05) as registry:
        for number in range(cancellations + 1):
            stop = threading.Event()
            set_at = 0.0
            left = [npi for npi in npis if npi not in known]
            leave_after = rng.randrange(120) if number < cancellations else -1
            by_event = rng.random() < 0.5
            nppes = Registry(FORMATS["nppes"], registry.url)
            for count, outcome in enumerate(fetch(left, nppes, FetchSettings(wait=0.05), stop=stop)):
                assert outcome.npi not in known
                known[outcome.npi] = outcome.verdict.outcome
                if count == leave_after:
                    set_at = time.monotonic()
                    stop.set()
                    if not by_event:
                        break
            if set_at:
                seconds_to_stop.append(time.monotonic() - set_at)
            lingering = [thread for thread in threading.enumerate() if thread.name.startswith("npi-fetch")]
            assert not lingering, lingering
        stats = registry.stats()
        needed = registry.behaviour.least_requests(npis)
    assert known == {npi: outcome_of(npi) for npi in npis}
    print(f"{len(seconds_to_stop)} cancellations of a fetch of {len(npis):,} NPIs: every outcome right.")
    median, most = statistics.median(seconds_to_stop), max(seconds_to_stop)
    print(f"Seconds until it had stopped: median {median:.3f}, most {most:.3f}.")
    extra = (stats.requests - needed) / max(1, len(seconds_to_stop))
    print(f"Requests beyond the least for each cancellation: {extra:.1f}; broken off in flight: {stats.abandoned}.")


if __name__ == "__main__":
    main()
