"""Answers as large as they may be, from a registry over real sockets to the changes, in bounded memory."""

from __future__ import annotations

import collections
import datetime as dt
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.http_fetch.fetch import fetch
from npi_pipeline.journal import JournalWriter
from npi_pipeline.npi_list import parse_npi_list
from npi_pipeline.npi_list.kept_list import read_kept_list
from npi_pipeline.npi_records.record_outcomes import record_outcomes
from npi_pipeline.proofs import npi_records, provider_changes, providers, state_files
from npi_pipeline.providers.flatten_records import flatten_records
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings, FileSettings
from npi_pipeline.state_files.publish_state_files import publish_state_files
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline_tests.complete_days import keep
from npi_pipeline_tests.flattened import nppes_body, taxonomy
from npi_pipeline_tests.scripted_registry import scripted_registry

ANSWER_BYTES = 8_388_608
NPIS = list(npi_numbers(24))
# All of a day in one process, with what an interpreter and polars take by themselves.
MAX_MB = 600
MAX_MB_OF_A_FETCH = 450
DAYS = (dt.date(2026, 11, 23), dt.date(2026, 11, 24))

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the kernel does not tell a process's peak here"
)


class LargeAnswers(dict[str, Any]):
    """By NPI an answer of the largest size that is accepted, another one each time, made when it is asked for."""

    def __init__(self, *, of_items: bool) -> None:
        super().__init__()
        self._of_items = of_items
        self._times_asked: collections.Counter[str] = collections.Counter()

    def __getitem__(self, npi: str) -> bytes:
        self._times_asked[npi] += 1
        item = taxonomy("207Q00000X", license=f"{self._times_asked[npi]} {npi}")
        room = ANSWER_BYTES - 3_000
        if self._of_items:
            return nppes_body(npi, taxonomies=[item] * (room // (len(json.dumps(item)) + 2))).encode()
        return nppes_body(npi, basic={"name": "A" * room}, taxonomies=[item]).encode()


def peak_mb() -> int:
    """The most memory that this process had, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def peak_mb_of(what: str, *, of_items: bool) -> int:
    """The most memory of a process that does this with large answers."""
    with scripted_registry() as registry:
        registry.answers = LargeAnswers(of_items=of_items)
        command = [sys.executable, "-m", __name__, what, registry.url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def a_fetch(folder: Path, registry: Registry) -> None:
    """Ask for all and keep what comes in the journal."""
    with JournalWriter(LocalRoot(folder), DAYS[0], run=1) as journal:
        for outcome in fetch(NPIS, registry):
            journal.append(outcome)


def a_day_after_another(folder: Path, registry: Registry) -> None:
    """Two days with all that is proven of them."""
    root, files, layout = LocalRoot(folder), FileSettings(), FORMATS["nppes"].layout
    for day in DAYS:
        keep(root, day, dict.fromkeys(NPIS, ""))
        npi_list = parse_npi_list(read_kept_list(root, day).body)
        record_outcomes(root, day, npi_list, registry, FetchSettings(reuse_hours=0))
        flatten_records(root, day, layout, files.pinned_widths())
        publish_state_files(root, day, files)
        found, _ = find_changes(root, day, files)
        assert npi_records.every_npi_has_one_outcome(root, day).holds
        assert providers.one_row_per_found_npi(root, day).holds
        assert not providers.no_unknown_fields(root, day).holds
        assert providers.states_are_recognised(root, day).holds
        assert state_files.state_files_match_the_manifest(root, day, files).holds
        assert state_files.every_npi_is_accounted_for(root, day, files).holds
        assert provider_changes.joins_and_leaves_match_the_lists(root, day, files).holds
    assert found.kept.counts["providers_changed"] == len(NPIS)


def test_large_answers_that_come_all_at_once_take_bounded_memory_until_they_are_in_the_journal() -> None:
    assert (peak := peak_mb_of("a_fetch", of_items=False)) <= MAX_MB_OF_A_FETCH, peak


@pytest.mark.long
def test_answers_of_eight_megabytes_take_bounded_memory_from_the_list_to_the_changes() -> None:
    assert (peak := peak_mb_of("a_day_after_another", of_items=True)) <= MAX_MB, peak


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        do = {"a_fetch": a_fetch, "a_day_after_another": a_day_after_another}[sys.argv[1]]
        do(Path(scratch), Registry(FORMATS["nppes"], sys.argv[2]))
    print(peak_mb())
