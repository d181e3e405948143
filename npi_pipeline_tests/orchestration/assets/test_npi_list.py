"""What the asset does with lists that are late, hidden, empty or something else, and with what S3 refuses."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest

from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.pipeline import DAY, Pipeline

A = "1003101296"
B = "1003142399"


def materialise_list(
    pipeline: Pipeline, log_level: str = "CRITICAL", **at_launchpad: object
) -> dg.ExecuteInProcessResult:
    """Materialise npi_list of DAY alone, with what the launchpad says of where the list is."""
    job = build_definitions(pipeline.settings).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance,
            partition_key=str(DAY),
            asset_selection=[dg.AssetKey("npi_list")],
            raise_on_error=False,
            run_config={
                "loggers": {"console": {"config": {"log_level": log_level}}},
                "resources": {"npi_list_source": {"config": at_launchpad}},
            },
        )


def the_failure(result: dg.ExecuteInProcessResult) -> str:
    """The one line that the step failed with; it was not tried again."""
    kinds = [event.event_type_value for event in result.all_events]
    assert "STEP_UP_FOR_RETRY" not in kinds
    (failure,) = result.get_step_failure_events()
    assert failure.step_failure_data.user_failure_data is not None
    line = failure.step_failure_data.user_failure_data.description or ""
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("body", "what", "remedy"),
    [
        (b"", "is empty", "put a list with one NPI a line there"),
        (b"npi\n", "no NPI", "put a list with one NPI a line there"),
        (b"\x1f\x8b\x08\x00rubbish", "gzip data", "put a list with one NPI a line there"),
        (b"<html>Service Unavailable</html>", "HTML", "correct NPI_LIST_KEY"),
        (
            b"npi\n1.234567893E9\n1.00E+09\n",
            "holds no valid NPI in column 1 'npi', e.g. line 2 '1.234567893E9' (is a number in scientific notation",
            "export the column as text",
        ),
    ],
)
def test_an_object_that_is_no_list_fails_without_retry_naming_bucket_key_and_remedy(
    s3: LocalS3, bucket: str, tmp_path: Path, body: bytes, what: str, remedy: str
) -> None:
    s3.put_list(bucket, "some/list.txt", body)
    line = the_failure(materialise_list(Pipeline(tmp_path, list_bucket=bucket, list_key="some/list.txt")))
    assert f"s3://{bucket}/some/list.txt" in line
    assert what in line
    assert remedy in line


def test_a_list_that_is_not_clear_names_the_setting_that_decides_and_follows_it(
    s3: LocalS3, bucket: str, tmp_path: Path
) -> None:
    s3.put_list(bucket, "npi_list.txt", f"{A},{B}\n{B},{A}\n")
    line = the_failure(materialise_list(Pipeline(tmp_path, list_bucket=bucket)))
    assert "column 1, column 2 hold NPIs" in line
    assert "NPI_LIST_COLUMN" in line
    assert materialise_list(Pipeline(tmp_path, list_bucket=bucket, list_column="2")).success


def test_an_object_larger_than_any_list_is_not_read(s3: LocalS3, bucket: str, tmp_path: Path) -> None:
    s3.put_list(bucket, "npi_list.txt", [A] * 1000)
    line = the_failure(materialise_list(Pipeline(tmp_path, list_bucket=bucket, list_max_bytes=1024)))
    assert "more than 1,024" in line
    assert "NPI_LIST_MAX_BYTES" in line


def test_a_missing_key_fails_without_retry_and_says_what_to_do_if_it_comes_late(
    s3: LocalS3, bucket: str, tmp_path: Path
) -> None:
    line = the_failure(materialise_list(Pipeline(tmp_path, list_bucket=bucket, list_key="{date:%d-%m-%Y}.txt")))
    assert f"s3://{bucket}/23-11-2026.txt" in line
    assert "materialise the day again" in line
    assert "NPI_LIST_KEY" in line


def test_a_missing_bucket_fails_without_retry(s3: LocalS3, tmp_path: Path) -> None:
    line = the_failure(materialise_list(Pipeline(tmp_path, list_bucket="no-such-bucket")))
    assert "s3://no-such-bucket/npi_list.txt" in line
    assert "NPI_LIST_BUCKET" in line


def test_a_denied_bucket_fails_without_retry(s3: LocalS3, bucket: str, tmp_path: Path) -> None:
    s3.misbehave(denied_buckets=[bucket])
    line = the_failure(materialise_list(Pipeline(tmp_path, list_bucket=bucket)))
    assert f"s3://{bucket}/npi_list.txt" in line
    assert "s3:GetObject" in line


def test_no_bucket_at_all_says_which_setting_is_missing(s3: LocalS3, tmp_path: Path) -> None:
    assert "set NPI_LIST_BUCKET" in the_failure(materialise_list(Pipeline(tmp_path)))


def test_no_credentials_says_how_to_give_some(
    s3: LocalS3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "NPI_LIST_UNSIGNED" in the_failure(materialise_list(Pipeline(tmp_path, list_bucket=bucket)))


def test_a_public_bucket_is_read_without_credentials(
    s3: LocalS3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_list(bucket, "npi_list.txt", [A])
    s3.client().put_object_acl(Bucket=bucket, Key="npi_list.txt", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert materialise_list(Pipeline(tmp_path, list_bucket=bucket, list_unsigned=True)).success


@pytest.mark.parametrize("in_environment", [False, True])
@pytest.mark.parametrize("at_launchpad", [False, True])
def test_the_launchpad_says_whether_the_bucket_is_public(
    s3: LocalS3,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_environment: bool,
    at_launchpad: bool,
) -> None:
    s3.put_list(bucket, "npi_list.txt", [A])
    s3.client().put_object_acl(Bucket=bucket, Key="npi_list.txt", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    pipeline = Pipeline(tmp_path, list_bucket=bucket, list_unsigned=in_environment)
    result = materialise_list(pipeline, list_unsigned=at_launchpad)
    assert result.success is at_launchpad, "without credentials only an unsigned request can be made"


def test_which_version_was_used_is_shown_and_logged(
    s3: LocalS3, bucket: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    s3.create_bucket(bucket, versioned=True)
    put_at = dt.datetime(2026, 11, 23, 6, tzinfo=dt.timezone.utc)
    s3.put_list(bucket, "npi_list.txt", [A], last_modified=put_at)
    head = s3.client().head_object(Bucket=bucket, Key="npi_list.txt")
    s3.put_list(bucket, "npi_list.txt", [A, B])
    (event,) = materialise_list(
        Pipeline(tmp_path, list_bucket=bucket), log_level="INFO"
    ).get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    names = ("version_id", "etag", "last_modified", "selection", "bytes", "source")
    shown = {name: metadata[name].value for name in names}
    assert shown == {
        "version_id": head["VersionId"],
        "etag": head["ETag"].strip('"'),
        "last_modified": put_at.timestamp(),
        "selection": "version",
        "bytes": head["ContentLength"],
        "source": f"s3://{bucket}/npi_list.txt",
    }
    assert f"(its version {head['VersionId']} of 2026-11-23 06:00:00 UTC)" in capfd.readouterr().err


def test_a_refusing_s3_is_survived(s3: LocalS3, bucket: str, tmp_path: Path) -> None:
    s3.put_list(bucket, "npi_list.txt", [A])
    s3.misbehave(refused_share=0.4, seed=3)
    assert materialise_list(Pipeline(tmp_path, list_bucket=bucket)).success
