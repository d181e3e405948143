"""Real denials by an S3 that checks signatures and permissions, and that the remedies work when they are followed."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
from collections.abc import Iterator

import pytest

from npi_pipeline.npi_list.source import ListSelection, ListUnavailableError, read_list_object
from npi_pipeline.orchestration.resources import NpiListSource
from npi_pipeline.orchestration.s3_resource import S3
from npi_pipeline.storage.data_root import StorageError
from npi_pipeline.storage.s3 import S3Root
from npi_pipeline_tests.ministack import MINISTACK, MiniStack, ministack

pytestmark = [
    pytest.mark.skipif(not MINISTACK.exists(), reason="MiniStack is not there: make test installs it"),
    pytest.mark.xdist_group("ministack"),
]

BUCKET, KEY = "lists-of-ours", "npi_list.txt"
DAY = dt.date(2026, 11, 23)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[MiniStack]:
    with ministack() as server:
        server.client("s3").create_bucket(Bucket=BUCKET)
        server.client("s3").put_object(Bucket=BUCKET, Key=KEY, Body=b"NPI\n1234567893\n")
        yield server


@pytest.fixture
def user(server: MiniStack, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a fresh user without permissions, who this test is from now on."""
    name = f"user-{next(_numbers)}"
    for variable, value in server.make_user(name).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return name


def list_now(day: dt.date = DAY, key: str = KEY, *, is_dated: bool = True) -> bytes:
    client = NpiListSource(list_bucket=BUCKET).client(S3())
    return read_list_object(client, BUCKET, key, day, is_dated=is_dated).body


def refusal(key: str = KEY) -> str:
    with pytest.raises(ListUnavailableError) as refused:
        list_now(key=key)
    assert str(refused.value).isprintable()
    assert not refused.value.retryable
    return str(refused.value)


def grant(server: MiniStack, user: str, *actions: str) -> None:
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}] if actions else [],
    }
    server.client("iam").put_user_policy(UserName=user, PolicyName="ours", PolicyDocument=json.dumps(policy))


def test_the_permission_that_a_denial_names_is_the_one_that_helps(server: MiniStack, user: str) -> None:
    line = refusal()
    assert "is not authorized to perform: s3:GetObject" in line
    assert "; grant s3:GetObject to these credentials" in line
    grant(server, user, "s3:GetObject")
    assert list_now() == b"NPI\n1234567893\n"


def test_each_permission_of_the_data_root_is_named_when_it_is_missing(server: MiniStack, user: str) -> None:
    root = S3Root(BUCKET, "npi")
    granted: list[str] = []
    for action, do in (
        ("s3:PutObject", lambda: root.write("a", b"x")),
        ("s3:GetObject", lambda: list(root.chunks("a"))),
        ("s3:ListBucket", lambda: root.list("")),
        ("s3:DeleteObject", lambda: root.delete("a")),
    ):
        with pytest.raises(StorageError) as refused:
            do()
        assert re.search(rf"; grant .*{action}.* to these credentials", str(refused.value))
        assert not refused.value.retryable
        granted.append(action)
        grant(server, user, *granted)
        do()


def test_without_the_permission_to_list_versions_a_past_days_list_is_in_doubt(server: MiniStack, user: str) -> None:
    grant(server, user, "s3:GetObject")
    client = NpiListSource(list_bucket=BUCKET).client(S3())
    listed = read_list_object(client, BUCKET, KEY, DAY, is_dated=False, now=dt.datetime.now(dt.timezone.utc))
    assert listed.selection is ListSelection.current
    assert "s3:ListBucketVersions" in (listed.doubt or "")


def test_a_key_that_is_disabled_works_again_once_it_is_activated(
    server: MiniStack, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant(server, user, "s3:GetObject")
    iam = server.client("iam")
    (key,) = iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
    iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert "InvalidAccessKeyId" in (line := refusal())
    assert "to a key that exists and is active" in line
    iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status="Active")
    assert list_now()


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "correct AWS_SECRET_ACCESS_KEY"),
        ("AWS_ACCESS_KEY_ID", "AKIANOBODY", "to a key that exists and is active"),
        ("AWS_SESSION_TOKEN", "gone", "`aws sso login`"),
    ],
)
def test_credentials_that_are_wrong_are_told_apart(
    server: MiniStack, user: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, remedy: str
) -> None:
    grant(server, user, "s3:GetObject")
    monkeypatch.setenv(variable, value)
    assert remedy in (line := refusal())
    assert value not in line, "what is secret is not told"


def test_a_bucket_of_another_account_asks_for_a_grant(
    server: MiniStack, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "123456789012")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert "grant s3:GetObject" in refusal()


def test_an_archived_list_says_so(server: MiniStack, user: str) -> None:
    server.client("s3").put_object(Bucket=BUCKET, Key="cold.txt", Body=b"x", StorageClass="GLACIER")
    grant(server, user, "s3:GetObject")
    assert "restore-object" in refusal("cold.txt")
