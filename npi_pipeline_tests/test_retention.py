"""What of old days is removed, and what never is."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from npi_pipeline.cli.commands import main
from npi_pipeline.days.lock import day_lock
from npi_pipeline.days.paths import JOURNAL, PROVIDER_TABLE, STATE_FILES, journal_folder
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.proofs.day_status import DayState, status_of_day
from npi_pipeline.registries.nppes_bulk.day_snapshot import keep_snapshot_of_day
from npi_pipeline.registries.nppes_bulk.files import FileKind
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot, SnapshotFile
from npi_pipeline.retention import Removed, remove_old_days
from npi_pipeline.settings import Settings, SettingsError
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline_tests.complete_days import Outcomes, complete, record

TODAY = dt.datetime.now(dt.timezone.utc).date()
OLD, OLDER, YOUNG = (TODAY - dt.timedelta(days=ago) for ago in (100, 500, 20))
BODY = '{"result_count":1,"results":[{"number":"%s","basic":{"last_name":"DOE"}}]}'
OUTCOMES: Outcomes = {npi: BODY % npi for npi in npi_numbers(3, seed=1)}


@pytest.fixture
def root(tmp_path: Path) -> LocalRoot:
    return LocalRoot(tmp_path)


def settings(root: DataRoot, **changed: object) -> Settings:
    return Settings.from_environment({}, **{"data_root": root.uri(), "keep_days": "90", **changed})


def removed(root: DataRoot, *, dry_run: bool = False, **changed: object) -> Removed:
    return remove_old_days(root, settings(root, **changed), TODAY, dry_run=dry_run)


def paths(root: DataRoot) -> set[str]:
    folders = (JOURNAL, PROVIDER_TABLE, STATE_FILES, "npi_list", "registry_files", "registry_snapshots")
    return {file.path for folder in folders for file in root.list(folder)}


def test_on_either_kind_of_root_the_journal_and_the_table_go_and_the_files_stay(data_root: str) -> None:
    root = open_data_root(data_root)
    for day in (OLD, YOUNG):
        complete(root, day, OUTCOMES)
    before = paths(root)
    gone = removed(root)
    assert {path for path in before if str(OLD) in path and path.startswith((JOURNAL, PROVIDER_TABLE))} == (
        before - paths(root)
    )
    assert (gone.days, gone.files, gone.left) == (1, len(before) - len(paths(root)), {})
    assert status_of_day(root, settings(root).files, OLD).state is DayState.complete
    assert removed(root).files == 0


def test_a_dry_run_says_what_would_go_and_removes_nothing(root: LocalRoot) -> None:
    complete(root, OLD, OUTCOMES)
    before = paths(root)
    would = removed(root, dry_run=True)
    assert paths(root) == before
    assert str(would).endswith(" would be removed")
    gone = removed(root)
    assert (would.days, would.files, would.bytes) == (gone.days, gone.files, gone.bytes)


def test_a_day_that_is_not_published_stays_however_old_and_is_told_of(root: LocalRoot) -> None:
    record(root, OLDER, OUTCOMES)
    gone = removed(root, keep_files_days="365")
    assert root.list(journal_folder(OLDER))
    assert f"1 older days are left alone, the first is {OLDER}: it is not published" in str(gone)
    assert "\n" not in str(gone)


def test_a_day_that_somebody_is_at_work_on_stays(root: LocalRoot) -> None:
    complete(root, OLD, OUTCOMES)
    before = paths(root)
    with day_lock(root, OLD):
        assert list(removed(root).left) == [OLD]
    assert paths(root) == before


def test_by_choice_the_files_go_too_and_what_an_interrupted_removal_left(root: LocalRoot) -> None:
    for day in (OLDER, OLD):
        complete(root, day, OUTCOMES)
    # Killed when the manifest was gone and the files were not.
    removed(root)
    root.delete(f"{STATE_FILES}/{OLDER}/manifest.json")
    removed(root, keep_files_days="365")
    assert not {path for path in paths(root) if str(OLDER) in path}
    assert status_of_day(root, settings(root).files, OLD).state is DayState.complete


def test_what_is_prepared_of_the_registrys_files_goes_when_no_day_that_is_kept_names_it(root: LocalRoot) -> None:
    for day, prepared in ((OLD, "old"), (YOUNG, "young")):
        complete(root, day, OUTCOMES)
        keep_snapshot_of_day(root, day, snapshot(day, "both", prepared))
    for name in ("old", "young", "both", "of-no-day", "in-the-making"):
        for part in ("part-0.arrow", "index.json"):
            root.write(f"registry_files/{name}/{part}", b"content")
    long_ago = 1_000_000_000
    for path in root.folder.glob("registry_*/**/*"):
        if "in-the-making" not in str(path):
            os.utime(path, (long_ago, long_ago))
    removed(root)
    prepared = {path.split("/")[1] for path in paths(root) if path.startswith("registry_files")}
    assert prepared == {"young", "both", "in-the-making"}
    assert len(root.list("registry_snapshots")) == 1


def snapshot(day: dt.date, *prepared: str) -> Snapshot:
    files = (SnapshotFile(f"{name}.zip", FileKind.monthly, day, 1, "0" * 64, name) for name in prepared)
    return Snapshot(tuple(files), day, (), f"nppes_bulk as of {day} {'-'.join(prepared)}")


def test_without_the_setting_nothing_goes(root: LocalRoot) -> None:
    complete(root, OLDER, OUTCOMES)
    assert removed(root, keep_days="0") == Removed(0, 0, 0, {}, is_dry_run=False)
    names = {job.name for job in build_definitions(settings(root, keep_days="0")).resolve_all_job_defs()}
    assert "npi_retention" not in names


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"keep_days": "8"}, "NPI_KEEP_DAYS=8 would remove days that the schedule still looks after"),
        ({"keep_files_days": "30"}, "NPI_KEEP_FILES_DAYS=30 removes files of days whose journals are kept longer"),
    ],
)
def test_days_that_are_still_needed_cannot_be_given_up(root: LocalRoot, changed: dict[str, str], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        build_definitions(settings(root, **changed))


def test_the_job_says_it_in_one_line_and_so_does_the_command(root: LocalRoot) -> None:
    complete(root, OLD, OUTCOMES)
    options = ["--data-root", str(root.folder), "--keep-days", "90"]
    said = CliRunner().invoke(main, ["retention", "--dry-run", *options])
    assert (said.exit_code, said.output.count("\n")) == (0, 1)
    job = build_definitions(settings(root)).resolve_job_def("npi_retention")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
        lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert said.output.strip().replace("would be removed", "removed") in lines
    assert not root.list(journal_folder(OLD))
