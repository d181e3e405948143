"""Why NPIs failed and which records hold more than their columns. Not here: the checks as such (``test_checks``)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.days.lock import day_lock
from npi_pipeline.days.paths import provider_changes_folder, provider_changes_name, state_files_folder
from npi_pipeline.journal import JournalWriter, compact_journal
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.proofs.npi_records import failure_reasons
from npi_pipeline.proofs.provider_changes import joins_and_leaves_match_the_lists
from npi_pipeline.proofs.providers import databases_take_the_columns, no_unknown_fields
from npi_pipeline.proofs.state_files import every_npi_is_accounted_for, state_files_match_the_manifest
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import complete
from npi_pipeline_tests.flattened import nppes_body, taxonomy

DAY = dt.date(2026, 11, 23)
FOUND = [f"10000000{number}" for number in range(10, 15)]
RESET = [f"10000000{number}" for number in range(20, 25)]
REFUSED = [f"10000000{number}" for number in range(30, 33)]
TIMED_OUT = ["1000000040"]


def compacted(root: LocalRoot, reasons: dict[str, str | None]) -> None:
    """A compacted journal of DAY: NPIs that failed for a reason, or were found where there is none."""
    now = dt.datetime(2026, 11, 23, tzinfo=dt.timezone.utc)
    with JournalWriter(root, DAY, run=1) as journal:
        for npi, reason in reasons.items():
            verdict = Verdict(Outcome.failed, reason, retryable=True) if reason else Verdict(Outcome.found)
            journal.append(NpiOutcome(npi=npi, verdict=verdict, fetched_at=now))
    with day_lock(root, DAY) as held:
        compact_journal(root, DAY, pl.Series("npi", list(reasons)), held)


def test_reasons_are_ordered_by_npis_with_their_share_and_the_first_three_as_examples(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    reasons = dict.fromkeys(FOUND) | dict.fromkeys(RESET, "reset") | dict.fromkeys(TIMED_OUT, "timed out")
    # As a registry's own words have it, each with its NPI, and one with another number.
    reasons |= {npi: f"error 1234567890 about {npi}" for npi in REFUSED}
    compacted(root, reasons)
    assert failure_reasons(root, DAY).rows() == [
        ("reset", 5, 5 / 9, ", ".join(RESET[:3])),
        ("error 1234567890 about {npi}", 3, 3 / 9, ", ".join(REFUSED)),
        ("timed out", 1, 1 / 9, TIMED_OUT[0]),
    ]


def test_a_day_on_which_nothing_failed_has_no_reasons(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    compacted(root, dict.fromkeys(FOUND))
    assert failure_reasons(root, DAY).is_empty()


def test_a_record_with_more_items_than_columns_is_told_with_its_npi_and_the_remedy(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    many = [taxonomy(f"T{number}", desc="d" * 100) for number in range(40)]
    complete(root, DAY, {FOUND[0]: nppes_body(FOUND[0], taxonomies=many), FOUND[1]: nppes_body(FOUND[1])})
    finding = no_unknown_fields(root, DAY)
    assert not finding.holds
    assert finding.line.startswith(f"1 records hold fields without a column, kept in `unknown_fields`: {FOUND[0]}: {{")
    assert f"taxonomies is longer than its columns in 1 of them ({FOUND[0]}): give it more with NPI_LIST_WIDTHS" in (
        finding.line
    )
    assert len(finding.line) < 500, "one line, however much there is"
    complete(root, DAY, {FOUND[1]: nppes_body(FOUND[1])})
    assert no_unknown_fields(root, DAY).holds


def test_more_columns_than_databases_take_are_told_with_the_setting_that_made_them(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    bodies = {FOUND[0]: nppes_body(FOUND[0], taxonomies=[taxonomy("A")] * 300)}
    complete(root, DAY, bodies)
    assert databases_take_the_columns(root, DAY).holds
    complete(root, DAY, bodies, FileSettings(list_widths="taxonomies=300"))
    finding = databases_take_the_columns(root, DAY)
    assert not finding.holds
    assert int(finding.figures["columns"]) > 1_600
    assert finding.line.startswith(f"{finding.figures['columns']:,} columns, of 1,600 that PostgreSQL takes")
    assert "the widest lists: taxonomies=300" in finding.line
    assert "give them less in NPI_LIST_WIDTHS" in finding.line


def test_files_with_a_byte_order_mark_are_proven_like_any_others(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    files = FileSettings(byte_order_mark=True)
    complete(root, DAY - dt.timedelta(days=1), {FOUND[0]: nppes_body(FOUND[0]), FOUND[1]: Outcome.failed}, files)
    manifest = complete(root, DAY, {FOUND[0]: nppes_body(FOUND[0], fax=1), FOUND[2]: Outcome.deactivated}, files)
    find_changes(root, DAY, files)
    written = [f"{state_files_folder(files.state_files_dir, DAY)}/{file.name}" for file in manifest.files]
    written.append(f"{provider_changes_folder(DAY)}/{provider_changes_name(files, DAY)}")
    assert {root.read(path)[:6] for path in written} == {b"\xef\xbb\xbfnpi"}
    assert every_npi_is_accounted_for(root, DAY, files).holds
    assert state_files_match_the_manifest(root, DAY, files).holds
    assert joins_and_leaves_match_the_lists(root, DAY, files).figures == {"joined": 1, "left": 1, "deactivated": 1}
