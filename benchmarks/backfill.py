"""A backfill of thirty days by the real daemon, the settings of deploy/dagster.yaml, and one day that fails.

    PYTHONPATH=. python benchmarks/backfill.py [--days 30] [--npis 2000] [--servers]

With ``--servers`` the data root lies in S3 and Dagster's storage in PostgreSQL. Two runs at a time are at work.
Printed are the wall time per day, what the registry saw, and the memory of all processes; then the failed day is
repaired alone. At the end every day must be complete and hold what its checks claim.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import yaml

from npi_pipeline.days.paths import published_days
from npi_pipeline.proofs.state_files import every_npi_is_accounted_for, state_files_match_the_manifest
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import emulated_registry
from npi_pipeline.testing.s3 import local_s3
from npi_pipeline_tests.delivery.postgresql import postgresql_server
from npi_pipeline_tests.deployment import Deployment

FIRST = dt.date(2026, 9, 1)
KEY = "lists/{date:%Y-%m-%d}.txt"
FAILING = 17
REQUESTS_PER_SECOND = 200
THREADS = 50
CONFIG = yaml.safe_load((Path(__file__).parents[1] / "deploy/dagster.yaml").read_text())


class PeakMemory:
    """The largest sum of the resident memory of a process and all below it, looked at twice per second."""

    def __init__(self, process_id: int) -> None:
        self.megabytes = 0.0
        self._root = psutil.Process(process_id)
        self._ended = threading.Event()

    def watch(self) -> None:
        while not self._ended.wait(0.5):
            with contextlib.suppress(psutil.Error):
                processes = [self._root, *self._root.children(recursive=True)]
                self.megabytes = max(self.megabytes, sum(map(_resident, processes)) / 1e6)

    def end(self) -> None:
        self._ended.set()


def _resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


@contextlib.contextmanager
def peak_memory(process_id: int) -> Iterator[PeakMemory]:
    peak = PeakMemory(process_id)
    thread = threading.Thread(target=peak.watch, daemon=True)
    thread.start()
    yield peak
    peak.end()
    thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--npis", type=int, default=2000)
    parser.add_argument("--servers", action="store_true", help="the data root in S3, Dagster's storage in PostgreSQL")
    arguments = parser.parse_args()
    days = [str(FIRST + dt.timedelta(days=ahead)) for ahead in range(arguments.days)]
    failing = days[min(FAILING, len(days)) - 1]
    npis = sorted(npi_numbers(arguments.npis, seed=17))
    with (
        tempfile.TemporaryDirectory() as folder,
        local_s3() as s3,
        emulated_registry(latency=0.1, latency_sigma=0.4) as registry,
        postgresql_server() if arguments.servers else contextlib.nullcontext("") as database,
    ):
        config = CONFIG
        for day in days:
            if day != failing:
                s3.put_list("lists", KEY.format(date=dt.date.fromisoformat(day)), npis)
        settings = {
            **s3.environment,
            "NPI_LIST_BUCKET": "lists",
            "NPI_LIST_KEY": KEY,
            "NPI_REGISTRY_URL": registry.url,
            "NPI_START_DATE": days[0],
            "NPI_THREADS": str(THREADS),
            "NPI_REQUESTS_PER_SECOND": str(REQUESTS_PER_SECOND),
        }
        if arguments.servers:
            s3.create_bucket("data")
            os.environ |= s3.environment
            settings["NPI_DATA_ROOT"] = "s3://data/npi"
            driver = database.replace("postgresql:", "postgresql+psycopg2:")
            config = {**CONFIG, "storage": {"postgres": {"postgres_url": driver}}}
        deployment = Deployment(Path(folder), settings, config)
        root = open_data_root(deployment.settings.files.data_root)
        state_files_dir = deployment.settings.files.state_files_dir
        first, last = map(dt.date.fromisoformat, (days[0], days[-1]))
        with deployment.daemon() as daemon, peak_memory(daemon.pid) as peak:
            began = time.monotonic()
            backfill = deployment.backfill(days)
            deployment.wait_until(lambda: deployment.is_over(backfill), daemon, patience_seconds=3600)
            seconds = time.monotonic() - began
            statuses = deployment.statuses()
            complete = len(published_days(root, state_files_dir, first, last))
            runs = [record for record in deployment.instance.get_run_records() if record.end_time and record.start_time]
            lengths = sorted(record.end_time - record.start_time for record in runs)
            print(
                f"{len(days)} days, {len(npis):,} NPIs each: {complete} complete, "
                f"{sum(status == ['FAILURE'] for status in statuses.values())} failed ({failing})"
            )
            print(
                f"{seconds:.0f} s in all, {seconds / len(days):.1f} s per day; a run takes "
                f"{lengths[len(lengths) // 2]:.1f} s (median), {lengths[-1]:.1f} s (longest: the one that asks)"
            )
            stats = registry.stats()
            print(
                f"registry: {stats.requests:,} requests, {stats.requests / len(npis):.3f} times one list's; at most "
                f"{stats.peak_in_flight} in flight (limit {THREADS}), {stats.peak_requests_in_a_second} in a second "
                f"(limit {REQUESTS_PER_SECOND})"
            )
            print(f"memory: {peak.megabytes:.0f} MB, all processes together")

            s3.put_list("lists", KEY.format(date=dt.date.fromisoformat(failing)), npis)
            began = time.monotonic()
            repair = deployment.backfill([failing])
            deployment.wait_until(lambda: deployment.is_over(repair), daemon)
            print(
                f"{failing} repaired alone in {time.monotonic() - began:.0f} s: {deployment.statuses()[failing]}, "
                f"{registry.stats().requests - stats.requests} requests more"
            )
        for day in map(dt.date.fromisoformat, days):
            for claim in (every_npi_is_accounted_for, state_files_match_the_manifest):
                finding = claim(root, day, deployment.settings.files)
                assert finding.holds, finding.line
        assert len(published_days(root, state_files_dir, first, last)) == len(days)
        deployment.instance.dispose()
        print("every day is complete and holds what its checks claim")


if __name__ == "__main__":
    main()
