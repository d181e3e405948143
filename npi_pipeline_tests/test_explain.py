"""What is known of one NPI on a day, told from the files of real days, on either kind of root."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.cli.commands import main
from npi_pipeline.explain import explain
from npi_pipeline.journal import JournalWriter, load_compacted_journal
from npi_pipeline.npi_list.keep_npi_list import kept_npi_list
from npi_pipeline.npi_records.record_snapshot import record_snapshot
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.registries.nppes_bulk.snapshot import prepare_snapshot
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import complete, keep, record
from npi_pipeline_tests.flattened import nppes_body
from npi_pipeline_tests.registries.nppes_bulk.made_files import csv_of, deactivated, make_monthly, person

A, B, C, INVALID = "1000000004", "1000000012", "1000000020", "-12"
MONDAY, TUESDAY = dt.date(2026, 11, 23), dt.date(2026, 11, 24)
FILES = FileSettings()


def two_days(root: DataRoot) -> None:
    """On Tuesday A's name is another one, B is found no more, and C has joined."""
    complete(root, MONDAY, {A: nppes_body(A, enumeration_type="OLD"), B: nppes_body(B)})
    complete(
        root,
        TUESDAY,
        {A: nppes_body(A, enumeration_type="NEW"), B: Outcome.deactivated, C: Outcome.failed, INVALID: Outcome.invalid},
    )
    for day in (MONDAY, TUESDAY):
        find_changes(root, day, FILES)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> LocalRoot:
    """The two days on a local root, to be read only."""
    local = LocalRoot(tmp_path_factory.mktemp("kept"))
    two_days(local)
    return local


@pytest.fixture
def local(tmp_path: Path) -> LocalRoot:
    """A fresh local root."""
    return LocalRoot(tmp_path / "root")


def test_a_found_npi_is_told_with_its_line_its_answer_its_row_its_files_and_what_changed(root: DataRoot) -> None:
    two_days(root)
    told = explain(root, FILES, TUESDAY, A)
    assert told.problems == ()
    assert told.listed
    assert (told.listed.line, told.listed.occurrences, told.listed.invalid) == (2, 1, None)
    (row,) = told.journal
    assert (row["place"], row["registry"], row["outcome"]) == ("compacted", "nppes registry", "found")
    assert row["body"] == nppes_body(A, enumeration_type="NEW")
    assert told.provider
    assert told.provider["enumeration_type"] == "NEW"
    assert told.changes
    assert told.changes.compared_with == MONDAY
    assert told.changes.rows == ({"change": "field", "field": "enumeration_type", "old": "OLD", "new": "NEW"},)


@pytest.mark.parametrize("npi", [A, B, C, INVALID])
def test_the_files_that_are_named_are_those_that_have_the_row(npi: str, kept: LocalRoot) -> None:
    with_row = {
        str(path)
        for path in kept.folder.glob(f"state_files/{TUESDAY}/*.csv")
        if any(row[0].removeprefix("'") == npi for row in csv.reader(io.StringIO(path.read_text())))
    }
    assert with_row
    assert set(explain(kept, FILES, TUESDAY, npi).files) == with_row


def test_an_npi_that_was_not_found_is_told_with_its_reason_and_has_no_provider(kept: LocalRoot) -> None:
    out, failed, invalid = (explain(kept, FILES, TUESDAY, npi) for npi in (B, C, INVALID))
    assert (out.journal[0]["outcome"], out.provider) == ("deactivated", None)
    assert out.changes
    assert [row["change"] for row in out.changes.rows] == ["outcome"]
    assert failed.journal[0]["reason"] == "it is failed"
    assert invalid.listed
    assert invalid.listed.invalid
    for joined in (failed, invalid):
        assert joined.changes
        assert [row["change"] for row in joined.changes.rows] == ["joined"]


def test_what_arrived_since_the_journal_was_compacted_is_told_in_its_order(local: LocalRoot) -> None:
    two_days(local)
    now = dt.datetime.now(dt.timezone.utc)
    for run in (3, 2):
        with JournalWriter(local, TUESDAY, run=run, registry="nppes registry") as journal:
            journal.append(NpiOutcome(C, Verdict(Outcome.failed, f"run {run}", retryable=True), now, 4, 503))
    rows = explain(local, FILES, TUESDAY, C).journal
    assert [(row["place"], row["reason"]) for row in rows] == [
        ("segments", "run 2"),
        ("segments", "run 3"),
        ("compacted", "it is failed"),
    ]
    assert (rows[0]["registry"], rows[0]["attempts"], rows[0]["status"]) == ("nppes registry", 4, 503)


def test_of_an_npi_or_a_day_of_which_nothing_is_there_nothing_is_known(local: LocalRoot) -> None:
    complete(local, MONDAY, {A: nppes_body(A)})
    for day, npi in ((MONDAY, C), (MONDAY, "0"), (TUESDAY, A)):
        told = explain(local, FILES, day, npi)
        assert (told.is_known, told.files, told.problems) == (False, (), ())


def test_only_the_parts_that_may_have_the_npi_are_read(local: LocalRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npi_pipeline.journal.compaction.COMPACTED_PART_ROWS", 1)
    complete(local, MONDAY, {npi: nppes_body(npi) for npi in (A, B, C)})
    journal = load_compacted_journal(local, MONDAY)
    assert journal
    assert len(journal.parts) == 3
    local.delete(*(path for number, path in enumerate(journal.paths) if number != 1))
    told = explain(local, FILES, MONDAY, B)
    assert (told.problems, told.journal[0]["body"]) == ((), nppes_body(B))
    damaged = explain(local, FILES, MONDAY, A)
    assert damaged.journal == ()
    assert damaged.provider
    assert ["is missing: materialise npi_records" in line for line in damaged.problems] == [True]


@pytest.mark.long_on_s3
def test_a_damaged_part_of_each_kind_is_told_and_left_where_it_is(root: DataRoot) -> None:
    two_days(root)
    with JournalWriter(root, TUESDAY, run=2, registry="other registry") as journal:
        journal.append(NpiOutcome(A, Verdict(Outcome.failed, "down", retryable=True), dt.datetime.now(dt.timezone.utc)))
    parts = [file.path for file in root.list("") if str(TUESDAY) in file.path and file.path.endswith(".parquet")]
    parts = [path for path in parts if not path.startswith("npi_list")]
    for path in parts:
        root.write(path, b"no Parquet")
    told = explain(root, FILES, TUESDAY, A)
    assert told.listed
    assert told.changes
    assert len(told.problems) == 3
    assert all("damaged" in line for line in told.problems)
    assert all(root.read(path) == b"no Parquet" for path in parts)


def test_state_files_of_an_earlier_journal_are_told(local: LocalRoot) -> None:
    complete(local, MONDAY, {A: nppes_body(A)})
    record(local, MONDAY, {A: Outcome.not_found})
    assert ["of an earlier journal" in line for line in explain(local, FILES, MONDAY, A).problems] == [True]


def test_of_a_day_whose_answers_stand_in_a_snapshot_its_record_is_told(local: LocalRoot, tmp_path: Path) -> None:
    make_monthly(
        tmp_path / "files", MONDAY - dt.timedelta(7), csv_of([person(int(A), city="ROME"), deactivated(int(B))])
    )
    snapshot = prepare_snapshot(local, MONDAY, str(tmp_path / "files"))
    keep(local, MONDAY, {A: "", B: "", C: ""})
    record_snapshot(local, MONDAY, kept_npi_list(local, MONDAY), snapshot)
    (row,) = explain(local, FILES, MONDAY, A).journal
    assert (row["outcome"], row["registry"]) == ("found", snapshot.identity)
    assert "ROME" in row["body"]
    for npi, outcome in ((B, "deactivated"), (C, "not_found")):
        (row,) = explain(local, FILES, MONDAY, npi).journal
        assert (row["outcome"], row["body"]) == (outcome, None)


def test_the_command_tells_people_and_machines_the_same_and_its_exit_code_whether_anything_is_known(
    kept: LocalRoot,
) -> None:
    def said(npi: str, *options: str) -> Result:
        command = ["explain", "--date", str(TUESDAY), "--npi", npi, "--data-root", str(kept.folder), *options]
        return CliRunner().invoke(main, command)

    person, machine = said(A), said(A, "--json")
    assert (person.exit_code, machine.exit_code, said("1000000038").exit_code) == (0, 0, 1)
    told = json.loads(machine.stdout)
    assert told["journal"][0]["outcome"] == "found"
    for shown in ("line 2 of s3://bucket/npi_list.txt", "field enumeration_type: OLD -> NEW", *told["files"]):
        assert shown in person.stdout
    assert "deactivated" in said(B).stdout
