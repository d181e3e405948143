"""A deployment for tests: a Dagster home, and the real daemon as a process of its own, on a clock that can be moved.

Not here: the servers that it talks to (``conftest``) and days that run in the test's own process (``pipeline``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.execution.backfill import BulkActionStatus

from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.monitoring.day_runs import PARTITION_TAG
from npi_pipeline.settings import Settings
from npi_pipeline_tests.backfills import add_asset_backfill

# A daemon, its code server and runs share what may be two busy cores.
PATIENCE_SECONDS = 300
_LOOK_AGAIN_SECONDS = 0.2

# What deploy/dagster.yaml sets, with a daemon that looks more often.
DAGSTER_YAML: dict[str, object] = {
    "telemetry": {"enabled": False},
    "concurrency": {"runs": {"max_concurrent_runs": 2}, "pools": {"default_limit": 1, "granularity": "op"}},
    "run_queue": {"dequeue_interval_seconds": 1},
    "run_monitoring": {
        "enabled": True,
        "poll_interval_seconds": 2,
        "free_slots_after_run_end_seconds": 3,
        "max_resume_run_attempts": 0,
    },
    "run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False},
}


class Deployment:
    """A home in ``folder``; ``environment`` holds the settings and leads to the servers."""

    def __init__(self, folder: Path, environment: Mapping[str, str], config: Mapping[str, object] = DAGSTER_YAML):
        self.home = folder / "dagster-home"
        self.data_root = folder / "npi-data"
        self.log = folder / "daemon.log"
        self.environment = {
            **os.environ,
            "NPI_DATA_ROOT": str(self.data_root),
            # No tick comes by itself but where a test wants it.
            "NPI_SCHEDULE_CRON": "0 0 1 1 *",
            "NPI_AUDIT_CRON": "0 0 1 1 *",
            **environment,
            "DAGSTER_HOME": str(self.home),
            "PYTHONWARNINGS": "ignore",
        }
        self.home.mkdir(parents=True)
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(dict(config)))
        self.instance = dg.DagsterInstance.from_config(str(self.home))
        self.settings = Settings.from_environment(self.environment)

    @contextlib.contextmanager
    def daemon(self, at: dt.datetime | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """The daemon for the length of the block, with its code server and runs; by its clock it begins ``at``."""
        process = self.start_daemon(at)
        try:
            yield process
        finally:
            self.kill(process)

    def start_daemon(self, at: dt.datetime | None = None) -> subprocess.Popen[bytes]:
        """Start a daemon that somebody else ends."""
        moved_by = 0.0 if at is None else at.timestamp() - time.time()
        return self._start("-m", "npi_pipeline_tests.moved_daemon", str(moved_by), "run")

    def start_webserver(self) -> subprocess.Popen[bytes]:
        """Start a web server, on any free port, that somebody else ends."""
        return self._start("-m", "dagster_webserver", "--port", str(free_port()))

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command, "--module-name", "npi_pipeline.definitions"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a daemon and everything that it started, at once: the machine goes off."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def command(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of this environment's ``bin``, in this deployment."""
        return subprocess.run(
            [_beside_python(command[0]), *command[1:]],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def backfill(self, days: Sequence[str]) -> str:
        """Start a backfill of all assets for ``days`` as the UI does; its id."""
        return add_asset_backfill(self.instance, build_definitions(self.settings), days)

    def is_over(self, backfill_id: str) -> bool:
        """Whether a backfill has come to its end, whichever."""
        backfill = self.instance.get_backfill(backfill_id)
        return backfill is not None and backfill.status not in {BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING}

    def requested_days(self) -> list[str]:
        """The days that runs were made for, in the order of their making; a day twice if there were two."""
        return [run.tags[PARTITION_TAG] for run in reversed(self.instance.get_runs()) if PARTITION_TAG in run.tags]

    def statuses(self) -> dict[str, list[str]]:
        """What became of each day's runs, the first of them first."""
        found: dict[str, list[str]] = {}
        for run in reversed(self.instance.get_runs()):
            found.setdefault(run.tags.get(PARTITION_TAG, run.job_name), []).append(run.status.value)
        return found

    def wait_until(
        self,
        holds: Callable[[], object],
        process: subprocess.Popen[bytes] | None = None,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Wait until something holds; fails with the daemon's last words when it does not, or the daemon has ended."""
        ended = False

        def holds_or_ended() -> object:
            nonlocal ended
            ended = process is not None and process.poll() is not None
            return ended or holds()

        held = poll_until(holds_or_ended, patience_seconds)
        if ended or not held:
            words = self.log.read_text(errors="replace")[-3000:]
            raise AssertionError(f"{'the daemon ended' if ended else 'in vain'}; {self.statuses()}\n{words}")

    def knows_schedule(self, name: str) -> bool:
        """Whether the daemon has begun to count the ticks of a schedule."""
        return any(state.instigator_name == name for state in self.instance.all_instigator_state())

    def all_ended(self, number: int) -> bool:
        """Whether there are so many runs at least, and all of them have ended."""
        runs = self.instance.get_runs()
        return len(runs) >= number and all(run.is_finished for run in runs)

    def published_days(self) -> list[str]:
        """The days whose manifest is there."""
        return sorted(path.parent.name for path in self.data_root.glob("state_files/[0-9]*/manifest.json"))


def poll_until(holds: Callable[[], object], patience_seconds: float = PATIENCE_SECONDS) -> bool:
    """Look again and again until something holds; whether it did, in the time that a test has."""
    deadline = time.monotonic() + patience_seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_AGAIN_SECONDS)
    return True


def free_port() -> int:
    """A port of loopback that nobody has right now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _beside_python(name: str) -> Path:
    return Path(sys.executable).with_name(name)
