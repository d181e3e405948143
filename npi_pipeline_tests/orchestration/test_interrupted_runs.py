"""Runs of the whole command that are killed, interrupted or doubled: nothing is lost, nothing asked in vain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from npi_pipeline.journal import read_outcomes
from npi_pipeline.orchestration.assets.npi_records import REGISTRY_POOL
from npi_pipeline.proofs.day_status import DayState, status_of_day
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.deployment import poll_until
from npi_pipeline_tests.pipeline import DAY, Pipeline

NPIS = sorted(npi_numbers(400, seed=3))
# Ten threads at 0.4 s are 25 answers a second: the list takes much longer than any test leaves it.
THREADS = 10
SLOW, FAST = 0.4, 0.0


class Command:
    """``npi-pipeline run`` of DAY as a process of its own."""

    def __init__(self, pipeline: Pipeline, s3: LocalS3) -> None:
        settings = pipeline.settings
        self.files = settings.files
        self.root = open_data_root(settings.files.data_root)
        self.environment = (
            os.environ
            | s3.environment
            | {
                "NPI_LIST_BUCKET": settings.npi_list.list_bucket,
                "NPI_REGISTRY_URL": settings.registry.registry_url,
                "NPI_DATA_ROOT": settings.files.data_root,
                "NPI_START_DATE": "2026-11-01",
                "NPI_THREADS": str(THREADS),
            }
        )

    def start(self) -> subprocess.Popen[str]:
        code = "from npi_pipeline.cli.commands import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, "run", "--date", str(DAY)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start_and_wait_until(self, holds: Callable[[], object]) -> subprocess.Popen[str]:
        """Start it and return once something holds. It may not end before."""
        run = self.start()
        poll_until(lambda: run.poll() is not None or holds())
        assert run.poll() is None, run.communicate()[0]
        return run

    def recorded(self) -> set[str]:
        """The NPIs that the journal holds an outcome of."""
        return set(read_outcomes(self.root, DAY)["npi"])

    def state(self) -> DayState:
        return status_of_day(self.root, self.files, DAY).state


@pytest.fixture(params=["local", "s3"])
def command(
    request: pytest.FixtureRequest, s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path
) -> Command:
    s3.put_list(bucket, "npi_list.txt", NPIS)
    registry.configure(latency=SLOW)
    root = f"s3://{bucket}/data" if request.param == "s3" else str(tmp_path / "npi-data")
    return Command(Pipeline(root, list_bucket=bucket, registry_url=registry.url), s3)


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("local", signal.SIGKILL),
        pytest.param("local", signal.SIGINT, marks=pytest.mark.long),
        pytest.param("local", signal.SIGTERM, marks=pytest.mark.long),
        pytest.param("s3", signal.SIGKILL, marks=pytest.mark.long),
        pytest.param("s3", signal.SIGINT, marks=pytest.mark.long),
        pytest.param("s3", signal.SIGTERM, marks=pytest.mark.long),
    ],
    ids=lambda value: getattr(value, "name", value),
    indirect=["command"],
)
def test_a_run_that_is_broken_off_resumes_without_asking_again(
    command: Command, registry: EmulatedRegistry, how: signal.Signals
) -> None:
    # Durable a second after arrival: by now the first parts are written.
    run = command.start_and_wait_until(command.recorded)
    run.send_signal(how)
    run.communicate()
    assert run.returncode != 0
    assert command.state() is DayState.partial

    kept = command.recorded()
    asked_before = registry.requests_by_npi()
    assert 0 < len(kept) < len(NPIS)
    if how is not signal.SIGKILL:
        assert len(asked_before) - len(kept) <= THREADS, "only what was in flight may be lost"

    registry.configure(latency=FAST)
    again = command.start()
    output = again.communicate()[0]
    assert again.returncode == 0, output
    asked = registry.requests_by_npi()
    assert command.state() is DayState.complete
    assert set(asked) == set(NPIS)
    assert {npi for npi, times in asked.items() if times > 1}.isdisjoint(kept)
    assert max(asked.values()) <= 2


@pytest.mark.long
@pytest.mark.parametrize("command", ["local"], indirect=True)
def test_a_run_killed_in_mid_fetch_gives_its_slot_of_the_pool_to_the_next_though_no_daemon_looks_after_it(
    command: Command, registry: EmulatedRegistry, tmp_path: Path
) -> None:
    command.environment["DAGSTER_HOME"] = str(tmp_path / "home")
    killed = command.start_and_wait_until(command.recorded)
    killed.kill()
    killed.communicate()
    assert claimed_slots(tmp_path / "home") == 1, "it was to be killed while it held the slot"

    registry.configure(latency=FAST)
    again = command.start()
    try:
        output = again.communicate(timeout=60)[0]
    finally:
        again.kill()
    assert again.returncode == 0, output
    assert command.state() is DayState.complete
    assert claimed_slots(tmp_path / "home") == 0
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        statuses = [run.status for run in instance.get_runs()]
    assert statuses == [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


def claimed_slots(home: Path) -> int:
    """How many slots of the pool somebody holds."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return len(instance.event_log_storage.get_concurrency_info(REGISTRY_POOL).claimed_slots)


@pytest.mark.parametrize("command", ["local", pytest.param("s3", marks=pytest.mark.long)], indirect=True)
def test_two_runs_of_one_day_at_once_do_not_disturb_each_other(command: Command, registry: EmulatedRegistry) -> None:
    # The first one is still at it when the second has ended, on however busy a machine.
    registry.configure(latency=2.0)
    first = command.start_and_wait_until(lambda: registry.stats().requests)
    second = command.start()
    said = second.communicate()[0]
    assert second.returncode == 1
    assert f"the journal of {DAY} is in the hands of process {first.pid}" in said

    registry.configure(latency=FAST)
    output = first.communicate()[0]
    assert first.returncode == 0, output
    assert registry.requests_by_npi() == dict.fromkeys(NPIS, 1)
