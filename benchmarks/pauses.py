"""Runs of a day on S3 that are paused longer than their lease, at random moments, while another run does the day.

    python benchmarks/pauses.py [--quick] [--npis 60] [--endpoint http://127.0.0.1:4566]

Each turn begins a run, stops its process (SIGSTOP) at a random moment, lets another run do the whole day, and then
lets the first go on (SIGCONT). Meanwhile a reader goes by the manifest again and again: once there is a day it must see
one, whole. After each turn the day must be proven, every outcome true, and the status complete. Without ``--endpoint``
the local S3 is used; at one, the credentials of the environment.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import datetime as dt
import itertools
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import boto3
import polars as pl

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.days.lock import DayLockedError
from npi_pipeline.journal import compacted_parts, compaction
from npi_pipeline.npi_list import parse_npi_list
from npi_pipeline.npi_list.kept_list import keep_list
from npi_pipeline.npi_list.source import FoundList, ListObject, ListSelection
from npi_pipeline.npi_records.record_outcomes import record_outcomes
from npi_pipeline.proofs.day_status import DayState, status_of_day
from npi_pipeline.proofs.npi_records import every_npi_has_one_outcome
from npi_pipeline.proofs.provider_changes import joins_and_leaves_match_the_lists
from npi_pipeline.proofs.providers import one_row_per_found_npi
from npi_pipeline.proofs.state_files import every_npi_is_accounted_for, state_files_match_the_manifest
from npi_pipeline.providers.flatten_records import flatten_records
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchMode, FetchSettings, FileSettings
from npi_pipeline.state_files.publish_state_files import publish_state_files
from npi_pipeline.state_files.verification import verify_published
from npi_pipeline.storage import s3_lease
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import emulated_registry
from npi_pipeline.testing.s3 import local_s3

DAY = dt.date(2026, 11, 23)
FILES = FileSettings()
# A lease as short as S3's clock can tell, so that a pause longer than it is short, too.
LEASE_SECONDS = 2.0
RENEW_SECONDS = 0.4
LOCKED = 3


def run_day(environment: dict[str, str], data_root: str, npis: list[str], url: str, begun: Connection) -> None:
    """What a run does of a day whose list is kept, without Dagster around it. Every NPI is asked for again."""
    os.environ.update(environment)
    s3_lease.LEASE_SECONDS, s3_lease.RENEW_SECONDS, s3_lease.LOOK_SECONDS = LEASE_SECONDS, RENEW_SECONDS, 0.1
    compaction.COMPACTED_PART_ROWS = 50
    root = open_data_root(data_root)
    nppes = FORMATS["nppes"]
    settings = FetchSettings(threads=20, wait=0.05, fetch_mode=FetchMode.all)
    begun.send(None)
    try:
        record_outcomes(root, DAY, parse_npi_list(listed(npis)), Registry(nppes, url), settings)
        flatten_records(root, DAY, nppes.layout, FILES.pinned_widths())
        publish_state_files(root, DAY, FILES)
        find_changes(root, DAY, FILES)
    except DayLockedError:
        # What a run that was paused for too long is to be told.
        sys.exit(LOCKED)


def listed(npis: list[str]) -> bytes:
    """The day's list."""
    return "\n".join(["npi", *npis]).encode()


class Runs:
    """Runs of the day as processes. Forked from a clean one: the threads of this one would not survive a fork."""

    def __init__(self, data_root: str, npis: list[str], url: str) -> None:
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(
            ["npi_pipeline.changes.find_changes", "npi_pipeline.npi_records.record_outcomes"]
        )
        self._arguments = (data_root, npis, url)

    @contextlib.contextmanager
    def begun(self) -> Iterator[multiprocessing.process.BaseProcess]:
        """A run that has just begun; killed at the end of the block, if it has not ended."""
        here, there = self._processes.Pipe()
        process = self._processes.Process(target=run_day, args=(dict(os.environ), *self._arguments, there))
        process.start()
        try:
            here.recv()
            yield process
        finally:
            process.kill()
            process.join()

    def whole(self) -> float:
        """A run from its beginning to its end, which must be a good one; its seconds."""
        with self.begun() as process:
            started = time.monotonic()
            process.join(120)
            assert process.exitcode == 0, f"the run in between ended with {process.exitcode}"
            return time.monotonic() - started


@dataclasses.dataclass
class Seen:
    """How often a reader looked, and what it saw that must not be."""

    looks: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def reading(data_root: str) -> Iterator[Seen]:
    """A reader goes by the manifest again and again. It must always see a day, whole, and a status that says so."""
    root = open_data_root(data_root)
    seen, stopped = Seen(), threading.Event()

    def read() -> None:
        while not stopped.wait(0.05):
            seen.problems += verify_published(root, FILES.state_files_dir, DAY)
            state = status_of_day(root, FILES, DAY).state
            if state is not DayState.complete:
                seen.problems.append(f"status says {state.value}")
            seen.looks += 1

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield seen
    finally:
        stopped.set()
        reader.join()


def sweep(data_root: str, pauses: int, npis: list[str], url: str, seed: int = 1) -> str:
    """Pause ``pauses`` runs; what was seen, on one line. Raises AssertionError for whatever must not be."""
    root = open_data_root(data_root)
    now = dt.datetime.now(dt.timezone.utc)
    found = FoundList(
        bucket="b", key="k", version_id=None, etag="e", last_modified=now, selection=ListSelection.current
    )
    keep_list(root, DAY, ListObject(**vars(found), body=listed(npis)))
    runs = Runs(data_root, npis, url)
    # The second one: the first finds nothing imported yet, and no day to be compared with.
    length = [runs.whole() for _ in range(2)][-1]
    rng = random.Random(seed)
    ended: collections.Counter[str] = collections.Counter()
    with reading(data_root) as seen:
        while ended.total() < pauses:
            with runs.begun() as paused:
                paused.join(rng.uniform(0.0, length))
                if paused.exitcode is not None:
                    continue
                try:
                    os.kill(paused.pid or 0, signal.SIGSTOP)
                    runs.whole()
                    os.kill(paused.pid or 0, signal.SIGCONT)
                except ProcessLookupError:
                    # It was just ending, and does not count either.
                    continue
                paused.join(120)
                assert paused.exitcode in {0, LOCKED}, f"the paused run ended with {paused.exitcode}"
                ended["went on" if paused.exitcode == 0 else "told that it was locked out"] += 1
                print(f"{ended.total()} of {pauses}", file=sys.stderr, flush=True)
            for claim in (every_npi_has_one_outcome, one_row_per_found_npi):
                assert claim(root, DAY).holds, claim(root, DAY).line
            for proof in (every_npi_is_accounted_for, state_files_match_the_manifest, joins_and_leaves_match_the_lists):
                assert proof(root, DAY, FILES).holds, proof(root, DAY, FILES).line
            outcomes = dict(pl.concat(compacted_parts(root, DAY)).select("npi", "outcome").iter_rows())
            assert outcomes == {npi: outcome_of(npi).value for npi in npis}
            assert not seen.problems, seen.problems[:3]
    assert not seen.problems, seen.problems[:3]
    assert not root.list(f"journal/day={DAY}/damaged")
    how = ", ".join(f"{count} {what}" for what, count in sorted(ended.items()))
    return f"{pauses} runs of {length:.1f} s, paused for longer than a lease: {how}; {seen.looks} looks at a whole day"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 pauses instead of 50")
    parser.add_argument("--endpoint", help="another S3; AWS_ACCESS_KEY_ID and the like say who asks")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--npis", type=int, default=200, help="of the day's list")
    arguments = parser.parse_args()
    npis = list(itertools.islice(npi_numbers(200, seed=4), arguments.npis))
    with contextlib.ExitStack() as stack:
        if arguments.endpoint:
            os.environ["AWS_ENDPOINT_URL_S3"] = arguments.endpoint
        else:
            os.environ.update(stack.enter_context(local_s3()).environment)
        registry = stack.enter_context(emulated_registry(latency=0.02))
        bucket = f"pauses-{Path(stack.enter_context(tempfile.TemporaryDirectory())).name.lower().replace('_', '-')}"
        boto3.client("s3").create_bucket(Bucket=bucket)
        print(
            sweep(f"s3://{bucket}/data", 8 if arguments.quick else 50, npis, registry.url, arguments.seed), flush=True
        )


if __name__ == "__main__":
    main()
