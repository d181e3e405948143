"""The checks find what is wrong with a day's files: each is shown a day that was tampered with."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from npi_pipeline.days.lock import day_lock
from npi_pipeline.findings import Finding
from npi_pipeline.journal import compact_journal, read_compacted_journal
from npi_pipeline.npi_list.kept_list import KeptListError, keep_list, read_kept_list
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.outcomes import Outcome
from npi_pipeline.proofs import npi_list, npi_records, provider_changes, providers, state_files
from npi_pipeline.providers.kept_table import TableError
from npi_pipeline.settings import CheckSettings
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import emulated_registry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.pipeline import DAY, Pipeline, npis_of, read_rows
from npi_pipeline_tests.watched_root import WatchedRoot

# On one worker: they share the sound days.
pytestmark = pytest.mark.xdist_group("checks")

NPIS = sorted(npi_numbers(40, seed=2))
NEXT_DAY = DAY + dt.timedelta(days=1)
CHECKS = CheckSettings()
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


THE_DAY_BEFORE = dt.datetime(2026, 11, 22, 6, tzinfo=dt.timezone.utc)
BUCKET = "a-day-to-be-checked"


@pytest.fixture(scope="module")
def sound_day(s3_server: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A day that is published and sound, with one bad line in its list. Each test has a copy of it."""
    folder = tmp_path_factory.mktemp("sound")
    s3_server.create_bucket(BUCKET)
    with pytest.MonkeyPatch.context() as patch, emulated_registry() as registry:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        s3_server.put_list(BUCKET, "npi_list.txt", [*NPIS, "-12345"], last_modified=THE_DAY_BEFORE)
        sound = Pipeline(folder, list_bucket=BUCKET, registry_url=registry.url)
        assert sound.run().ok
        yield sound


@pytest.fixture
def pipeline(sound_day: Pipeline, s3: LocalS3, tmp_path: Path) -> Pipeline:
    """A copy of the sound day, of the test's own, and its list in the bucket."""
    s3.put_list(BUCKET, "npi_list.txt", [*NPIS, "-12345"], last_modified=THE_DAY_BEFORE)
    shutil.copytree(sound_day.data_root, tmp_path / "npi-data")
    return Pipeline(tmp_path / "npi-data", list_bucket=BUCKET, registry_url=sound_day.settings.registry.registry_url)


PROOFS = (npi_list, npi_records, providers, state_files, provider_changes)


def found(pipeline: Pipeline, name: str, day: dt.date = DAY, checks: CheckSettings = CHECKS) -> Finding:
    """What the check ``name`` finds about the day."""
    root, files = LocalRoot(pipeline.data_root), pipeline.settings.files
    look: Callable[..., Finding] = next(getattr(room, name) for room in PROOFS if hasattr(room, name))
    more = {"list_is_like_recent_days": (checks,), "failed_share_is_under_the_limit": (checks,)}
    of_files = ("every_npi_is_accounted_for", "state_files_match_the_manifest", "joins_and_leaves_match_the_lists")
    return look(root, day, *(more | dict.fromkeys(of_files, (files,))).get(name, ()))


def a_state_file(pipeline: Pipeline) -> Path:
    """The largest state file of the day."""
    return max(pipeline.folder().glob("npi_data_*_??.csv"), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize(
    "name",
    [
        "list_is_of_its_day",
        "list_is_like_recent_days",
        "list_is_read_clearly",
        "every_npi_has_one_outcome",
        "failed_share_is_under_the_limit",
        "one_row_per_found_npi",
        "every_npi_is_accounted_for",
        "state_files_match_the_manifest",
        "joins_and_leaves_match_the_lists",
    ],
)
def test_a_sound_day_holds_every_claim(pipeline: Pipeline, name: str) -> None:
    finding = found(pipeline, name)
    assert finding.holds, finding.line


def test_a_row_that_is_missing_from_a_state_file_is_named(pipeline: Pipeline) -> None:
    path = a_state_file(pipeline)
    last = path.read_bytes().splitlines(keepends=True)[-1]
    lost = last.split(b",")[0].decode()
    for other in pipeline.folder().glob("*.csv"):
        kept = [line for line in other.read_bytes().splitlines(keepends=True) if not line.startswith(lost.encode())]
        other.write_bytes(b"".join(kept))
    finding = found(pipeline, "every_npi_is_accounted_for")
    assert (finding.holds, lost in finding.line) == (False, True)
    assert not found(pipeline, "state_files_match_the_manifest").holds


def test_one_npi_exchanged_for_another_is_found_though_the_counts_agree(pipeline: Pipeline) -> None:
    stranger = next(npi for npi in npi_numbers(100, seed=9) if npi not in NPIS)
    path = a_state_file(pipeline)
    victim = npis_of(pipeline.state_files()[path.stem.rpartition("_")[2]])[0]
    for other in pipeline.folder().glob("*.csv"):
        other.write_bytes(other.read_bytes().replace(victim.encode() + b",", stranger.encode() + b","))
    assert not found(pipeline, "every_npi_is_accounted_for").holds


def test_an_npi_that_is_found_and_failed_at_once_is_named(pipeline: Pipeline) -> None:
    row = a_state_file(pipeline).read_bytes().splitlines(keepends=True)[1]
    with (pipeline.folder() / f"npi_data_{DAY}_Failed.csv").open("ab") as failed:
        failed.write(row)
    finding = found(pipeline, "every_npi_is_accounted_for")
    assert not finding.holds
    assert "in a state file and in Failed" in finding.line


def test_a_day_that_was_published_with_another_name_for_failed_is_still_accounted_for(pipeline: Pipeline) -> None:
    files = pipeline.settings.files.model_copy(update={"failed_name": "Lost"})
    finding = state_files.every_npi_is_accounted_for(LocalRoot(pipeline.data_root), DAY, files)
    assert finding == found(pipeline, "every_npi_is_accounted_for")
    assert finding.holds


@pytest.mark.parametrize("lacking", ["Failed", "None"])
def test_a_manifest_without_the_file_that_every_day_has_is_told_with_what_to_do(
    pipeline: Pipeline, lacking: str
) -> None:
    manifest = pipeline.manifest()
    kept = [file for file in manifest["files"] if file["state"] == "Failed"]
    if lacking == "Failed":
        kept = [file for file in manifest["files"] if file["state"] != "Failed"]
    (pipeline.folder() / "manifest.json").write_text(json.dumps(manifest | {"files": kept}))
    finding = found(pipeline, "every_npi_is_accounted_for")
    assert not finding.holds
    assert finding.line == f"the manifest names no file {lacking}; materialise state_files of that day again"


def test_an_npi_twice_in_one_file_is_found(pipeline: Pipeline) -> None:
    path = a_state_file(pipeline)
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[1])
    assert "twice" in found(pipeline, "every_npi_is_accounted_for").line


def test_a_file_that_nobody_published_is_found(pipeline: Pipeline) -> None:
    (pipeline.folder() / "npi_data_stale_ZZ.csv").write_text("npi\n")
    assert "npi_data_stale_ZZ.csv" in found(pipeline, "state_files_match_the_manifest").line


def test_an_npi_of_the_list_without_an_outcome_is_found(pipeline: Pipeline) -> None:
    read_again(pipeline, [*NPIS, "-12345", "1234567893"])
    finding = found(pipeline, "every_npi_has_one_outcome")
    assert (finding.holds, "1234567893" in finding.line) == (False, True)


def test_a_provider_table_that_lost_a_part_is_found(pipeline: Pipeline) -> None:
    for part in (pipeline.data_root / "provider_table" / f"day={DAY}").glob("*.parquet"):
        part.unlink()
    # The check tells it as its finding, as whatever keeps it from reading.
    with pytest.raises(TableError, match=r"is missing: materialise providers for 2026-11-23 again"):
        found(pipeline, "one_row_per_found_npi")


def test_a_list_half_as_long_as_on_recent_days_is_remarked_on(pipeline: Pipeline, s3: LocalS3) -> None:
    s3.put_list(pipeline.settings.npi_list.list_bucket, "npi_list.txt", NPIS[:5])
    run = pipeline.run(NEXT_DAY)
    assert run.ok, "a warning keeps nothing from being published"
    assert any("list_is_like_recent_days" in warning for warning in run.warnings)


def test_a_list_with_many_invalid_npis_is_remarked_on_with_the_first_of_them(pipeline: Pipeline, s3: LocalS3) -> None:
    mangled = [f"{npi[:-1]}X" for npi in NPIS[:6]]
    s3.put_list(pipeline.settings.npi_list.list_bucket, "npi_list.txt", [*NPIS[6:], *mangled])
    run = pipeline.run(NEXT_DAY)
    assert run.ok, "a warning keeps nothing from being published"
    (warning,) = (warning for warning in run.warnings if "list_is_like_recent_days" in warning)
    assert "6 of them are invalid (15.00%, limit 5.00%)" in warning
    assert f"line 36 '{mangled[0]}' (holds something other than the digits 0-9)" in warning
    assert "NPI_INVALID_SHARE_LIMIT" in warning
    finding = found(pipeline, "list_is_like_recent_days", NEXT_DAY, CheckSettings(invalid_share_limit=0.15))
    assert (finding.holds, finding.figures["invalid"]) == (True, 6)


def test_a_first_days_list_is_looked_at_for_invalid_npis_too(pipeline: Pipeline) -> None:
    finding = found(pipeline, "list_is_like_recent_days", DAY, CheckSettings(invalid_share_limit=0))
    assert not finding.holds
    assert "line 42 '-12345'" in finding.line


def test_a_list_from_after_its_day_is_remarked_on_with_what_to_do(pipeline: Pipeline, s3: LocalS3) -> None:
    midnight = dt.datetime(2026, 11, 23, tzinfo=dt.timezone.utc)
    s3.put_list(pipeline.settings.npi_list.list_bucket, "npi_list.txt", NPIS, last_modified=midnight)
    run = pipeline.run(DAY - dt.timedelta(days=1))
    assert run.ok, "a warning keeps nothing from being published"
    (warning,) = (warning for warning in run.warnings if "list_is_of_its_day" in warning)
    assert "npi_list.txt of 2026-11-23 00:00:00 UTC" in warning
    assert "turn on its versioning, or put the date into NPI_LIST_KEY" in warning


@pytest.mark.parametrize(
    ("source", "holds", "line"),
    [
        ({"selection": "dated_key", "last_modified": "2026-11-24T00:00:00+00:00"}, True, "its key names the day"),
        ({"selection": "current", "last_modified": "2026-11-23T23:59:59+00:00"}, True, "lay there when the day ended"),
        ({"selection": "version", "version_id": "v1"}, True, "version v1 of 2026-11-22 06:00:00 UTC: it lay there"),
        ({"selection": "kept"}, True, "an earlier run kept it"),
        ({"selection": "version", "ambiguity": "nobody knows"}, False, "nobody knows"),
        ({"selection": "current", "last_modified": "2026-11-24T00:00:00+00:00"}, False, "put there after the day had"),
    ],
)
def test_the_list_is_of_its_day_as_far_as_was_recorded_when_it_was_kept(
    pipeline: Pipeline, source: dict[str, object], holds: bool, line: str
) -> None:
    path = pipeline.data_root / "npi_list" / str(DAY) / "source.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | source))
    finding = found(pipeline, "list_is_of_its_day")
    assert (finding.holds, line in finding.line) == (holds, True), finding.line


@pytest.fixture(scope="module")
def sound_next_day(sound_day: Pipeline, s3_server: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sound day with the day after: two NPIs left, one joined, and one that joined is deactivated."""
    folder = tmp_path_factory.mktemp("sound-days") / "npi-data"
    shutil.copytree(sound_day.data_root, folder)
    registry_url = sound_day.settings.registry.registry_url
    others = (npi for npi in npi_numbers(2_000, seed=9) if npi not in NPIS)
    by_outcome = {outcome_of(npi): npi for npi in others}
    joined = [by_outcome[Outcome.found], by_outcome[Outcome.deactivated]]
    s3_server.put_list(BUCKET, "npi_list.txt", [*NPIS[2:], *joined, "-12345"])
    assert Pipeline(folder, list_bucket=BUCKET, registry_url=registry_url).run(NEXT_DAY).ok
    return folder


@pytest.fixture
def changes(sound_next_day: Path, pipeline: Pipeline) -> Path:
    """The changes of the day after, which the pipeline's data root of this test's own has too."""
    shutil.rmtree(pipeline.data_root)
    shutil.copytree(sound_next_day, pipeline.data_root)
    path = pipeline.data_root / "provider_changes" / str(NEXT_DAY) / f"provider_changes_{NEXT_DAY}.csv"
    assert sorted(row["change"] for row in read_rows(path)) == ["joined", "joined", "left", "left"]
    return path


def test_joins_leaves_and_deactivations_that_match_the_lists_are_counted(pipeline: Pipeline, changes: Path) -> None:
    finding = found(pipeline, "joins_and_leaves_match_the_lists", NEXT_DAY)
    assert (finding.holds, finding.figures) == (True, {"joined": 2, "left": 2, "deactivated": 1})
    assert found(pipeline, "joins_and_leaves_match_the_lists", DAY).holds, "the first day has nothing before it"


@pytest.mark.parametrize("change", ["joined", "left"])
def test_a_join_or_leave_that_the_changes_lack_is_named(pipeline: Pipeline, changes: Path, change: str) -> None:
    lines = changes.read_text().splitlines(keepends=True)
    lost = next(line for line in lines if f",{change}," in line)
    changes.write_text("".join(line for line in lines if line != lost))
    finding = found(pipeline, "joins_and_leaves_match_the_lists", NEXT_DAY)
    assert (finding.holds, lost[:10] in finding.line) == (False, True)


def test_a_join_of_an_npi_that_was_there_before_is_named(pipeline: Pipeline, changes: Path) -> None:
    with changes.open("a") as file:
        file.write(f"{NPIS[5]},joined,outcome,,found\n")
    finding = found(pipeline, "joins_and_leaves_match_the_lists", NEXT_DAY)
    assert (finding.holds, NPIS[5] in finding.line) == (False, True)


def test_a_deactivation_that_the_changes_lack_is_named(pipeline: Pipeline, changes: Path) -> None:
    changes.write_text(changes.read_text().replace(",deactivated\n", ",found\n"))
    finding = found(pipeline, "joins_and_leaves_match_the_lists", NEXT_DAY)
    assert (finding.holds, "deactivated" in finding.line) == (False, True)


def read_again(pipeline: Pipeline, npis: list[str], day: dt.date = DAY) -> None:
    """Leave what materialising npi_list of the day, and nothing more, leaves: another list of NPIs."""
    root = LocalRoot(pipeline.data_root)
    body = "\n".join(["npi", *npis]).encode()
    keep_list(root, day, dataclasses.replace(read_kept_list(root, day), body=body))


def test_damage_to_the_kept_list_is_told_and_proves_nothing(pipeline: Pipeline) -> None:
    path = pipeline.data_root / "npi_list" / str(DAY) / "npi_list.txt"
    path.write_bytes(path.read_bytes().replace(NPIS[0].encode(), b"1234567893"))
    for name in ("list_is_read_clearly", "every_npi_is_accounted_for"):
        with pytest.raises(KeptListError, match="materialise npi_list of that day again"):
            found(pipeline, name)
    assert pipeline.run().ok, "the remedy works"
    assert found(pipeline, "every_npi_is_accounted_for").holds


def test_a_list_whose_column_is_not_clear_is_remarked_on_and_the_setting_settles_it(
    pipeline: Pipeline, s3: LocalS3
) -> None:
    body = "\n".join(["billing_npi,rendering_npi", *(f"{NPIS[0]},{npi}" for npi in NPIS)])
    s3.put_list(pipeline.settings.npi_list.list_bucket, "npi_list.txt", body)
    run = pipeline.run(NEXT_DAY)
    assert run.ok, "a warning keeps nothing from being published"
    (warning,) = (warning for warning in run.warnings if "list_is_read_clearly" in warning)
    assert "column 2 'rendering_npi' may be meant as well" in warning
    settled = pipeline.settings.npi_list.model_copy(update={"list_column": "rendering_npi"})
    pipeline.settings = pipeline.settings.model_copy(update={"npi_list": settled})
    assert not any("list_is_read_clearly" in warning for warning in pipeline.run(NEXT_DAY).warnings)
    assert found(pipeline, "every_npi_is_accounted_for", NEXT_DAY).figures["npis_in_list"] == len(NPIS)


@pytest.mark.parametrize("day", [DAY, NEXT_DAY])
def test_a_list_that_was_read_again_since_its_day_was_published_takes_nothing_from_the_proof_of_the_changes(
    pipeline: Pipeline, changes: Path, day: dt.date
) -> None:
    read_again(pipeline, NPIS[5:], day)
    finding = found(pipeline, "joins_and_leaves_match_the_lists", NEXT_DAY)
    assert (finding.holds, finding.figures) == (True, {"joined": 2, "left": 2, "deactivated": 1}), finding.line
    assert f"; list or journal of {day} is newer than what is published" in finding.line
    assert finding.line.endswith(": run it again, to its end")

    lines = changes.read_text().splitlines(keepends=True)
    lost = next(line for line in lines if ",joined," in line)
    changes.write_text("".join(line for line in lines if line != lost))
    finding = found(pipeline, "joins_and_leaves_match_the_lists", NEXT_DAY)
    assert (finding.holds, lost[:10] in finding.line) == (False, True), "the state files prove as much as the list"


def test_a_day_recorded_anew_since_it_was_published_is_held_against_its_state_files(
    pipeline: Pipeline, changes: Path
) -> None:
    root = LocalRoot(pipeline.data_root)
    registry = read_compacted_journal(root, DAY).registry
    with day_lock(root, DAY) as held:
        compact_journal(root, DAY, pl.Series("npi", NPIS[:5]), held, registry=registry)
    finding = found(pipeline, "joins_and_leaves_match_the_lists", NEXT_DAY)
    assert (finding.holds, f"journal of {DAY} is newer" in finding.line) == (True, True), finding.line


def test_a_published_day_whose_list_was_read_again_says_so_and_what_to_do(pipeline: Pipeline) -> None:
    read_again(pipeline, NPIS[1:])
    finding = found(pipeline, "every_npi_is_accounted_for")
    assert not finding.holds
    assert finding.line.startswith(
        f"the list was read again since {DAY} was published: run {DAY} again, to its end; 2 NPIs of the state files"
    )
    read_again(pipeline, [*NPIS, "-12345"])
    assert found(pipeline, "every_npi_is_accounted_for").holds, "other bytes, the same NPIs"


def test_changes_of_a_first_day_that_are_not_empty_are_found(pipeline: Pipeline) -> None:
    path = pipeline.data_root / "provider_changes" / str(DAY) / f"provider_changes_{DAY}.csv"
    with path.open("a") as file:
        file.write(f"{NPIS[5]},joined,outcome,,found\n")
    assert not found(pipeline, "joins_and_leaves_match_the_lists").holds


def test_without_a_partition_a_check_audits_every_materialised_day(pipeline: Pipeline) -> None:
    definitions = dg.Definitions.merge(
        build_definitions(pipeline.settings),
        dg.Definitions(jobs=[dg.define_asset_job("audit", selection=dg.AssetSelection.all_asset_checks())]),
    )
    earlier = DAY - dt.timedelta(days=1)
    with dg.DagsterInstance.ephemeral() as instance:
        daily = definitions.resolve_job_def("npi_daily")
        for day in (earlier, DAY):
            assert daily.execute_in_process(instance=instance, partition_key=str(day), run_config=QUIET).success
        audit = definitions.resolve_job_def("audit")
        sound = audit.execute_in_process(instance=instance, run_config=QUIET)
        assert {check.passed for check in sound.get_asset_check_evaluations()} == {True}

        (pipeline.folder(earlier) / f"npi_data_{earlier}_None.csv").unlink()
        spoilt = audit.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)
    findings = {check.check_name: check for check in spoilt.get_asset_check_evaluations()}
    broken = findings["state_files_match_the_manifest"]
    assert not broken.passed
    assert broken.description == "2 days looked at, 1 do not hold"
    assert set(broken.metadata) == {str(earlier)}


@pytest.mark.parametrize("name", ["every_npi_is_accounted_for", "state_files_match_the_manifest"])
def test_a_check_that_is_run_alone_is_proven_from_the_files(pipeline: Pipeline, name: str) -> None:
    alone = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("state_files"), name))
    definitions = dg.Definitions.merge(
        build_definitions(pipeline.settings), dg.Definitions(jobs=[dg.define_asset_job("alone", selection=alone)])
    )
    job = definitions.resolve_job_def("alone")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("state_files", partition=str(DAY)))
        (sound,) = job.execute_in_process(instance=instance, run_config=QUIET).get_asset_check_evaluations()
        path = a_state_file(pipeline)
        path.write_bytes(path.read_bytes().rpartition(b"\n1")[0] + b"\n")
        spoilt = job.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)
    assert (sound.check_name, sound.passed) == (name, True)
    assert [(check.check_name, check.passed) for check in spoilt.get_asset_check_evaluations()] == [(name, False)]


def test_the_checks_of_the_state_files_read_each_of_them_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    opened = DayStorage.open

    def watched(storage: DayStorage) -> DataRoot:
        root: Any = WatchedRoot(opened(storage), lambda method, path: read.append(path) if method == "chunks" else None)
        return root  # type: ignore[no-any-return]

    monkeypatch.setattr(DayStorage, "open", watched)
    definitions = build_definitions(pipeline.settings)
    checks = dg.AssetSelection.checks_for_assets("state_files")
    job = dg.Definitions.merge(
        definitions, dg.Definitions(jobs=[dg.define_asset_job("checks", selection=checks)])
    ).resolve_job_def("checks")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("state_files", partition=str(DAY)))
        done = job.execute_in_process(instance=instance, run_config=QUIET)
    assert [check.passed for check in done.get_asset_check_evaluations()] == [True, True]
    assert sorted(read) == sorted(f"state_files/{DAY}/{file['name']}" for file in pipeline.manifest()["files"])
