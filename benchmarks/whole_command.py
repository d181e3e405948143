"""What ``npi-pipeline run`` takes as a whole: a first run, the same again, the next day with reuse, one NPI added.

    python benchmarks/whole_command.py                       100,000 NPIs
    python benchmarks/whole_command.py --npis 500000
    python benchmarks/whole_command.py --tree ../before      another checkout's code, for a comparison

The registry is the demo's without latency, the list lies in the demo's S3, the data root is a folder. CPU seconds are
user and system time of the command's process, which bear a busy machine; memory is its peak resident set.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry
from npi_pipeline.testing.s3 import local_s3

BUCKET = "npi-benchmark"
COMMAND = "from npi_pipeline.cli.commands import main; main()"


def run(what: str, day: dt.date, environment: Mapping[str, str], registry: EmulatedRegistry) -> None:
    """Run ``day`` and print what it took, on one line."""
    asked = registry.stats().requests
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "run", "--date", str(day), "--json"],
            env={**os.environ, **environment},
            # Not here, where Python would find this checkout's code first.
            cwd=tempfile.gettempdir(),
            stdout=output,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        assert process.returncode == 0, output.read().decode()
        assert json.load(output)["ok"]
    print(
        f"{what:28} {used.ru_utime:6.1f} user + {used.ru_stime:5.1f} system CPU s  {time.monotonic() - start:6.1f} s  "
        f"{used.ru_maxrss / 1024:5.0f} MB  {registry.stats().requests - asked:8,} requests"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--npis", type=int, default=100_000)
    options.add_argument("--tree", type=Path, default=Path(__file__).parent.parent)
    chosen = options.parse_args()
    npis = list(npi_numbers(chosen.npis + 1, seed=1))
    today = dt.datetime.now(dt.timezone.utc).date()
    yesterday = today - dt.timedelta(days=1)
    with local_s3() as s3, emulated_registry() as registry, tempfile.TemporaryDirectory() as folder:
        s3.create_bucket(BUCKET)
        for day in (yesterday, today):
            s3.put_list(BUCKET, f"{day}.txt", npis[:-1])
        environment = {
            **s3.environment,
            "PYTHONPATH": str(chosen.tree.absolute()),
            "NPI_LIST_BUCKET": BUCKET,
            "NPI_LIST_KEY": "{date:%Y-%m-%d}.txt",
            "NPI_REGISTRY_URL": registry.url,
            "NPI_DATA_ROOT": f"{folder}/npi-data",
            "NPI_START_DATE": str(yesterday),
            "DAGSTER_HOME": f"{folder}/dagster-home",
        }
        run("first run", yesterday, environment, registry)
        run("the same again", yesterday, environment, registry)
        run("the next day, with reuse", today, environment, registry)
        run("that again", today, environment, registry)
        s3.put_list(BUCKET, f"{today}.txt", npis)
        run("that again, one NPI added", today, environment, registry)


if __name__ == "__main__":
    main()
