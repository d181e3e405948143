"""A day's fetch killed by SIGKILL at random moments and begun again, on a local root and on S3 that refuses at random.

    python benchmarks/kills.py [--quick]

After each kill the journal is read; at the end every NPI must have its true outcome, no part may be damaged, and no NPI
that the journal held when a run was killed may have been asked for again (but for what was not found by a run that
was killed before it found anything: a registry that knows nobody is not believed).
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime as dt
import multiprocessing
import os
import random
import tempfile
import time

import polars as pl

from npi_pipeline.journal import compacted_parts, read_outcomes
from npi_pipeline.npi_list import parse_npi_list
from npi_pipeline.npi_records.record_outcomes import record_outcomes
from npi_pipeline.outcomes import Outcome
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry
from npi_pipeline.testing.s3 import local_s3

DAY = dt.date(2026, 11, 23)
THREADS = 20
# A run is killed up to so many seconds after the registry saw its first request.
LONGEST = 2.0


def run_day(environment: dict[str, str], data_root: str, npis: list[str], url: str) -> None:
    """What a run of npi_records does, without Dagster around it."""
    os.environ.update(environment)
    npi_list = parse_npi_list("\n".join(["npi", *npis]).encode())
    settings = FetchSettings(threads=THREADS, wait=0.05)
    record_outcomes(open_data_root(data_root), DAY, npi_list, Registry(FORMATS["nppes"], url), settings)


def sweep(data_root: str, kills: int, registry: EmulatedRegistry) -> str:
    """Kill ``kills`` runs and let the next one end; what was seen, on one line."""
    # Forked from a clean process: the threads of this one would not survive a fork.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["npi_pipeline.npi_records.record_outcomes", "boto3"])
    npis = list(npi_numbers(kills * 400, seed=4))
    rng = random.Random(1)
    root = open_data_root(data_root)
    asked_again = 0
    kept: set[str] = set()
    asked_when_kept: dict[str, int] = {}
    done = 0
    while done < kills:
        before = registry.stats().requests
        process = processes.Process(target=run_day, args=(dict(os.environ), data_root, npis, registry.url))
        process.start()
        while process.is_alive() and registry.stats().requests == before:
            time.sleep(0.01)
        process.join(rng.uniform(0.0, LONGEST))
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        done += 1
        asked = registry.requests_by_npi()
        again = {npi for npi, times in asked_when_kept.items() if asked[npi] > times}
        asked_again += sum(outcome_of(npi) is Outcome.found for npi in again)
        kept = set(read_outcomes(root, DAY)["npi"])
        asked_when_kept = {npi: asked[npi] for npi in kept}
    last = processes.Process(target=run_day, args=(dict(os.environ), data_root, npis, registry.url))
    last.start()
    last.join()
    assert last.exitcode == 0
    outcomes = pl.concat(compacted_parts(root, DAY))
    assert dict(outcomes.select("npi", "outcome").iter_rows()) == {npi: outcome_of(npi).value for npi in npis}
    assert not root.list(f"journal/day={DAY}/damaged")
    assert asked_again == 0
    times = collections.Counter(registry.requests_by_npi().values())
    extra = registry.stats().requests - len(npis)
    return (
        f"{done} kills of {len(npis):,} NPIs: every outcome right, no part damaged, none asked for that the journal "
        f"held; {extra / done:.1f} requests per kill beyond the least (asked once: {times[1]:,}, more often: "
        f"{sum(times.values()) - times[1]:,})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 kills on each root instead of 100 and 30")
    quick = parser.parse_args().quick
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        registry = stack.enter_context(emulated_registry(latency=0.05))
        print("local:", sweep(folder, 10 if quick else 100, registry), flush=True)
    with local_s3() as s3, emulated_registry(latency=0.05) as registry:
        os.environ.update(s3.environment)
        s3.create_bucket("kills")
        s3.misbehave(refused_share=0.05, seed=1)
        print("s3:", sweep("s3://kills/data", 10 if quick else 30, registry), flush=True)


if __name__ == "__main__":
    main()
