"""A day in shards on the cores of one machine: NPIs a second, CPU and memory, by how many shards there are.

    python benchmarks/shards.py                            20,000 NPIs in 1, 2 and 4 shards, a process each
    python benchmarks/shards.py --npis 5000 --shards 1 2 --executor in_process

The registry is the emulated one on loopback, without latency, so what limits is this machine; it takes a core of its
own. Each day is a run of the list and the records (Dagster's `execute_job`, SQLite), in a process of its own.
"asking" is from the first shard's beginning to the last one's end, and NPIs a second are of that; "records" is all of
`npi_records`, the plan and the sealing too. CPU is that of the run and of all that it started, without the registry;
memory is the largest process's so far.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import dagster as dg
import psutil

from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.daily_job import JOB_NAME
from npi_pipeline.settings import Settings
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import emulated_registry
from npi_pipeline.testing.s3 import local_s3

DAY = "2026-11-23"
_CHILD_SUBREAPER = 36
HOME = """\
telemetry: {enabled: false}
concurrency: {pools: {default_limit: 1, granularity: run}}
"""


def daily() -> dg.JobDefinition:
    return build_definitions(Settings.from_environment(os.environ)).resolve_job_def(JOB_NAME)


def one_day() -> None:
    with dg.DagsterInstance.get() as instance:
        result = dg.execute_job(
            dg.reconstructable(daily),
            instance,
            tags={"dagster/partition": DAY},
            asset_selection=[dg.AssetKey("npi_list"), dg.AssetKey("npi_records")],
        )
        assert result.success
        logs = instance.all_logs(result.run_id)
    begun: dict[str, float] = {}
    ended: dict[str, float] = {}
    for entry in logs:
        event = entry.dagster_event
        if event is None or not (event.step_key or "").startswith("npi_records"):
            continue
        if event.event_type is dg.DagsterEventType.STEP_START:
            begun[event.step_key or ""] = entry.timestamp
        elif event.event_type is dg.DagsterEventType.STEP_SUCCESS:
            ended[event.step_key or ""] = entry.timestamp
    asking = [key for key in begun if "shard[" in key] or list(begun)
    print(
        json.dumps(
            {
                "asking": max(ended[key] for key in asking) - min(begun[key] for key in asking),
                "records": max(ended.values()) - min(begun.values()),
            }
        )
    )


def all_gone(but: set[int]) -> resource.struct_rusage:
    """Wait for every process that a run has left behind, and what all of them used since the beginning."""
    while any(child.pid not in but for child in psutil.Process().children()):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        for child in psutil.Process().children():
            if child.pid not in but and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, 0)
    return resource.getrusage(resource.RUSAGE_CHILDREN)


def measured(shards: int, executor: str, environment: dict[str, str]) -> dict[str, float]:
    servers = {child.pid for child in psutil.Process().children()}
    before = all_gone(servers)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        (home / "dagster.yaml").write_text(HOME)
        run = subprocess.run(
            [sys.executable, __file__, "--one"],
            env=os.environ
            | environment
            | {
                "DAGSTER_HOME": str(home),
                "NPI_DATA_ROOT": str(Path(folder) / "npi-data"),
                "NPI_SHARDS": str(shards),
                "NPI_EXECUTOR": executor,
                "NPI_START_DATE": "2026-11-01",
                "PYTHONPATH": f"{Path(__file__).parents[1]}",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode:
        sys.exit(run.stderr[-3000:])
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    after = all_gone(servers)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**found, "cpu": cpu, "mb": after.ru_maxrss / 1024}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--npis", type=int, default=20_000)
    options.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4])
    options.add_argument("--executor", default="multiprocess")
    options.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        one_day()
        return
    # The processes of a run belong to a server that outlives it: they are ours when it does not.
    ctypes.CDLL(None).prctl(_CHILD_SUBREAPER, 1)
    with emulated_registry() as registry, local_s3() as s3:
        s3.create_bucket("lists")
        s3.put_list("lists", "npi_list.txt", "\n".join(["npi", *npi_numbers(chosen.npis)]).encode())
        environment = s3.environment | {"NPI_LIST_BUCKET": "lists", "NPI_REGISTRY_URL": registry.url}
        print(f"{chosen.npis:,} NPIs, {chosen.executor}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print("shards   asking s  records s  NPIs/s  CPU s  CPU ms/NPI  MB")
        for shards in chosen.shards:
            found = measured(shards, chosen.executor, environment)
            print(
                f"{shards:6}  {found['asking']:9.1f} {found['records']:10.1f} {chosen.npis / found['asking']:7.0f} "
                f"{found['cpu']:6.1f} {1000 * found['cpu'] / chosen.npis:11.2f} {found['mb']:4.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
