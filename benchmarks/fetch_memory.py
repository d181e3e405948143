"""Memory and rate of a long fetch: the resident set must not grow with the number of NPIs.

    python benchmarks/fetch_memory.py [--quick]

Each size runs in a process of its own, against the emulated registry at no latency.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

from npi_pipeline.http_fetch.fetch import fetch
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import emulated_registry


def measure(url: str, count: int) -> None:
    started, cpu = time.monotonic(), time.process_time()
    outcomes = sum(1 for _ in fetch(npi_numbers(count), Registry(FORMATS["nppes"], url), FetchSettings()))
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"outcomes": outcomes, "seconds": seconds, "cpu": cpu, "peak": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10k and 30k instead of 10k, 100k and 1M")
    parser.add_argument("--measure", nargs=2, metavar=("URL", "COUNT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], int(arguments.measure[1]))
        return
    print("| NPIs | peak MB | seconds | NPIs/s | CPU µs an NPI |\n|---|---|---|---|---|")
    for count in (10_000, 30_000) if arguments.quick else (10_000, 100_000, 1_000_000):
        with emulated_registry() as registry:
            command = [sys.executable, __file__, "--measure", registry.url, str(count)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        assert found["outcomes"] == count
        seconds, cpu = found["seconds"], found["cpu"] / count * 1e6
        print(f"| {count:,} | {found['peak']:.0f} | {seconds:.1f} | {count / seconds:,.0f} | {cpu:.0f} |", flush=True)


if __name__ == "__main__":
    main()
