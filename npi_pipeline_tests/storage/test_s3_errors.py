"""What the list and the data root say of S3's problems: its own words, one remedy, one line; and which may pass.

Where an S3 at hand can be brought to it, the problem is real; else a server answers as S3 is documented to.
"""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from npi_pipeline.npi_list.source import ListUnavailableError, read_list_object
from npi_pipeline.orchestration.resources import NpiListSource
from npi_pipeline.orchestration.s3_resource import S3
from npi_pipeline.storage.data_root import StorageError
from npi_pipeline.storage.s3 import S3Root
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.scripted_s3 import S3Answer, ScriptedS3, scripted_s3

DAY = dt.date(2026, 11, 23)
BUCKET = "my-bucket"

Refusal = ListUnavailableError | StorageError


def of_the_list(bucket: str = BUCKET, key: str = "npi_list.txt", **source: bool) -> Refusal:
    """What reading the list says, by the resources as the asset uses them."""
    wanted = NpiListSource(list_bucket=bucket, list_key=key, **source)
    with pytest.raises(ListUnavailableError) as refused:
        read_list_object(wanted.client(S3(max_attempts=1)), bucket, key, DAY, is_dated=True)
    return refused.value


def of_the_root(bucket: str = BUCKET) -> Refusal:
    """What writing to the data root says."""
    with pytest.raises(StorageError) as refused:
        S3Root(bucket, "npi").write("a", b"x")
    return refused.value


def of_a_download(bucket: str = BUCKET) -> Refusal:
    """What reading a large file of the data root says: it begins with a HEAD."""
    with pytest.raises(StorageError) as refused:
        list(S3Root(bucket, "npi").chunks("a"))
    return refused.value


EVERYBODY = pytest.mark.parametrize("refusal_of", [of_the_list, of_the_root, of_a_download])
RefusalOf = Callable[[], Refusal]


@pytest.fixture
def scripted(s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedS3]:
    monkeypatch.setattr("npi_pipeline.storage.s3._ATTEMPTS", 1)
    with scripted_s3() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint_url)
        yield server


WHO = "User: arn:aws:iam::111122223333:user/etl is not authorized to perform:"
KEY_ARN = "arn:aws:kms:us-east-1:444455556666:key/1234abcd"
LASTING = {
    "a permission is missing": (
        S3Answer(403, "AccessDenied", f"{WHO} s3:GetObject because no identity-based policy allows the action"),
        "grant s3:GetObject to these credentials",
    ),
    "a permission of KMS is missing": (
        S3Answer(403, "AccessDenied", f"{WHO} kms:Decrypt on resource: {KEY_ARN} because no resource-based policy ..."),
        "grant kms:Decrypt on the object's KMS key",
    ),
    "a policy denies it": (
        S3Answer(403, "AccessDenied", f"{WHO} s3:PutObject with an explicit deny in a service control policy"),
        "a policy denies s3:PutObject explicitly",
    ),
    "the KMS key is disabled": (
        S3Answer(400, "KMS.DisabledException", f"{KEY_ARN} is disabled."),
        "enable the KMS key",
    ),
    "the KMS key is being deleted": (
        S3Answer(400, "KMS.KMSInvalidStateException", f"{KEY_ARN} is pending deletion."),
        "enable the KMS key",
    ),
    "the access key is unknown or disabled": (
        S3Answer(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
        "to a key that exists and is active",
    ),
    "the secret is wrong": (
        S3Answer(403, "SignatureDoesNotMatch", "The request signature we calculated does not match ..."),
        "correct AWS_SECRET_ACCESS_KEY",
    ),
    "the token has expired": (S3Answer(400, "ExpiredToken", "The provided token has expired."), "`aws sso login`"),
    "the token is malformed": (S3Answer(400, "InvalidToken", "The provided token is malformed."), "AWS_SESSION_TOKEN"),
    "the account is suspended": (
        S3Answer(403, "AllAccessDisabled", "All access to this resource has been disabled."),
        "put in order by its owner",
    ),
    "the account has a problem": (
        S3Answer(403, "AccountProblem", "There is a problem with your AWS account."),
        "put in order by its owner",
    ),
    "the object is archived": (
        S3Answer(403, "InvalidObjectState", "The operation is not valid for the object's storage class."),
        "`aws s3api restore-object`",
    ),
    "the bucket is in a region that is named": (
        S3Answer(
            301,
            "PermanentRedirect",
            "The bucket must be addressed using the specified endpoint.",
            {"Region": "eu-west-1"},
        ),
        "set AWS_DEFAULT_REGION=eu-west-1",
    ),
    "the bucket is in a region that is not named": (
        S3Answer(301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint."),
        "set AWS_DEFAULT_REGION to the region of the bucket",
    ),
    "the store has a region of its own": (
        S3Answer(400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'garage'"),
        "set AWS_DEFAULT_REGION=garage",
    ),
    "the region is one to opt in to": (
        S3Answer(400, "IllegalLocationConstraintException", "The me-south-1 location constraint is incompatible ..."),
        "AWS_DEFAULT_REGION",
    ),
    "the clock is behind": (
        S3Answer(403, "RequestTimeTooSkewed", "The difference ... is too large.", clock=7200),
        "clock is 120 minutes behind S3's: set it",
    ),
    "the clock is ahead": (
        S3Answer(403, "RequestTimeTooSkewed", "The difference ... is too large.", clock=-1800),
        "clock is 30 minutes ahead of S3's: set it",
    ),
    "a code that is not in the table": (
        S3Answer(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption."),
        "AWS_ENDPOINT_URL_S3",
    ),
    "no bucket of that name": (
        S3Answer(404, "NoSuchBucket", "The specified bucket does not exist"),
        "there is no such",
    ),
    "a proxy's page": (
        S3Answer(403, page="<html><body>Blocked<br></body></html>", headers={"Server": "squid/5.7"}),
        "squid/5.7, which is no S3, answers HTTP 403 Forbidden; a proxy, a firewall or another server",
    ),
    "a page that is well-formed XML": (
        S3Answer(403, page="<html><body>Blocked</body></html>", headers={"Content-Type": "text/html"}),
        "HTTPS_PROXY and NO_PROXY",
    ),
    "a web server at the endpoint": (S3Answer(404, page="<h1>Not found<p>"), "is no S3 answers HTTP 404"),
    "an error without a body": (S3Answer(407, page=" "), "is no S3 answers HTTP 407"),
}
PASSING = {
    "throttling": (S3Answer(503, "SlowDown", "Please reduce your request rate."), "run it again later"),
    "throttling by status": (S3Answer(429, "TooManyRequests", "Slow down."), "S3 says TooManyRequests"),
    "an error of S3's own": (S3Answer(500, "InternalError", "We encountered an internal error."), "run it again later"),
    "a gateway's page": (S3Answer(502, page="<html>Bad gateway<br></html>"), "is no S3 answers HTTP 502"),
    "a body that came too slowly": (S3Answer(400, "RequestTimeout", "Your socket connection was not read."), "later"),
    "content that was changed on its way": (
        S3Answer(400, "BadDigest", "The CRC32 you specified did not match what we received."),
        "AWS_REQUEST_CHECKSUM_CALCULATION",
    ),
}


@EVERYBODY
@pytest.mark.parametrize("problem", LASTING)
def test_s3s_own_words_and_one_remedy_are_told_on_one_line(
    scripted: ScriptedS3, problem: str, refusal_of: RefusalOf
) -> None:
    scripted.answer, remedy = LASTING[problem]
    refused = refusal_of()
    line = str(refused)
    assert f"s3://{BUCKET}/" in line
    assert remedy in line
    assert scripted.answer.message.rstrip(".") in line
    assert line.isprintable()
    assert not refused.retryable


@EVERYBODY
@pytest.mark.parametrize("problem", PASSING)
def test_what_botocore_would_repeat_may_pass(scripted: ScriptedS3, problem: str, refusal_of: RefusalOf) -> None:
    scripted.answer, words = PASSING[problem]
    refused = refusal_of()
    assert words in str(refused)
    assert str(refused).isprintable()
    assert refused.retryable


def test_an_answer_of_success_that_is_no_s3s_is_told_as_that(scripted: ScriptedS3) -> None:
    scripted.answer = S3Answer(200, page="<!doctype html><p>Log in to the guest network<br>")
    with pytest.raises(StorageError, match=r"somebody who is no S3 .* see AWS_ENDPOINT_URL_S3") as refused:
        S3Root(BUCKET).list("a")
    assert str(refused.value).isprintable()


def test_the_region_is_set_by_the_variable_that_the_remedy_names(
    scripted: ScriptedS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.answer = LASTING["the store has a region of its own"][0]
    name, _, region = str(of_the_list()).partition("; set ")[2].partition(";")[0].partition("=")
    monkeypatch.setenv(name, region)
    of_the_list()
    assert "/garage/s3/aws4_request" in scripted.requests[-1]["authorization"]


def test_the_requester_pays_in_every_request_when_the_setting_says_so(scripted: ScriptedS3) -> None:
    scripted.answer = S3Answer(403, "AccessDenied", "Access Denied")
    assert "NPI_LIST_REQUESTER_PAYS=true" in str(of_the_list())
    assert "x-amz-request-payer" not in scripted.requests[-1]
    of_the_list(list_requester_pays=True)
    assert scripted.requests[-1]["x-amz-request-payer"] == "requester"
    assert "x-amz-request-payer" in scripted.requests[-1]["authorization"], "it is signed"


def test_a_public_bucket_that_is_not_public_is_told_as_that(scripted: ScriptedS3) -> None:
    scripted.answer = S3Answer(403, "AccessDenied", "Access Denied")
    assert "NPI_LIST_UNSIGNED" in str(of_the_list(list_unsigned=True))
    assert "authorization" not in scripted.requests[-1]


@EVERYBODY
def test_a_profile_that_does_not_exist_is_named(
    s3: LocalS3, monkeypatch: pytest.MonkeyPatch, refusal_of: RefusalOf
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "misspelt")
    refused = refusal_of()
    assert "profile (misspelt) could not be found; correct AWS_PROFILE" in str(refused)
    assert not refused.retryable


@EVERYBODY
@pytest.mark.parametrize(
    ("environment", "remedy"),
    [
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "set AWS_PROFILE or AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ENDPOINT_URL_S3": "s3.example.org"}, "AWS_ENDPOINT_URL_S3 (write it like https://"),
        ({"AWS_ENDPOINT_URL_S3": "https://"}, "AWS_ENDPOINT_URL_S3 (write it like https://"),
        ({"AWS_DEFAULT_REGION": "not a region"}, "correct AWS_DEFAULT_REGION"),
    ],
)
def test_what_the_environment_lacks_is_named(
    s3: LocalS3,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str | None],
    remedy: str,
    refusal_of: RefusalOf,
) -> None:
    for name, value in environment.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    refused = refusal_of()
    assert remedy in str(refused)
    assert str(refused).isprintable()
    assert not refused.retryable


SSO_PROFILES = {
    "session": """
[profile work]
sso_session = company
sso_account_id = 111122223333
sso_role_name = etl
[sso-session company]
sso_region = us-east-1
sso_start_url = https://company.awsapps.com/start
""",
    "legacy": """
[profile work]
sso_region = us-east-1
sso_start_url = https://company.awsapps.com/start
sso_account_id = 111122223333
sso_role_name = etl
""",
}


@EVERYBODY
@pytest.mark.parametrize("kind", SSO_PROFILES)
def test_an_sso_session_that_has_expired_is_one_line_that_says_how_to_log_in(
    s3: LocalS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, refusal_of: RefusalOf
) -> None:
    config = tmp_path / "config"
    config.write_text(SSO_PROFILES[kind])
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "work")
    refused = refusal_of()
    assert "`aws sso login`" in str(refused)
    assert str(refused).isprintable()
    assert not refused.retryable


@EVERYBODY
@pytest.mark.parametrize("bucket", ["not a bucket", "lists/of/ours"])
def test_a_name_that_no_bucket_can_have_is_named_by_its_setting(
    s3: LocalS3, bucket: str, refusal_of: Callable[..., Refusal]
) -> None:
    refused = refusal_of(bucket)
    setting = "NPI_LIST_BUCKET" if refusal_of is of_the_list else "NPI_DATA_ROOT"
    assert f"that is no bucket name; correct {setting}" in str(refused)
    assert not refused.retryable


def test_an_archived_list_says_how_it_is_restored(s3: LocalS3, bucket: str) -> None:
    s3.client().put_object(Bucket=bucket, Key="npi_list.txt", Body=b"x", StorageClass="GLACIER")
    refused = of_the_list(bucket)
    assert "restore-object" in str(refused)
    s3.client().restore_object(Bucket=bucket, Key="npi_list.txt", RestoreRequest={"Days": 1})
    client = NpiListSource(list_bucket=bucket).client(S3())
    assert read_list_object(client, bucket, "npi_list.txt", DAY, is_dated=True).body == b"x"


@EVERYBODY
def test_an_s3_that_is_down_is_one_line_in_little_time(
    s3: LocalS3, monkeypatch: pytest.MonkeyPatch, refusal_of: RefusalOf
) -> None:
    monkeypatch.setattr("npi_pipeline.storage.s3._ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    refused = refusal_of()
    assert "Could not connect" in str(refused)
    assert "see that S3 can be reached (AWS_ENDPOINT_URL_S3, network)" in str(refused)
    assert str(refused).isprintable()
    assert refused.retryable


def test_who_is_not_connected_to_in_seconds_is_given_up(s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npi_pipeline.storage.s3_client.CONNECT_SECONDS", 0.2)
    # Nobody takes connections, and the queue of them is full: the next one is not answered.
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{address[1]}")
            refused = of_the_list()
    assert "imeout" in str(refused)
    assert refused.retryable
