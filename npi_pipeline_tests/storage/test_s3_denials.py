"""Real denials by an S3 that checks signatures and permissions, and that the remedies work when they are followed."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from npi_pipeline.npi_list.source import ListSelection, ListUnavailableError, read_list_object
from npi_pipeline.orchestration.resources import NpiListSource
from npi_pipeline.orchestration.s3_resource import S3
from npi_pipeline.proofs.day_status import DayState, status_of_day
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.verification import verify_published
from npi_pipeline.storage import s3_lease
from npi_pipeline.storage.data_root import StorageError, StoredFile
from npi_pipeline.storage.s3 import S3Root
from npi_pipeline_tests.ministack import MINISTACK, MiniStack, ministack
from npi_pipeline_tests.state_files.test_publish import DIR, FIRST, FOLDER, SECOND, publish_contents, published

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


EVERYTHING = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket")


class ChangingRoot(S3Root):
    """``before`` is called before each request of a publication, with the method and the path."""

    def __init__(self, prefix: str, before: Callable[[str, str], object]) -> None:
        super().__init__(BUCKET, prefix)
        self._before = before

    def upload(self, path: str, source: Path) -> None:
        self._before("upload", path)
        super().upload(path, source)

    def list(self, prefix: str) -> list[StoredFile]:
        self._before("list", prefix)
        return super().list(prefix)

    def write_if(self, path: str, data: bytes, tag: str | None) -> str | None:
        self._before("write_if", path)
        return super().write_if(path, data, tag)

    def delete(self, *paths: str) -> None:
        self._before("delete", paths[0])
        super().delete(*paths)


@pytest.fixture
def before_denial(server: MiniStack, user: str, tmp_path: Path) -> S3Root:
    """A root of this test's own with a published day, where this user may do everything."""
    grant(server, user, *EVERYTHING)
    root = S3Root(BUCKET, user)
    publish_contents(root, tmp_path / "first", FIRST)
    return root


def publish_denied(server: MiniStack, user: str, folder: Path, action: str, method: str, at: str) -> None:
    """Publish again; from ``method`` with a path that ends in ``at`` on this user may not do ``action`` any more."""

    def deny(called: str, path: str) -> None:
        if called == method and path.endswith(at):
            grant(server, user, *(granted for granted in EVERYTHING if granted != action))

    publish_contents(ChangingRoot(user, deny), folder, SECOND)


def assert_whole(root: S3Root, contents: dict[str, bytes]) -> None:
    assert published(root) == contents
    assert list(verify_published(root, DIR, DAY)) == []
    assert status_of_day(root, FileSettings(), DAY).state is DayState.complete


@pytest.mark.parametrize(
    ("action", "method", "at"),
    [
        ("s3:PutObject", "upload", "NY.csv"),
        ("s3:ListBucket", "list", FOLDER),
        ("s3:PutObject", "write_if", "manifest.json"),
    ],
)
def test_a_publish_that_is_denied_on_its_way_leaves_the_old_day_and_a_rerun_that_is_granted_heals(
    server: MiniStack,
    user: str,
    before_denial: S3Root,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    method: str,
    at: str,
) -> None:
    with pytest.raises(StorageError) as refused:
        publish_denied(server, user, tmp_path / "denied", action, method, at)
    assert str(refused.value).isprintable()
    assert re.search(rf"\Acannot .*; grant .*{action}.* to these credentials", str(refused.value))
    grant(server, user, *EVERYTHING)
    assert_whole(before_denial, FIRST)
    monkeypatch.setattr(s3_lease, "LEASE_SECONDS", -1.0)  # the lease that could not be given back has run out
    publish_contents(before_denial, tmp_path / "granted", SECOND)
    assert_whole(before_denial, SECOND)
    assert len(before_denial.list(FOLDER)) == len(SECOND) + 1, "nothing of the denied one is left"


def test_a_publish_that_may_not_delete_shows_the_new_day_and_says_what_it_left_behind(
    server: MiniStack, user: str, before_denial: S3Root, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        publish_denied(server, user, tmp_path / "denied", "s3:DeleteObject", "delete", "")
    (line,) = (record.getMessage() for record in caplog.records if record.name.startswith("npi_pipeline"))
    assert re.search(r"left behind: cannot delete .*; grant .*s3:DeleteObject.* to these credentials", line)
    assert_whole(before_denial, SECOND)
    grant(server, user, *EVERYTHING)
    publish_contents(before_denial, tmp_path / "granted", FIRST)
    assert_whole(before_denial, FIRST)
    assert len(before_denial.list(FOLDER)) == len(FIRST) + 1, "nothing of the day before is left"


def test_without_the_permission_to_list_versions_a_past_days_list_is_in_doubt(server: MiniStack, user: str) -> None:
    grant(server, user, "s3:GetObject")
    client = NpiListSource(list_bucket=BUCKET).client(S3())
    listed = read_list_object(client, BUCKET, KEY, DAY, is_dated=False, now=dt.datetime.now(dt.timezone.utc))
    assert listed.selection is ListSelection.current
    assert "s3:ListBucketVersions" in (listed.ambiguity or "")


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
