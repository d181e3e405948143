"""What a whole day costs whose registry is files: list, outcomes, table, state files, changes and all checks.

    python benchmarks/bulk_days.py                           100,000 NPIs
    python benchmarks/bulk_days.py --npis 1000000 --keep /tmp/country     the files of benchmarks/bulk.py, used again

The files are prepared first and not counted (``benchmarks/bulk.py`` measures that). Each day is a process of its own,
as ``npi-pipeline run`` is: CPU seconds are user and system time with imports, memory is the peak resident set. ``next``
is the day after everybody's, on which a weekly file has come: its changes are of everybody. ``api`` days ask the
emulated registry, another process, which bears so many requests a second.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from bulk import COUNTRY, MONTH, WEEK, in_own_process, make_files, options_of
from tables import peak_mb

from npi_pipeline.orchestration.day_run import run_day
from npi_pipeline.registries.nppes_bulk.snapshot import prepare_snapshot
from npi_pipeline.settings import Settings
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing import providers
from npi_pipeline.testing.registry import emulated_registry
from npi_pipeline.testing.s3 import local_s3

BUCKET = "npi-bench"
DAY = WEEK - dt.timedelta(days=1)
# Name to (NPIs of the list, None: everybody; requests a second, None: files; the day).
DAYS: dict[str, tuple[int | None, int | None, dt.date]] = {
    "files_1000": (1_000, None, DAY),
    "files_100000": (100_000, None, DAY),
    "files_everybody": (None, None, DAY),
    "files_everybody_again": (None, None, DAY),
    "files_everybody_next": (None, None, WEEK),
    "api_1000_at_50": (1_000, 50, DAY),
    "api_20000_at_2000": (20_000, 2_000, DAY),
}


def measure(name: str, folder: Path) -> None:
    """Run one day and tell what it took, as JSON on standard error."""
    count, rate, day = DAYS[name]
    root = folder / ("root" if count is None else f"root-{name}")
    if count is not None:
        shutil.rmtree(root, ignore_errors=True)
    settings = {"data_root": str(root), "start_date": MONTH.isoformat(), "bulk_files": str(folder / "files")}
    with contextlib.ExitStack() as stack:
        if count is not None:
            s3 = stack.enter_context(local_s3())
            os.environ.update(s3.environment)
            s3.put_list(BUCKET, "npi_list.txt", list(itertools.islice(providers.npi_numbers(10**8), count)))
            settings["list_bucket"] = BUCKET
        if rate is None:
            settings["registry_format"] = "nppes_bulk"
            if count is not None:
                # The same prepared files: a day on a prepared snapshot is what is measured.
                root.mkdir()
                (root / "registry_files").symlink_to(folder / "root" / "registry_files")
        else:
            registry = stack.enter_context(emulated_registry(latency=0.05, capacity=rate))
            settings["registry_url"] = registry.url
        run = run_day(Settings.from_environment({}, **settings), day, log_level="CRITICAL")
        times = os.times()
        told = {"ok": run.ok, "npis": run.status.npis, "wall": run.seconds, "cpu": times.user + times.system}
        print(json.dumps({**told, "peak": peak_mb(), "problems": list(run.problems)}), file=sys.stderr)


def main() -> None:
    """Make and prepare the files, then run each day in a process of its own."""
    options = options_of(__doc__, DAYS)
    if options.measure:
        measure(options.measure, options.keep)
        return
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_files(folder, options.npis)
        prepare_snapshot(LocalRoot(folder / "root"), WEEK, str(folder / "files"))
        print(f"{options.npis:,} NPIs in the files; the made-up country is of {COUNTRY.size:,}, again and again")
        for name in options.only:
            got = in_own_process(__file__, name, folder)
            if isinstance(got, str):
                print(f"{name:22} failed: {got}")
                continue
            standing = "ok" if got["ok"] else got["problems"]
            print(
                f"{name:22} {standing} {got['npis']:>10,} NPIs  wall {got['wall']:7.1f} s  "
                f"cpu {got['cpu']:7.1f} s  peak {got['peak']:5.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
