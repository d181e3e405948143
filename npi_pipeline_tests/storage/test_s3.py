"""What is true of an S3 root alone: refusals, and who is told what."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from npi_pipeline.storage.data_root import DataRoot, StorageError
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.storage.s3 import S3Root
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.lossy_proxy import LossyProxy, lossy_proxy


def test_a_fifth_of_the_requests_refused_at_random_is_survived(s3: LocalS3, bucket: str, tmp_path: Path) -> None:
    s3.misbehave(refused_share=0.2, seed=3)
    root = open_data_root(f"s3://{bucket}/root")
    (tmp_path / "source").write_bytes(b"content" * 1000)
    for number in range(8):
        root.write(f"many/{number}", str(number).encode())
    root.upload("uploaded", tmp_path / "source")
    assert [root.read(file.path) for file in root.list("many")] == [str(number).encode() for number in range(8)]
    assert b"".join(root.chunks("uploaded")) == b"content" * 1000
    root.delete("uploaded", *(f"many/{number}" for number in range(8)))
    s3.misbehave()
    assert root.list("") == []


@pytest.mark.parametrize("address", ["s3://no-such-bucket/x"])
def test_a_bucket_that_is_not_there_is_named_with_the_remedy(s3: LocalS3, address: str, tmp_path: Path) -> None:
    root = open_data_root(address)
    (tmp_path / "source").write_bytes(b"x")
    attempts: list[Callable[[], object]] = [
        lambda: root.write("a", b"x"),
        lambda: root.upload("a", tmp_path / "source"),
        lambda: root.read("a"),
        lambda: root.list("a"),
    ]
    for attempt in attempts:
        with pytest.raises(StorageError, match=r"s3://no-such-bucket/x/a.*NPI_DATA_ROOT") as refused:
            attempt()
        assert "\n" not in str(refused.value)
        assert not refused.value.retryable


def test_a_denied_bucket_names_the_rights_that_are_needed(s3: LocalS3, bucket: str) -> None:
    s3.misbehave(denied_buckets=[bucket])
    with pytest.raises(StorageError, match=r"grant s3:GetObject") as refused:
        open_data_root(f"s3://{bucket}").write("a", b"x")
    assert not refused.value.retryable


def test_a_denial_of_what_begins_with_a_head_names_the_rights_too(s3: LocalS3, bucket: str, tmp_path: Path) -> None:
    s3.misbehave(denied_buckets=[bucket])
    root = open_data_root(f"s3://{bucket}")
    for read in (lambda: root.download("a", tmp_path / "target"), lambda: list(root.chunks("a"))):
        with pytest.raises(StorageError, match=r"grant s3:GetObject") as refused:
            read()
        assert not refused.value.retryable


def test_missing_credentials_are_named(s3: LocalS3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError, match="AWS_PROFILE"):
        open_data_root(f"s3://{bucket}").write("a", b"x")


def test_an_s3_that_does_not_answer_may_be_back_later(s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npi_pipeline.storage.s3._ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL_S3") as refused:
        open_data_root("s3://bucket").write("a", b"x")
    assert refused.value.retryable


def test_an_s3_that_refuses_for_good_may_be_back_later(
    s3: LocalS3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npi_pipeline.storage.s3._ATTEMPTS", 2)
    s3.misbehave(refused_share=1.0)
    with pytest.raises(StorageError, match="S3 says SlowDown") as refused:
        open_data_root(f"s3://{bucket}").write("a", b"x")
    assert refused.value.retryable


@pytest.fixture
def proxy(s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[LossyProxy]:
    with lossy_proxy(s3.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
        yield proxy


def test_an_answer_that_breaks_off_is_asked_for_again(proxy: LossyProxy, bucket: str, tmp_path: Path) -> None:
    content = os.urandom(100_000)
    root = open_data_root(f"s3://{bucket}")
    root.write("a", content)
    proxy.lose["GET"].extend(["cut", "cut"])
    assert root.read("a") == content
    proxy.lose["GET"].append("cut")
    assert b"".join(root.chunks("a")) == content
    proxy.lose["GET"].append("cut")
    root.download("a", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == content
    assert not proxy.lose["GET"]


@pytest.mark.parametrize(
    "read",
    [
        lambda root, _: root.read("a"),
        lambda root, _: list(root.chunks("a")),
        lambda root, folder: root.download("a", folder / "target"),
    ],
)
def test_answers_that_all_break_off_may_be_whole_later(
    proxy: LossyProxy,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[DataRoot, Path], object],
) -> None:
    monkeypatch.setattr("npi_pipeline.storage.s3._ATTEMPTS", 2)
    root = open_data_root(f"s3://{bucket}")
    root.write("a", os.urandom(100_000))
    proxy.lose["GET"].extend(["cut"] * 20)
    with pytest.raises(StorageError, match=rf"cannot read s3://{bucket}/a: .*AWS_ENDPOINT_URL_S3") as refused:
        read(root, tmp_path)
    assert refused.value.retryable
    assert "\n" not in str(refused.value)


def test_a_lease_that_was_taken_is_ours_even_if_s3s_answer_was_lost(proxy: LossyProxy, bucket: str) -> None:
    root = open_data_root(f"s3://{bucket}")
    proxy.lose["PUT"].append("refused")
    with root.lock("locks/x", "the only one") as held:
        proxy.lose["PUT"].append("refused")
        held.ensure_held()
    assert not proxy.lose["PUT"]


def test_objects_outside_the_prefix_are_not_seen(bucket: str) -> None:
    S3Root(bucket, "root-other").write("a", b"other")
    S3Root(bucket).write("a", b"top")
    root = S3Root(bucket, "/prefix/")
    root.write("a", b"mine")
    assert [file.path for file in root.list("")] == ["a"]
    assert root.uri("a") == f"s3://{bucket}/prefix/a"


def test_a_folder_marker_is_no_file(s3: LocalS3, bucket: str) -> None:
    s3.client().put_object(Bucket=bucket, Key="root/folder/", Body=b"")
    assert S3Root(bucket, "root").list("") == []


def test_opening_a_root_asks_nobody_and_imports_no_boto3() -> None:
    code = (
        "import sys; from npi_pipeline.storage.open_root import open_data_root;"
        "open_data_root('s3://bucket/prefix').uri('a'); sys.exit('boto3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
