"""Days that are looked up in the registry's own files: real runs over made-up dissemination files.

The truth is what the emulated API says of the same made-up country. Not here: reading the files
(``registries.nppes_bulk``).
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from npi_pipeline.changes.kept_changes import read_kept_changes
from npi_pipeline.cli.commands import main
from npi_pipeline.demo.bulk import differing_state_files
from npi_pipeline.journal import compacted_parts, read_compacted_journal
from npi_pipeline.npi_records.registry_probe import PROBED_NPIS
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.daily_job import JOB_NAME, SNAPSHOT
from npi_pipeline.outcomes import Outcome
from npi_pipeline.proofs.state_files import every_npi_is_accounted_for
from npi_pipeline.providers.declared import read_declared
from npi_pipeline.registries.nppes_api import NPPES, judge
from npi_pipeline.registries.nppes_bulk.day_snapshot import keep_snapshot_of_day
from npi_pipeline.registries.nppes_bulk.snapshot import prepare_snapshot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing import providers
from npi_pipeline.testing.bulk import Country, Event, answer_on, write_monthly, write_weekly
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.pipeline import Pipeline, npis_of

# A Sunday, on which the monthly file was made.
MONTHLY = dt.date(2026, 11, 1)
DAY = dt.date(2026, 11, 5)
COUNTRY = Country(300, start=MONTHLY)
NPIS = sorted(COUNTRY.npis())
INVALID = "1234567890"


@pytest.fixture(scope="module")
def monthly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the monthly file of the country."""
    folder = tmp_path_factory.mktemp("bulk")
    write_monthly(COUNTRY, folder)
    return folder


@pytest.fixture
def files(tmp_path: Path, monthly: Path) -> Path:
    """A folder of the test's own with that file."""
    return Path(shutil.copytree(monthly, tmp_path / "files"))


def everybody(folder: Path, files: Path) -> Pipeline:
    """A pipeline over the whole country: no list is named."""
    return Pipeline(folder / "npi-data", registry_format="nppes_bulk", bulk_files=str(files))


def found_records(country: Country, week: int) -> dict[str, str]:
    """What the API would answer of each NPI that it finds at the end of ``week``."""
    answers = {npi: answer_on(country, npi, week).decode() for npi in country.npis()}
    return {npi: body for npi, body in answers.items() if judge(npi, body.encode()).outcome is Outcome.found}


def told(rows: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(row["npi"], row["outcome"]) for row in rows]


def test_a_day_has_the_same_state_files_whether_the_api_was_asked_or_the_files_were_read(
    tmp_path: Path, monthly: Path, s3: LocalS3, bucket: str, registry: EmulatedRegistry
) -> None:
    s3.put_list(bucket, "npi_list.txt", [*NPIS, INVALID])
    asked = Pipeline(tmp_path / "api", list_bucket=bucket, registry_url=registry.url)
    read = Pipeline(tmp_path / "bulk", list_bucket=bucket, registry_format="nppes_bulk", bulk_files=str(monthly))
    assert asked.run(DAY).ok
    assert read.run(DAY).ok
    assert list(differing_state_files(asked.folder(DAY), read.folder(DAY))) == []
    by_api, by_files = asked.state_files(DAY), read.state_files(DAY)
    assert told(by_files["Failed"]) == told(by_api["Failed"])
    # The comparison tells a cell that is another one.
    state_file = next(read.folder(DAY).glob("*_CA.csv"))
    state_file.write_bytes(state_file.read_bytes().replace(b"CORDELIA", b"CORDELIO").replace(b"LLC", b"LTD"))
    assert list(differing_state_files(asked.folder(DAY), read.folder(DAY))) == [state_file.name]


def test_without_a_list_everybody_in_the_files_is_looked_up_and_accounted_for(tmp_path: Path, files: Path) -> None:
    pipeline = everybody(tmp_path, files)
    run = pipeline.run(DAY)
    assert (run.ok, run.warnings) == (True, ())
    rows = pipeline.state_files(DAY)
    in_files = {npi for npi in NPIS if COUNTRY.state(npi) is not None}
    assert {npi for of_state in rows.values() for npi in npis_of(of_state)} == in_files
    deactivated = {row["npi"]: row["reason"] for row in rows["Failed"]}
    assert deactivated == {
        npi: f"CMS deactivated this NPI on {state}" for npi in NPIS if isinstance(state := COUNTRY.state(npi), dt.date)
    }
    (source,) = pipeline.manifest(DAY)["registry_files"]
    assert source.keys() == {"name", "kind", "date", "size", "sha256"}
    assert (source["kind"], source["date"]) == ("monthly", "2026-11-01")


@pytest.mark.long
def test_the_bodies_of_a_day_are_those_that_the_api_would_give(tmp_path: Path, files: Path) -> None:
    pipeline = everybody(tmp_path, files)
    assert pipeline.run(DAY).ok
    root = LocalRoot(pipeline.data_root)
    truth = found_records(COUNTRY, 0)
    kept = {
        npi: body
        for frame in compacted_parts(root, DAY, ("npi", "outcome", "body"))
        for npi, outcome, body in frame.iter_rows()
        if outcome == "found" or body is not None
    }
    assert kept.keys() == truth.keys()
    npis = sorted(truth)
    compared = ["number", "basic.last_name", "basic.last_updated", "location_address.telephone_number", "endpoints"]
    ours, theirs = (
        read_declared([bodies[npi] for npi in npis], NPPES.layout, {}).frame.select(compared)
        for bodies in (kept, truth)
    )
    assert ours.equals(theirs)


def test_a_backfilled_day_has_the_registry_as_it_was_then(tmp_path: Path, files: Path) -> None:
    somebody = next(npi for npi in NPIS if isinstance(COUNTRY.state(npi), dict))
    another = next(npi for npi in reversed(NPIS) if isinstance(COUNTRY.state(npi), dict))
    gone = next(npi for npi in NPIS if isinstance(COUNTRY.state(npi), dt.date))
    country = Country(
        300,
        start=MONTHLY,
        quiet=True,
        events={
            (somebody, 1): Event.changed,
            (another, 1): Event.deactivated,
            (gone, 2): Event.reactivated,
            (another, 2): Event.reactivated,
        },
    )
    for week in (1, 2):
        write_weekly(country, files, week)
    pipeline = everybody(tmp_path, files)
    # The last day first: an older one has its own world all the same.
    for week, day in ((2, 17), (0, 7), (1, 8)):
        of_day = dt.date(2026, 11, day)
        assert pipeline.run(of_day).ok
        assert found(pipeline, of_day) == comparable_truth(country, week)
    changes = read_kept_changes(LocalRoot(pipeline.data_root), dt.date(2026, 11, 8))
    assert changes.compared_with is not None
    assert changes.compared_with.day == dt.date(2026, 11, 7)
    assert (changes.counts["deactivated"], changes.counts["providers_changed"]) == (1, 1)
    later = read_kept_changes(LocalRoot(pipeline.data_root), dt.date(2026, 11, 17))
    assert later.summary.outcome_changes == (("deactivated", "found", 2),)


def test_a_day_that_was_made_before_its_weekly_file_came_is_told_of_until_it_is_run_again(
    tmp_path: Path, files: Path
) -> None:
    saturday, sunday = dt.date(2026, 11, 7), dt.date(2026, 11, 8)
    pipeline = everybody(tmp_path, files)
    root = LocalRoot(pipeline.data_root)
    keep_snapshot_of_day(root, saturday, prepare_snapshot(root, saturday, str(files)))
    assert pipeline.run(sunday).ok
    assert told_of_registry(pipeline, sunday) is None
    weekly = write_weekly(COUNTRY, files, 1)
    line = told_of_registry(pipeline, sunday)
    assert line == f"was made from the registry as of {MONTHLY}, and since then {weekly.name} came: run the day again"
    assert told_of_registry(pipeline, saturday) is None, "the week had not ended"

    assert pipeline.run(sunday).ok
    assert found(pipeline, sunday) == comparable_truth(COUNTRY, 1)
    assert told_of_registry(pipeline, sunday) is None


def told_of_registry(pipeline: Pipeline, day: dt.date) -> str | None:
    """What ``status`` says of the registry that a day was made from."""
    files = ["--registry-format", "nppes_bulk", "--bulk-files", pipeline.settings.registry.bulk_files]
    command = ["status", "--date", str(day), "--data-root", str(pipeline.data_root), *files]
    told = CliRunner().invoke(main, [*command, "--json"])
    (status,) = json.loads(told.stdout)
    line: str | None = status["registry"]
    assert line is None or line in CliRunner(env={"COLUMNS": "300"}).invoke(main, command).stdout
    return line


def test_status_tells_how_days_stand_when_the_files_of_the_registry_cannot_be_had(tmp_path: Path) -> None:
    nowhere = ["--bulk-files", "s3://no-such-bucket-of-ours/x/../y", "--registry-format", "nppes_bulk"]
    told = CliRunner().invoke(main, ["status", "--data-root", str(tmp_path), *nowhere])
    assert told.exit_code == 0
    assert told.stderr.startswith("warning: ")
    assert told.stderr.count("\n") == 1


def found(pipeline: Pipeline, day: dt.date) -> dict[str, str]:
    """Where each found provider practises, by its city: what the events change."""
    return {
        row["npi"]: row["location_address.city"]
        for rows in pipeline.state_files(day).values()
        for row in rows
        if row["outcome"] == "found"
    }


def comparable_truth(country: Country, week: int) -> Mapping[str, str]:
    records = found_records(country, week)
    frame = read_declared(list(records.values()), NPPES.layout, {}).frame
    return dict(zip(records, frame["location_address.city"], strict=True))


def test_a_weekly_file_that_is_missing_ends_the_registry_before_the_gap_and_is_named(
    tmp_path: Path, files: Path
) -> None:
    write_weekly(COUNTRY, files, 2)
    pipeline = everybody(tmp_path, files)
    run = pipeline.run(dt.date(2026, 11, 20))
    assert run.ok
    assert any("no_file_is_missing" in line for line in run.warnings)
    assert any("snapshot_is_recent" in line for line in run.warnings)
    (source,) = pipeline.manifest(dt.date(2026, 11, 20))["registry_files"]
    assert source["kind"] == "monthly"


def test_a_day_before_the_first_monthly_file_is_told_what_to_download_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    write_monthly(Country(3, start=MONTHLY + dt.timedelta(weeks=1)), tmp_path / "files")
    run = everybody(tmp_path, tmp_path / "files").run(DAY)
    assert not run.ok
    (problem,) = run.problems
    assert f"no monthly dissemination file of {DAY} or before" in problem
    assert "download NPPES_Data_Dissemination_<Month>_<Year>_V2.zip from https://" in problem
    assert "\n" not in problem


def test_the_page_of_the_snapshot_names_its_files(tmp_path: Path, files: Path) -> None:
    write_weekly(COUNTRY, files, 1)
    job = build_definitions(everybody(tmp_path, files).settings).resolve_job_def(JOB_NAME)
    chosen = {"asset_selection": [SNAPSHOT], "partition_key": "2026-11-09"}
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, **chosen)
        (event,) = result.get_asset_materialization_events()
    page = event.materialization.metadata
    assert (page["as_of"].value, page["days_before"].value) == ("2026-11-08", 1)
    shown = [(row.data["date"], row.data["kind"], row.data["name"]) for row in page["files"].records]
    assert shown == [
        ("2026-11-01", "monthly", "NPPES_Data_Dissemination_November_2026_V2.zip"),
        ("2026-11-08", "weekly", "NPPES_Data_Dissemination_110226_110826_Weekly_V2.zip"),
    ]


def test_a_gap_that_is_made_on_purpose_is_found_by_the_checks(tmp_path: Path, files: Path) -> None:
    pipeline = everybody(tmp_path, files)
    assert pipeline.run(DAY).ok
    root, files_of_day = LocalRoot(pipeline.data_root), pipeline.settings.files
    assert every_npi_is_accounted_for(root, DAY, files_of_day).holds
    state_file = max(pipeline.folder(DAY).glob("*.csv"), key=lambda path: path.stat().st_size)
    lines = state_file.read_bytes().splitlines(keepends=True)
    state_file.write_bytes(b"".join(lines[:-1]))
    found_out = every_npi_is_accounted_for(root, DAY, files_of_day)
    assert not found_out.holds
    assert lines[-1].decode().partition(",")[0] in found_out.line
    # And the next run heals it.
    assert pipeline.run(DAY).ok
    assert state_file.read_bytes() == b"".join(lines)


@pytest.mark.long
def test_a_day_that_is_run_again_leaves_everything_as_it_is(tmp_path: Path, files: Path) -> None:
    pipeline = everybody(tmp_path, files)
    assert pipeline.run(DAY).ok
    before = written(pipeline)
    published = pipeline.manifest(DAY)
    assert pipeline.run(DAY).ok
    assert written(pipeline) == before
    assert pipeline.manifest(DAY) == published


def written(pipeline: Pipeline) -> dict[Path, int]:
    """When each Parquet of the registry's files, the journal and the table was written."""
    folders = ("registry_files", "journal", "provider_table")
    return {
        path: path.stat().st_mtime_ns for name in folders for path in (pipeline.data_root / name).rglob("*.parquet")
    }


@pytest.mark.long
def test_a_day_that_was_asked_of_the_api_before_is_looked_up_in_the_files_alone(
    tmp_path: Path, files: Path, s3: LocalS3, bucket: str, registry: EmulatedRegistry
) -> None:
    s3.put_list(bucket, "npi_list.txt", NPIS)
    assert Pipeline(tmp_path, list_bucket=bucket, registry_url=registry.url).run(DAY).ok
    read = Pipeline(tmp_path, list_bucket=bucket, registry_format="nppes_bulk", bulk_files=str(files))
    assert read.run(DAY).ok
    journal = read_compacted_journal(LocalRoot(tmp_path), DAY)
    assert journal.registry.startswith("nppes_bulk 2026-11-01 ")
    assert not list((tmp_path / f"journal/day={DAY}/compacted").glob("*.parquet"))
    # And back: the API is asked, and what the files said counts for nothing.
    asked = Pipeline(tmp_path, list_bucket=bucket, registry_url=registry.url, reuse_hours=0)
    before = registry.stats().answers
    assert asked.run(DAY).ok
    assert registry.stats().answers - before == len(NPIS)


@pytest.mark.long
def test_what_was_prepared_and_is_lost_is_told_in_one_line_and_prepared_again(tmp_path: Path, files: Path) -> None:
    pipeline = everybody(tmp_path, files)
    assert pipeline.run(DAY).ok
    published = pipeline.bytes_by_name(DAY)
    shutil.rmtree(pipeline.data_root / "registry_files")
    shutil.rmtree(pipeline.data_root / "provider_table")
    assert pipeline.run(DAY).ok
    assert pipeline.bytes_by_name(DAY) == published


def test_with_the_files_first_the_api_is_asked_only_for_the_rest(
    tmp_path: Path, files: Path, s3: LocalS3, bucket: str, registry: EmulatedRegistry
) -> None:
    s3.put_list(bucket, "npi_list.txt", NPIS)
    settings = {"list_bucket": bucket, "registry_url": registry.url, "bulk_first": True, "bulk_files": str(files)}
    pipeline = Pipeline(tmp_path / "npi-data", **settings)
    before = registry.stats().answers
    assert pipeline.run(DAY).ok
    unknown = [npi for npi in NPIS if COUNTRY.state(npi) is None]
    # All of these are unknown to it: so it is asked, besides, for a few that the files have.
    assert registry.stats().answers - before == len(unknown) + PROBED_NPIS
    rows = [row for of_state in pipeline.state_files(DAY).values() for row in of_state]
    (name,) = (path.name for path in files.iterdir())
    sources = {row["npi"]: row["reason"] for row in rows}
    taken = {
        npi for npi, reason in sources.items() if reason == f"taken from the registry's file {name}, not asked for"
    }
    assert taken == set(NPIS) - set(unknown)
    # What is too old is not believed.
    outdated = Pipeline(tmp_path / "outdated", **settings, bulk_age_limit_days=3)
    before = registry.stats().answers
    assert outdated.run(DAY).ok
    assert registry.stats().answers - before == len(NPIS)


@pytest.mark.long
def test_forty_days_over_three_monthly_and_eight_weekly_files_are_each_as_of_their_date(tmp_path: Path) -> None:
    start = dt.date(2026, 9, 6)
    country = Country(200, start=start)
    files = tmp_path / "files"
    files.mkdir()
    for week in (0, 4, 8):
        write_monthly(country, files, week)
    for week in range(1, 9):
        write_weekly(country, files, week)
    pipeline = everybody(tmp_path, files)
    pipeline.settings = pipeline.settings.model_copy(
        update={"days": pipeline.settings.days.model_copy(update={"start_date": start})}
    )
    days = [start + dt.timedelta(days=7 * 8 + 3 - ago) for ago in range(40)]
    for day in days:
        assert pipeline.run(day).ok
    root = LocalRoot(pipeline.data_root)
    for day in days:
        week = (day - start).days // 7
        assert found(pipeline, day) == comparable_truth(country, week), day
    for day in days[:-1]:
        old, new = (found_records(country, (each - start).days // 7) for each in (day - dt.timedelta(days=1), day))
        counts = read_kept_changes(root, day).counts
        assert counts["providers_changed"] == sum(old[npi] != new[npi] for npi in old.keys() & new.keys()), day
        gone = {npi for npi in old.keys() - new.keys() if providers.outcome_of(npi) is Outcome.found}
        assert counts["deactivated"] == len(gone), day
