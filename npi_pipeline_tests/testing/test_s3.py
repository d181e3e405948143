"""The local S3: what the pipeline needs of S3 holds there."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import subprocess
import sys

import pytest
from botocore.exceptions import ClientError

from npi_pipeline.testing.child_process import ServerError
from npi_pipeline.testing.s3 import LocalS3, local_s3


def error_code(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def test_a_list_is_put_with_its_header_line_or_as_it_is(s3: LocalS3, bucket: str) -> None:
    s3.put_list(bucket, "a/npis.txt", (npi for npi in ["1234567893", "1000000491"]))
    s3.put_list(bucket, "raw.txt", b"\xef\xbb\xbfNPI\r\n1234567893")
    s3.put_list(bucket, "text.txt", "1234567893\n")
    client = s3.client()
    bodies = [client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in ("a/npis.txt", "raw.txt", "text.txt")]
    assert bodies == [b"NPI\n1234567893\n1000000491\n", b"\xef\xbb\xbfNPI\r\n1234567893", b"1234567893\n"]


def test_objects_are_listed_and_deleted(s3: LocalS3, bucket: str) -> None:
    client = s3.client()
    for key in ("day/a", "day/b", "other/c"):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    client.delete_object(Bucket=bucket, Key="day/a")
    listed = client.list_objects_v2(Bucket=bucket, Prefix="day/")["Contents"]
    assert [item["Key"] for item in listed] == ["day/b"]


def test_a_versioned_bucket_keeps_the_versions(s3: LocalS3) -> None:
    s3.create_bucket("versioned-bucket", versioned=True)
    client = s3.client()
    puts = [client.put_object(Bucket="versioned-bucket", Key="k", Body=body) for body in (b"1", b"2")]
    first = client.get_object(Bucket="versioned-bucket", Key="k", VersionId=puts[0]["VersionId"])
    assert first["Body"].read() == b"1"
    assert client.get_object(Bucket="versioned-bucket", Key="k")["VersionId"] == puts[1]["VersionId"]


def test_a_list_is_as_if_it_had_been_put_at_another_moment(s3: LocalS3, bucket: str) -> None:
    s3.create_bucket(bucket, versioned=True)
    moments = [dt.datetime(2026, 11, day, 6, tzinfo=dt.timezone.utc) for day in (19, 20, 18)]
    for moment in moments:
        s3.put_list(bucket, "k", f"list of {moment.day}", last_modified=moment)
    client = s3.client()
    versions = client.list_object_versions(Bucket=bucket, Prefix="k")["Versions"]
    assert [version["LastModified"] for version in versions] == sorted(moments, reverse=True)
    assert [version["IsLatest"] for version in versions] == [True, False, False]
    current = client.get_object(Bucket=bucket, Key="k")
    assert (current["Body"].read(), current["LastModified"]) == (b"list of 20", moments[1])


def test_a_delete_marker_can_be_of_another_moment_too(s3: LocalS3, bucket: str) -> None:
    s3.create_bucket(bucket, versioned=True)
    s3.put_list(bucket, "k", "list")
    client = s3.client()
    moment = dt.datetime(2026, 11, 18, 6, tzinfo=dt.timezone.utc)
    s3.set_last_modified(bucket, "k", moment, client.delete_object(Bucket=bucket, Key="k")["VersionId"])
    listed = client.list_object_versions(Bucket=bucket)
    assert [(marker["LastModified"], marker["IsLatest"]) for marker in listed["DeleteMarkers"]] == [(moment, False)]
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"list"


def test_a_moment_for_an_object_that_is_not_there_is_an_error(s3: LocalS3, bucket: str) -> None:
    with pytest.raises(ServerError, match=r"no object .*missing"):
        s3.set_last_modified(bucket, "missing", dt.datetime(2026, 11, 18, tzinfo=dt.timezone.utc))


def test_permissions_on_versions_are_refused_one_by_one(s3: LocalS3, bucket: str) -> None:
    s3.create_bucket(bucket, versioned=True)
    s3.put_list(bucket, "k", "list")
    client = s3.client()
    version = client.head_object(Bucket=bucket, Key="k")["VersionId"]
    attempts = {
        "s3:ListBucketVersions": lambda: client.list_object_versions(Bucket=bucket),
        "s3:GetObjectVersion": lambda: client.get_object(Bucket=bucket, Key="k", VersionId=version),
    }
    for refused in attempts:
        s3.misbehave(refused_actions={refused: "AccessDenied"})
        for action, attempt in attempts.items():
            if action != refused:
                attempt()
                continue
            with pytest.raises(ClientError) as raised:
                attempt()
            assert error_code(raised.value) == "AccessDenied"
        client.get_object(Bucket=bucket, Key="k")


def test_of_many_conditional_writes_at_once_one_wins(s3: LocalS3, bucket: str) -> None:
    client = s3.client()

    def write(number: int) -> str:
        try:
            client.put_object(Bucket=bucket, Key="lock", Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as error:
            return error_code(error)
        return "won"

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        results = sorted(threads.map(write, range(16)))
    assert results == ["PreconditionFailed"] * 15 + ["won"]


@pytest.mark.parametrize(("name", "key", "code"), [("no-such-bucket", "k", "NoSuchBucket"), ("", "k", "NoSuchKey")])
def test_what_is_missing_is_named_as_s3_does(s3: LocalS3, bucket: str, name: str, key: str, code: str) -> None:
    with pytest.raises(ClientError) as raised:
        s3.client().get_object(Bucket=name or bucket, Key=key)
    assert error_code(raised.value) == code


def test_a_denied_bucket_denies_until_it_behaves_again(s3: LocalS3, bucket: str) -> None:
    s3.put_list(bucket, "k", "x")
    s3.misbehave(denied_buckets=[bucket])
    with pytest.raises(ClientError) as raised:
        s3.client().get_object(Bucket=bucket, Key="k")
    assert error_code(raised.value) == "AccessDenied"
    with pytest.raises(ClientError, match="403"):
        s3.client().head_object(Bucket=bucket, Key="k")
    s3.misbehave()
    assert s3.client().get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_refused_requests_are_repeated_by_the_client_and_lose_nothing(s3: LocalS3, bucket: str) -> None:
    client = s3.client()
    s3.misbehave(refused_share=0.1, seed=4)
    for number in range(10):
        client.put_object(Bucket=bucket, Key=str(number), Body=b"x" * 50_000)
    s3.misbehave()
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 10


def test_a_refused_upload_is_answered_and_not_cut_off(s3: LocalS3, bucket: str) -> None:
    s3.misbehave(denied_buckets=[bucket])
    with pytest.raises(ClientError) as raised:
        s3.client().put_object(Bucket=bucket, Key="k", Body=b"x" * 5_000_000)
    assert error_code(raised.value) == "AccessDenied"


def test_the_environment_leads_any_aws_tool_there(s3: LocalS3, bucket: str) -> None:
    program = f"import boto3; boto3.client('s3').put_object(Bucket='{bucket}', Key='k', Body=b'here')"
    subprocess.run([sys.executable, "-c", program], env=s3.environment, check=True)
    assert s3.client().get_object(Bucket=bucket, Key="k")["Body"].read() == b"here"


def test_it_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    with local_s3() as server:
        server.put_list("some-bucket", "k", "x")
        with pytest.raises(ClientError):
            server.client().get_object(Bucket="some-bucket", Key="missing")
    assert capfd.readouterr() == ("", "")
