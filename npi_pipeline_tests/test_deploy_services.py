"""The services of ``deploy/`` by the command lines and health checks that stand there, on PostgreSQL and S3.

Not here: what can be told from the files alone (``test_deploy``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import pytest
from dagster_graphql import DagsterGraphQLClient

from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.delivery.postgresql import postgresql_server
from npi_pipeline_tests.deploy_files import COMPOSE, DEPLOY, env_example, unit
from npi_pipeline_tests.deployment import free_port, poll_until

TODAY = dt.datetime.now(dt.timezone.utc).date()
NPIS = sorted(npi_numbers(40, seed=7))
SERVICES = ("code", "daemon", "webserver")


class Services:
    """A plain host with the units of ``deploy/systemd``, and with the health checks of ``deploy/compose.yaml``."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.home = folder / "dagster-home"
        self.ports = {"4000": str(free_port()), "3000": str(free_port())}
        self.environment = {
            **os.environ,
            **environment,
            "DAGSTER_HOME": str(self.home),
            "DAGSTER_CODE_HOST": "localhost",
            "PYTHONUNBUFFERED": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.home.mkdir(parents=True)
        blocks = (DEPLOY / name for name in ("dagster.yaml", "postgres.yaml", "s3_logs.yaml"))
        (self.home / "dagster.yaml").write_text("".join(block.read_text() for block in blocks))
        (self.home / "workspace.yaml").write_text(self._here((DEPLOY / "workspace.yaml").read_text()))

    def command(self, name: str) -> list[str]:
        """What the unit starts, as it would be here."""
        line = unit(name)["Service"]["ExecStart"]
        line = line.replace("/opt/npi-pipeline/bin", str(Path(sys.executable).parent))
        return shlex.split(self._here(line.replace("/var/lib/npi-pipeline", str(self.folder))))

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                self.command(name),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
            )

    def kill(self, name: str) -> None:
        """As systemd and a container's end do: all of its processes at once."""
        process = self.running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def is_healthy(self, name: str) -> bool:
        kind, *command = COMPOSE["services"][name]["healthcheck"]["test"]
        assert kind == "CMD"
        done = subprocess.run(
            [self._here(word) for word in command], env=self.environment, capture_output=True, check=False
        )
        return done.returncode == 0

    def wait_until_healthy(self, name: str) -> None:
        assert poll_until(lambda: self.is_healthy(name)), (self.folder / f"{name}.log").read_text()[-3000:]

    def _here(self, text: str) -> str:
        for port, free in self.ports.items():
            text = text.replace(port, free)
        return text


@pytest.fixture
def services(s3: LocalS3, registry: EmulatedRegistry, tmp_path: Path) -> Iterator[Services]:
    for bucket in ("npi-lists", "npi-data", "npi-dagster-logs"):
        s3.create_bucket(bucket)
    with postgresql_server() as url:
        database = urlsplit(url)
        services = Services(
            tmp_path,
            {
                **env_example(),
                **s3.environment,
                "DAGSTER_PG_HOST": str(database.hostname),
                "DAGSTER_PG_PORT": str(database.port),
                "DAGSTER_PG_USERNAME": str(database.username),
                "DAGSTER_PG_PASSWORD": str(database.password),
                "DAGSTER_PG_DB": database.path[1:],
                # As soon as the daemon gives so many signs of life: each half a minute.
                "DAGSTER_DAEMON_HEARTBEAT_TOLERANCE": "45",
                "NPI_REGISTRY_URL": registry.url,
                # Slow enough to be killed in the middle.
                "NPI_THREADS": "1",
                "NPI_REQUESTS_PER_SECOND": "1",
                "NPI_SCHEDULE_CRON": "0 0 1 1 *",
                "NPI_AUDIT_CRON": "0 0 1 1 *",
            },
        )
        try:
            yield services
        finally:
            for name in list(services.running):
                services.kill(name)


@pytest.mark.long
@pytest.mark.daemon
def test_each_service_is_killed_and_started_again_alone_and_the_day_is_completed(
    services: Services, s3: LocalS3, registry: EmulatedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_list("npi-lists", f"lists/{TODAY}.txt", NPIS)
    subprocess.run(services.command("migrate"), env=services.environment, check=True, cwd=services.folder)
    assert [name for name in SERVICES if services.is_healthy(name)] == []
    for name in SERVICES:
        services.start(name)
    for name in SERVICES:
        services.wait_until_healthy(name)

    client = DagsterGraphQLClient("127.0.0.1", port_number=int(services.ports["3000"]))
    run_id = client.submit_job_execution(
        "npi_daily", repository_location_name="npi_pipeline.definitions", tags={"dagster/partition": str(TODAY)}
    )
    assert poll_until(lambda: sum(registry.requests_by_npi().values()) > 3)

    services.kill("webserver")
    assert not services.is_healthy("webserver")
    services.start("webserver")
    services.wait_until_healthy("webserver")
    assert client.get_run_status(run_id) is dg.DagsterRunStatus.STARTED

    services.kill("code")
    assert not services.is_healthy("code")
    services.start("code")
    services.wait_until_healthy("code")
    # npi_lost_run_sensor ends the run, and run_retries makes another one.
    assert poll_until(lambda: client.get_run_status(run_id) is dg.DagsterRunStatus.FAILURE)

    services.kill("daemon")
    assert poll_until(lambda: not services.is_healthy("daemon"))
    services.start("daemon")
    services.wait_until_healthy("daemon")
    for name, value in services.environment.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(services.home)) as instance:
        assert poll_until(lambda: all(run.is_finished for run in instance.get_runs()) and _is_complete(services))
        statuses = [run.status.value for run in reversed(instance.get_runs())]
    assert statuses == ["FAILURE", "SUCCESS"]
    assert sum(registry.requests_by_npi().values()) <= len(NPIS) + 2
    # Of the daemon Python's warnings are text.
    for name in ("code", "webserver"):
        assert [json.loads(line) for line in (services.folder / f"{name}.log").read_text().splitlines()]
    logs = s3.client().list_objects_v2(Bucket="npi-dagster-logs", Prefix="dagster-logs/")["Contents"]
    assert any(log["Key"].endswith(".err") and log["Size"] for log in logs)


def _is_complete(services: Services) -> bool:
    command = [Path(sys.executable).with_name("npi-pipeline"), "status", "--date", str(TODAY), "--json"]
    done = subprocess.run(command, env=services.environment, capture_output=True, text=True, check=True)
    return bool(json.loads(done.stdout)[0]["state"] == "complete")
