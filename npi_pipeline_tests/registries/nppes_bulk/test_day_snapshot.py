"""Which snapshot a day is looked up in, and what is missing of it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from npi_pipeline.npi_records.record_snapshot import lookup_in_snapshot
from npi_pipeline.proofs.registry_snapshot import no_file_is_missing
from npi_pipeline.registries.nppes_bulk.day_snapshot import keep_snapshot_of_day
from npi_pipeline.registries.nppes_bulk.snapshot import prepare_snapshot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.bulk import Country, write_monthly, write_weekly

START = dt.date(2026, 11, 1)
COUNTRY = Country(100, start=START)


def test_a_gap_of_a_day_stays_told_when_another_day_has_the_same_files(tmp_path: Path) -> None:
    files, root = tmp_path / "files", LocalRoot(tmp_path / "npi-data")
    files.mkdir()
    write_monthly(COUNTRY, files)
    write_weekly(COUNTRY, files, 2)
    late, early = START + dt.timedelta(days=16), START + dt.timedelta(days=3)
    # As a backfill goes: newest first.
    for day in (late, early):
        keep_snapshot_of_day(root, day, prepare_snapshot(root, day, str(files)))
    assert not no_file_is_missing(root, late).holds
    assert no_file_is_missing(root, early).holds


def test_nobody_is_looked_up_when_nobody_is_asked_for(tmp_path: Path) -> None:
    files, root = tmp_path / "files", LocalRoot(tmp_path / "npi-data")
    files.mkdir()
    write_monthly(COUNTRY, files)
    assert lookup_in_snapshot(root, prepare_snapshot(root, START, str(files)), []) == []
