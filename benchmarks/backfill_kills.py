"""A backfill whose daemon, runs and web server are killed by SIGKILL at random, alone and all at once.

    PYTHONPATH=. python benchmarks/backfill_kills.py [--kills 12] [--days 8] [--seed 1]

What was killed is started again. At every kill no published day may be half there; at the end every day must be
complete and hold what its checks claim, with no slot of the pool and no run left over.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime as dt
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from npi_pipeline.orchestration.assets.npi_records import REGISTRY_POOL
from npi_pipeline.proofs.state_files import every_npi_is_accounted_for, state_files_match_the_manifest
from npi_pipeline.state_files.verification import verify_published
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import emulated_registry
from npi_pipeline.testing.s3 import local_s3
from npi_pipeline_tests.deployment import Deployment

FIRST = dt.date(2026, 9, 1)
KEY = "lists/{date:%Y-%m-%d}.txt"
# A kill comes so many seconds after the last, at most: some hit a start, some a fetch, some a publishing.
LONGEST = 15.0


class Services:
    """The daemon and the web server, and whatever an earlier daemon left running."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._groups: list[subprocess.Popen[bytes]] = []
        self.start()

    def start(self) -> None:
        """Start what is not running."""
        if not self._groups or self._daemon.poll() is not None:
            self._daemon = self._deployment.start_daemon()
            self._groups.append(self._daemon)
        if len(self._groups) == 1 or self._webserver.poll() is not None:
            self._webserver = self._deployment.start_webserver()
            self._groups.append(self._webserver)

    def kill(self, what: str) -> bool:
        """Kill one kind of process, or all; whether there was one."""
        if what == "all":
            for group in self._groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group.pid, signal.SIGKILL)
                group.wait()
            return True
        if what == "run":
            workers = list(self._runs())
            for worker in workers:
                with contextlib.suppress(psutil.Error):
                    worker.kill()
            return bool(workers)
        process = self._daemon if what == "daemon" else self._webserver
        process.kill()
        process.wait()
        return True

    def _runs(self) -> Iterator[psutil.Process]:
        """The processes that runs are executed in, as the code servers start them."""
        groups = {group.pid for group in self._groups}
        for process in psutil.process_iter(["cmdline"]):
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if "spawn_main" in " ".join(process.info["cmdline"] or ()) and os.getpgid(process.pid) in groups:
                    yield process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--days", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    days = [str(FIRST + dt.timedelta(days=ahead)) for ahead in range(arguments.days)]
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder, local_s3() as s3, emulated_registry(latency=0.05) as registry:
        # Other NPIs every day, so that each day has something to fetch and to lose.
        npis = list(npi_numbers(600 * len(days), seed=19))
        for number, day in enumerate(days):
            key = KEY.format(date=dt.date.fromisoformat(day))
            s3.put_list("lists", key, npis[600 * number : 600 * (number + 1)])
        settings = {
            **s3.environment,
            "NPI_LIST_BUCKET": "lists",
            "NPI_LIST_KEY": KEY,
            "NPI_REGISTRY_URL": registry.url,
            "NPI_START_DATE": days[0],
            "NPI_THREADS": "5",
        }
        deployment = Deployment(Path(folder), settings)
        root = open_data_root(str(deployment.data_root))
        services = Services(deployment)
        began = time.monotonic()
        killed: collections.Counter[str] = collections.Counter()
        backfills = [deployment.backfill(days)]
        try:
            while killed.total() < arguments.kills and not deployment.is_over(backfills[-1]):
                time.sleep(rng.uniform(0.0, LONGEST))
                what = rng.choice(["daemon", "run", "webserver", "all"])
                killed[what] += services.kill(what)
                for day in deployment.published_days():
                    assert list(verify_published(root, "state_files", dt.date.fromisoformat(day))) == []
                services.start()
            deployment.wait_until(lambda: deployment.is_over(backfills[-1]), patience_seconds=900)
            # Killed more often than a run is tried again: what an operator does, or the schedule of the next day.
            while left := sorted(set(days) - set(deployment.published_days())):
                backfills.append(deployment.backfill(left))
                deployment.wait_until(lambda: deployment.is_over(backfills[-1]), patience_seconds=900)
            deployment.wait_until(lambda: all(run.is_finished for run in deployment.instance.get_runs()))
            deployment.wait_until(lambda: not _claimed(deployment))
        finally:
            services.kill("all")
        for day in map(dt.date.fromisoformat, days):
            for claim in (every_npi_is_accounted_for, state_files_match_the_manifest):
                finding = claim(root, day, deployment.settings.files)
                assert finding.holds, finding.line
            assert not root.list(f"journal/day={day}/damaged")
        extra = registry.stats().requests - len(npis)
        statuses = collections.Counter(run.status.value for run in deployment.instance.get_runs())
        print(
            f"{killed.total()} kills ({', '.join(f'{what} {times}' for what, times in sorted(killed.items()))}) in a "
            f"backfill of {len(days)} days: all complete after {time.monotonic() - began:.0f} s and {len(backfills)} "
            f"backfill(s), runs {dict(statuses)}, no slot left, {extra / max(killed.total(), 1):.1f} requests per kill "
            "beyond the least"
        )


def _claimed(deployment: Deployment) -> int:
    info = deployment.instance.event_log_storage.get_concurrency_info(REGISTRY_POOL)
    return len(info.claimed_slots)


if __name__ == "__main__":
    main()
