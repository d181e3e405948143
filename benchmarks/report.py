"""What the report of a day costs: seconds, bytes of the page and of the JSON, peak memory, and whether bytes are equal.

    python benchmarks/report.py                     100,000 NPIs
    python benchmarks/report.py --npis 1000 1000000

Two days are made by the steps themselves, of made-up providers, of whom 1 % changed; then the report of the second is
made in a process of its own, twice. Seconds are wall time without that process's start.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from own_files import outcomes

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.days.lock import day_lock
from npi_pipeline.journal import JournalWriter, compact_journal
from npi_pipeline.outcomes import Outcome
from npi_pipeline.providers.flatten_records import flatten_records
from npi_pipeline.registries import FORMATS
from npi_pipeline.report.make_report import make_report
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.publish_state_files import publish_state_files
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline_tests.complete_days import keep

DAYS = (dt.date(2026, 11, 23), dt.date(2026, 11, 24))


def make_day(root: LocalRoot, day: dt.date, npis: list[str]) -> None:
    keep(root, day, dict.fromkeys(npis, Outcome.found))
    with day_lock(root, day) as held:
        with JournalWriter(root, day, run=1, registry="nppes") as journal:
            for outcome in outcomes(npis, is_later=day == DAYS[1]):
                journal.append(outcome)
        compact_journal(root, day, pl.Series("npi", npis), held, registry="nppes")
    flatten_records(root, day, FORMATS["nppes"].layout, {})
    publish_state_files(root, day, FileSettings())
    find_changes(root, day, FileSettings())


def peak_mib() -> int:
    """The most memory that this process had; what its parent had does not count."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def measure(folder: Path) -> None:
    """Make the report and tell what it took, as JSON."""
    before = peak_mib()
    started = time.perf_counter()
    make_report(LocalRoot(folder), FileSettings(), DAYS[1])
    seconds = time.perf_counter() - started
    files = sorted((folder / "day_report" / str(DAYS[1])).iterdir())
    told = {
        "seconds": round(seconds, 2),
        "bytes": {file.name: file.stat().st_size for file in files},
        "sha256": [hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in files],
        "peak_mib": peak_mib(),
        "peak_mib_before": before,
    }
    print(json.dumps(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npis", type=int, nargs="+", default=[100_000])
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    for npis in arguments.npis:
        with tempfile.TemporaryDirectory() as folder:
            root = LocalRoot(Path(folder))
            for day in DAYS:
                make_day(root, day, sorted(npi_numbers(npis, seed=1)))
            command = [sys.executable, __file__, "--measure", folder]
            runs = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(2)]
        print(f"{npis:,} NPIs: {runs}; equal bytes: {runs[0]['sha256'] == runs[1]['sha256']}")


if __name__ == "__main__":
    main()
