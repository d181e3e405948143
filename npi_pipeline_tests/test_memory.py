"""A day of answers as large as they may be, from the journal's writer to the changes, in bounded memory."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.proofs import npi_records, provider_changes, providers, state_files
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import complete
from npi_pipeline_tests.flattened import nppes_body, taxonomy

ANSWER_BYTES = 8_388_608
ANSWERS = 6
MAX_MB = 600
DAYS = (dt.date(2026, 11, 23), dt.date(2026, 11, 24))


class LargeAnswers(dict[str, str]):
    """By NPI answers of the largest size that is accepted, each made when it is asked for."""

    def __init__(self, day: dt.date) -> None:
        super().__init__((str(1_000_000_000 + number), "") for number in range(ANSWERS))
        self._day = day

    def items(self) -> Iterator[tuple[str, str]]:  # type: ignore[override]
        for npi in self:
            item = taxonomy("207Q00000X", license=f"{self._day} {npi}")
            yield npi, nppes_body(npi, taxonomies=[item] * ((ANSWER_BYTES - 3_000) // (len(json.dumps(item)) + 2)))


def a_day_after_another() -> None:
    """Two days with all that is proven of them; prints the most memory that this process had, in MB."""
    files = FileSettings()
    with tempfile.TemporaryDirectory() as folder:
        root = LocalRoot(Path(folder))
        for day in DAYS:
            complete(root, day, LargeAnswers(day))
            found, _ = find_changes(root, day, files)
            assert npi_records.every_npi_has_one_outcome(root, day).holds
            assert providers.one_row_per_found_npi(root, day).holds
            assert not providers.no_unknown_fields(root, day).holds
            assert providers.states_are_recognised(root, day).holds
            assert state_files.state_files_match_the_manifest(root, day, files).holds
            assert state_files.every_npi_is_accounted_for(root, day, files).holds
            assert provider_changes.joins_and_leaves_match_the_lists(root, day, files).holds
        assert found.kept.counts["providers_changed"] == ANSWERS
    status = Path("/proc/self/status").read_text()
    print(next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM")))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel does not tell a process's peak here")
@pytest.mark.long
def test_answers_of_eight_megabytes_take_bounded_memory_from_the_journal_to_the_changes() -> None:
    # What polars' allocator keeps to use again, or has offered to the kernel already, is not in use.
    environment = {**os.environ, "_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= MAX_MB


if __name__ == "__main__":
    a_day_after_another()
