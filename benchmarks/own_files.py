"""What a day reads of its own files: bytes and CPU seconds of each step, and how often each kind of file is read.

    python benchmarks/own_files.py                              20,000 NPIs
    python benchmarks/own_files.py --npis 20000 200000
    python benchmarks/own_files.py --tree ../before --tree .    other checkouts' code by turns, for a comparison

The day runs as from the command line: through Dagster, in one process, on a data root in a folder that counts what is
read of it. Its list lies in a local S3; nobody is asked: the outcomes, of made-up providers, are in the journal as if a
run had been killed when it had the last of them (so what arrived is read once more than by a run that goes through).
The day before has the same NPIs; of 1 % of its providers an answer changed. CPU seconds are user and system time of
the process, from a step's first event to its last.
"""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import json
import logging
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
from changes import changed
from tables import cpu

from npi_pipeline.days.lock import day_lock
from npi_pipeline.journal import JournalWriter
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.daily_job import JOB_NAME
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import Settings
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import answer, npi_numbers, outcome_of
from npi_pipeline.testing.s3 import local_s3

BUCKET = "npi-benchmark"
TODAY = dt.datetime.now(dt.timezone.utc).date()
YESTERDAY = TODAY - dt.timedelta(days=1)
ASSETS = ("npi_list", "npi_records", "providers", "state_files", "provider_changes", "day_report")
CHANGED_SHARE = 0.01
# What tells one file of a kind from another: the day, digests, numbers and states.
KINDS = {
    "list": r"npi_list/.*/npi_list\.txt",
    "NPIs of the list": r"npi_list/.*/npis\.parquet",
    "journal as it arrived": r"journal/.*/segments/.*\.parquet",
    "journal, outcomes": r"journal/.*/outcomes/.*\.parquet",
    "journal, compacted": r"journal/.*/compacted/.*\.parquet",
    "provider table": r"provider_table/.*\.parquet",
    "state files": r"state_files/.*\.csv",
    "changes": r"provider_changes/.*\.csv",
    "what is known of them (JSON)": r".*\.json",
}


class CountingRoot:
    """A data root that counts the bytes of each file that are read."""

    # By step and path.
    read_bytes: ClassVar[collections.Counter[tuple[str, str]]] = collections.Counter()
    step = ""

    def __init__(self, root: DataRoot) -> None:
        self._root = root

    def __getattr__(self, name: str) -> Any:
        return getattr(self._root, name)

    def _count(self, path: str, size: int) -> None:
        self.read_bytes[self.step, path] += size

    def read(self, path: str) -> bytes:
        content = self._root.read(path)
        self._count(path, len(content))
        return content

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        content, tag = self._root.read_tagged(path)
        self._count(path, len(content))
        return content, tag

    def chunks(self, path: str) -> Iterator[bytes]:
        for chunk in self._root.chunks(path):
            self._count(path, len(chunk))
            yield chunk

    def download(self, path: str, target: Path) -> None:
        self._root.download(path, target)
        self._count(path, target.stat().st_size)


class StepClock(logging.Handler):
    """Tells from Dagster's own events which step is at work, and how long each was."""

    seconds: ClassVar[collections.Counter[str]] = collections.Counter()
    _began = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        event = (getattr(record, "dagster_meta", None) or {}).get("dagster_event")
        if event is None or event.step_key is None:
            return
        if event.is_step_start:
            CountingRoot.step, StepClock._began = event.step_key, cpu()
        elif event.is_step_success:
            self.seconds[event.step_key] += cpu() - StepClock._began
        elif event.is_step_failure:
            raise AssertionError(record.getMessage())


@dg.logger()
def step_clock(_context: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.getLogger("benchmark.steps")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers = [StepClock()]
    return logger


def outcomes(npis: list[str], *, is_later: bool) -> Iterator[NpiOutcome]:
    """What a registry would say of each NPI on the first day or, of a few otherwise, on the later one."""
    draw = random.Random(7)
    now = dt.datetime.now(dt.timezone.utc)
    for npi in npis:
        outcome = outcome_of(npi, seed=1)
        if outcome is not Outcome.found:
            reason = "a reason" if outcome is Outcome.failed else None
            yield NpiOutcome(npi, Verdict(outcome, reason), now, 1, 200, None if reason else "{}")
            continue
        body = answer(npi, seed=1).decode()
        is_other = is_later and draw.random() < CHANGED_SHARE
        yield NpiOutcome(npi, Verdict(outcome), now, 1, 200, changed(body) if is_other else body)


def run(settings: Settings, job: dg.JobDefinition, day: dt.date, npis: list[str]) -> None:
    root = open_data_root(settings.files.data_root)
    identity = Registry.from_settings(settings.registry).identity
    with day_lock(root, day), JournalWriter(root, day, run=1, registry=identity) as journal:
        for outcome in outcomes(npis, is_later=day == TODAY):
            journal.append(outcome)
    CountingRoot.read_bytes.clear()
    StepClock.seconds.clear()
    quiet = {"loggers": {"steps": {}}}
    assert job.execute_in_process(partition_key=day.isoformat(), run_config=quiet, raise_on_error=True).success


def one(count: int) -> None:
    """Make two days and print what the second one took, as JSON."""
    npis = list(npi_numbers(count, seed=1))
    opened = DayStorage.open
    DayStorage.open = lambda storage: CountingRoot(opened(storage))  # type: ignore[method-assign,assignment]
    with local_s3() as s3, tempfile.TemporaryDirectory() as folder:
        os.environ |= s3.environment
        s3.create_bucket(BUCKET)
        s3.put_list(BUCKET, "npi_list.txt", npis)
        settings = Settings.from_environment(
            {}, data_root=folder, list_bucket=BUCKET, start_date=str(YESTERDAY), not_found_share_limit=1
        )
        job = build_definitions(settings, loggers={"steps": step_clock}).resolve_job_def(JOB_NAME)
        for day in (YESTERDAY, TODAY):
            run(settings, job, day, npis)
        sizes = {file.path: file.size for file in open_data_root(folder).list("")}
    seconds: collections.Counter[str] = collections.Counter()
    read: collections.Counter[str] = collections.Counter()
    kinds: collections.Counter[str] = collections.Counter()
    reads: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for step, used in StepClock.seconds.items():
        seconds[_shown(step)] += used
    for (step, path), size in CountingRoot.read_bytes.items():
        read[_shown(step)] += size
        kind = next(kind for kind, pattern in KINDS.items() if re.fullmatch(pattern, path))
        kinds[kind] += size
        reads[kind][path] += size
    often = {
        kind: max((size / sizes[path] for path, size in of_kind.items() if sizes.get(path)), default=None)
        for kind, of_kind in reads.items()
    }
    print(json.dumps({"cpu": seconds, "read": read, "kinds": kinds, "often": often}))


def _shown(step: str) -> str:
    asset = next(name for name in ASSETS if step.startswith(name))
    return asset if step == asset else f"{asset}: checks"


def measured(tree: Path, count: int) -> dict[str, dict[str, float]]:
    done = subprocess.run(
        [sys.executable, __file__, "--one", str(count)],
        env={**os.environ, "PYTHONPATH": str(tree.absolute())},
        cwd=tempfile.gettempdir(),
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    figures: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return figures


def compare(trees: list[Path], count: int, rounds: int) -> None:
    results: dict[Path, list[dict[str, dict[str, float]]]] = {tree: [] for tree in trees}
    for _ in range(rounds):
        for tree in trees:
            results[tree].append(measured(tree, count))
    print(f"{count:,} NPIs; for each of {', '.join(map(str, trees))}: CPU s (the least of {rounds}) and MB read")
    steps = [name for asset in ASSETS for name in (asset, f"{asset}: checks")]
    totals = [[0.0, 0.0] for _ in trees]
    for step in steps:
        cells = []
        for tree, total in zip(trees, totals, strict=True):
            used = min(figures["cpu"][step] for figures in results[tree])
            read = results[tree][0]["read"].get(step, 0) / 1e6
            total[0] += used
            total[1] += read
            cells.append(f"{used:8.2f} s {read:9.2f} MB")
        print(f"{step:30}", *cells)
    print(f"{'together':30}", *(f"{used:8.2f} s {read:9.2f} MB" for used, read in totals))
    for kind in KINDS:
        cells = []
        for tree in trees:
            figures = results[tree][0]
            often = figures["often"].get(kind)
            times = f"{often:6.1f} x" if often else " " * 8
            cells.append(f"{figures['kinds'].get(kind, 0) / 1e6:9.2f} MB {times}")
        print(f"{kind:30}", *cells)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--npis", type=int, nargs="*", default=[20_000])
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--tree", type=Path, action="append")
    options.add_argument("--one", type=int, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        one(chosen.one)
        return
    for count in chosen.npis:
        compare(chosen.tree or [Path(__file__).parent.parent], count, chosen.rounds)


if __name__ == "__main__":
    main()
