"""Which list a past day is run on, and re-run on: each day its own."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.daily_job import JOB_NAME
from npi_pipeline.orchestration.day_run import DayRun
from npi_pipeline.orchestration.monitoring.failures import broken_checks
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.pipeline import DAY, Pipeline, npis_of

KEY = "npi_list.txt"
NPIS = sorted(npi_numbers(6, seed=4))
DAYS = [DAY - dt.timedelta(days=ago) for ago in (2, 1, 0)]


def morning_of(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(6), dt.timezone.utc)


@pytest.fixture
def pipeline(s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path) -> Pipeline:
    """A deployment whose list has no date in its key."""
    return Pipeline(tmp_path / "npi-data", list_bucket=bucket, list_key=KEY, registry_url=registry.url)


def kept_bytes(pipeline: Pipeline, day: dt.date) -> bytes:
    return (pipeline.data_root / "npi_list" / str(day) / "npi_list.txt").read_bytes()


def source(pipeline: Pipeline, day: dt.date) -> dict[str, Any]:
    """Where the list of a day came from."""
    kept: dict[str, Any] = json.loads((pipeline.data_root / "npi_list" / str(day) / "source.json").read_text())
    return kept


def forget_the_ambiguity(pipeline: Pipeline, day: dt.date) -> None:
    """Leave of the kept list's source what is written of a list that was put while it was asked for, at midnight."""
    path = pipeline.data_root / "npi_list" / str(day) / "source.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ambiguity": None}))


def kept_npis(pipeline: Pipeline, day: dt.date = DAY) -> set[str]:
    return set(kept_bytes(pipeline, day).decode().split()[1:])


def published_npis(pipeline: Pipeline, day: dt.date) -> set[str]:
    return {npi for rows in pipeline.state_files(day).values() for npi in npis_of(rows)}


def ambiguities_of(run: DayRun) -> list[str]:
    """What a sound run warned of about the list's day."""
    assert run.ok, run.problems
    return _of_its_day(run.warnings)


def ambiguities_of_list(pipeline: Pipeline, day: dt.date = DAY) -> list[str]:
    """The same of npi_list materialised alone, as a run does first."""
    job = build_definitions(pipeline.settings).resolve_job_def(JOB_NAME)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, partition_key=str(day), asset_selection=[dg.AssetKey("npi_list")], run_config=quiet
        )
    return _of_its_day(broken_checks(result.get_asset_check_evaluations(), dg.AssetCheckSeverity.WARN))


def _of_its_day(warnings: Iterable[str]) -> list[str]:
    return [warning for warning in warnings if "list_is_of_its_day" in warning]


def test_each_backfilled_day_gets_its_own_version(pipeline: Pipeline, s3: LocalS3, bucket: str) -> None:
    s3.create_bucket(bucket, versioned=True)
    versions = {}
    for number, day in enumerate(DAYS):
        s3.put_list(bucket, KEY, NPIS[number : number + 2], last_modified=morning_of(day))
        versions[day] = s3.client().head_object(Bucket=bucket, Key=KEY)["VersionId"]
    for day in reversed(DAYS):
        assert ambiguities_of(pipeline.run(day)) == []
    for number, day in enumerate(DAYS):
        assert kept_bytes(pipeline, day) == "\n".join(["NPI", *NPIS[number : number + 2], ""]).encode()
        assert published_npis(pipeline, day) == set(NPIS[number : number + 2])
        assert pipeline.manifest(day)["source"] == source(pipeline, day)
        assert source(pipeline, day)["version_id"] == versions[day]
        assert source(pipeline, day)["last_modified"] == morning_of(day).isoformat()
    assert [source(pipeline, day)["selection"] for day in DAYS] == ["version", "version", "current"]


def test_a_day_keeps_its_list_when_it_is_repaired_after_the_object_was_written_over(
    pipeline: Pipeline, s3: LocalS3, bucket: str
) -> None:
    day, next_day = DAYS[:2]
    s3.put_list(bucket, KEY, NPIS[:2], last_modified=morning_of(day))
    assert ambiguities_of(pipeline.run(day)) == []
    first = kept_bytes(pipeline, day), source(pipeline, day)
    s3.put_list(bucket, KEY, NPIS[2:], last_modified=morning_of(next_day))

    for ambiguities in (ambiguities_of_list(pipeline, day), ambiguities_of(pipeline.run(day))):
        assert ambiguities == []
        assert (kept_bytes(pipeline, day), source(pipeline, day)) == (first[0], first[1] | {"selection": "kept"})
    assert published_npis(pipeline, day) == set(NPIS[:2])
    assert pipeline.manifest(day)["source"] == source(pipeline, day)
    assert ambiguities_of(pipeline.run(next_day)) == []
    assert published_npis(pipeline, next_day) == set(NPIS[2:])


@pytest.mark.parametrize("gone", ["expired", "deleted in the evening"])
def test_a_day_keeps_its_list_when_the_bucket_has_none_of_it_any_more(
    pipeline: Pipeline, s3: LocalS3, bucket: str, gone: str
) -> None:
    day, next_day = DAYS[:2]
    s3.create_bucket(bucket, versioned=True)
    s3.put_list(bucket, KEY, NPIS[:2], last_modified=morning_of(day))
    version = s3.client().head_object(Bucket=bucket, Key=KEY)["VersionId"]
    assert ambiguities_of_list(pipeline, day) == []
    if gone == "expired":
        s3.client().delete_object(Bucket=bucket, Key=KEY, VersionId=version)
    else:
        marker = s3.client().delete_object(Bucket=bucket, Key=KEY)
        s3.set_last_modified(bucket, KEY, morning_of(day) + dt.timedelta(hours=14), marker["VersionId"])
    s3.put_list(bucket, KEY, NPIS[2:], last_modified=morning_of(next_day))

    assert ambiguities_of_list(pipeline, day) == []
    assert (source(pipeline, day)["selection"], source(pipeline, day)["version_id"]) == ("kept", version)
    assert kept_npis(pipeline, day) == set(NPIS[:2])


def test_a_version_of_the_day_goes_before_what_was_kept(pipeline: Pipeline, s3: LocalS3, bucket: str) -> None:
    s3.create_bucket(bucket, versioned=True)
    s3.put_list(bucket, KEY, NPIS[:2], last_modified=morning_of(DAY))
    assert ambiguities_of_list(pipeline) == []
    s3.put_list(bucket, KEY, NPIS[2:4], last_modified=morning_of(DAY) + dt.timedelta(hours=9))
    s3.put_list(bucket, KEY, NPIS[4:])

    assert ambiguities_of_list(pipeline) == []
    assert source(pipeline, DAY)["selection"] == "version"
    assert kept_npis(pipeline) == set(NPIS[2:4])


@pytest.mark.parametrize("other", ["key", "later list", "later list without an ambiguity"])
def test_what_was_kept_stays_only_if_it_is_this_object_from_before_the_end_of_the_day(
    pipeline: Pipeline, s3: LocalS3, bucket: str, other: str
) -> None:
    key, put_at = ("other.txt", morning_of(DAY)) if other == "key" else (KEY, morning_of(DAY) + dt.timedelta(days=1))
    s3.put_list(bucket, key, NPIS[:2], last_modified=put_at)
    settings = pipeline.settings.npi_list.model_dump() | pipeline.settings.registry.model_dump() | {"list_key": key}
    ambiguities_of_list(Pipeline(pipeline.data_root, **settings))
    if "without" in other:
        forget_the_ambiguity(pipeline, DAY)
    s3.put_list(bucket, KEY, NPIS[2:], last_modified=put_at + dt.timedelta(days=1, hours=1))

    (ambiguity,) = ambiguities_of_list(pipeline)
    assert "turn on its versioning" in ambiguity
    assert source(pipeline, DAY)["selection"] == "current"
    assert kept_npis(pipeline) == set(NPIS[2:])


def test_a_dated_key_never_asks_for_versions_and_a_late_list_is_its_days(
    s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path
) -> None:
    s3.put_list(bucket, f"{DAY}.txt", NPIS, last_modified=morning_of(DAY) + dt.timedelta(days=1))
    s3.misbehave(refused_actions=dict.fromkeys(("s3:ListBucketVersions", "s3:GetObjectVersion"), "AccessDenied"))
    dated = Pipeline(tmp_path, list_bucket=bucket, list_key="{date:%Y-%m-%d}.txt", registry_url=registry.url)
    assert ambiguities_of_list(dated) == []
    assert (source(dated, DAY)["selection"], source(dated, DAY)["ambiguity"]) == ("dated_key", None)


def test_a_day_whose_versions_may_not_be_listed_runs_and_names_the_permission(
    pipeline: Pipeline, s3: LocalS3, bucket: str
) -> None:
    s3.create_bucket(bucket, versioned=True)
    s3.put_list(bucket, KEY, NPIS)
    s3.misbehave(refused_actions={"s3:ListBucketVersions": "AccessDenied"})
    (ambiguity,) = ambiguities_of_list(pipeline)
    assert "grant s3:ListBucketVersions" in ambiguity


def test_a_day_without_a_list_fails_on_one_line_and_keeps_nothing(pipeline: Pipeline, s3: LocalS3, bucket: str) -> None:
    s3.create_bucket(bucket, versioned=True)
    s3.put_list(bucket, KEY, NPIS, last_modified=morning_of(DAYS[1]))
    (problem,) = pipeline.run(DAYS[0]).problems
    assert f"s3://{bucket}/{KEY}" in problem
    assert "there was no list when the day ended" in problem
    assert not (pipeline.data_root / "npi_list" / str(DAYS[0])).exists()
