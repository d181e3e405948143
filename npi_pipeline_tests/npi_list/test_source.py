"""Which object is a day's list, asked of a real S3 server whose versions were put on other days."""

from __future__ import annotations

import datetime as dt

import pytest
from mypy_boto3_s3.client import S3Client

from npi_pipeline.npi_list.source import (
    ListObject,
    ListSelection,
    ListUnavailableError,
    NoListOfDayError,
    find_list_object,
    read_list_object,
)
from npi_pipeline.testing.s3 import LocalS3

KEY = "npi_list.txt"


def at(day: int, hour: int = 6, minute: int = 0, second: int = 0) -> dt.datetime:
    """A moment in the month of the tests."""
    return dt.datetime(2026, 11, day, hour, minute, second, tzinfo=dt.timezone.utc)


NOW = at(22, 12)


@pytest.fixture
def versioned(s3: LocalS3, bucket: str) -> str:
    """A fresh bucket that keeps versions."""
    set_versioning(s3, bucket, "Enabled")
    return bucket


def set_versioning(s3: LocalS3, bucket: str, status: str) -> None:
    configuration = {"Status": status}
    s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration=configuration)  # type: ignore[arg-type]


def put(s3: LocalS3, bucket: str, body: str, moment: dt.datetime, key: str = KEY) -> None:
    s3.put_list(bucket, key, body, last_modified=moment)


def delete(s3: LocalS3, bucket: str, moment: dt.datetime) -> None:
    marker = s3.client().delete_object(Bucket=bucket, Key=KEY)
    s3.set_last_modified(bucket, KEY, moment, marker["VersionId"])


def list_of(
    s3: LocalS3, bucket: str, day: int, *, client: S3Client | None = None, is_dated: bool = False, key: str = KEY
) -> ListObject:
    """The list of a day at NOW; finding it and reading it agree."""
    client = client or s3.client()
    found, read = (
        ask(client, bucket, key, dt.date(2026, 11, day), is_dated=is_dated, now=NOW)
        for ask in (find_list_object, read_list_object)
    )
    assert isinstance(read, ListObject)
    assert vars(found) == {name: value for name, value in vars(read).items() if name != "body"}
    return read


def refusal(s3: LocalS3, bucket: str, day: int, *, is_dated: bool = False) -> ListUnavailableError:
    """Why there is no list of a day at NOW; finding it and reading it say the same, on one line."""
    refusals = []
    for ask in (find_list_object, read_list_object):
        with pytest.raises(ListUnavailableError) as refused:
            ask(s3.client(), bucket, KEY, dt.date(2026, 11, day), is_dated=is_dated, now=NOW)
        refusals.append(refused.value)
    assert str(refusals[0]) == str(refusals[1])
    assert "\n" not in str(refusals[0])
    return refusals[0]


def operations_of(client: S3Client) -> list[str]:
    """The names of the requests that ``client`` makes from now on, repeats of its own left out."""
    names: list[str] = []
    client.meta.events.register("before-call.s3", lambda model, **_: names.append(model.name))
    return names


def test_of_three_versions_each_day_has_its_own(s3: LocalS3, versioned: str) -> None:
    for day in (18, 19, 20):
        put(s3, versioned, f"list of {day}", at(day))
    lists = {day: list_of(s3, versioned, day) for day in (18, 19, 20, 21)}
    bodies = {day: listed.body.decode() for day, listed in lists.items()}
    assert bodies == {18: "list of 18", 19: "list of 19", 20: "list of 20", 21: "list of 20"}
    assert len({listed.version_id for listed in lists.values()}) == 3
    assert [listed.last_modified for listed in lists.values()] == [at(18), at(19), at(20), at(20)]
    assert [listed.selection.value for listed in lists.values()] == ["version", "version", "current", "current"]
    assert {listed.ambiguity for listed in lists.values()} == {None}


def test_of_several_versions_on_one_day_the_last_is_its_list(s3: LocalS3, versioned: str) -> None:
    for hour in (1, 20, 9):
        put(s3, versioned, f"at {hour}", at(18, hour))
    put(s3, versioned, "next day", at(19))
    assert list_of(s3, versioned, 18).body == b"at 20"


def test_midnight_belongs_to_the_day_that_begins(s3: LocalS3, versioned: str) -> None:
    put(s3, versioned, "last second", at(18, 23, 59, 59))
    put(s3, versioned, "midnight", at(19, 0))
    assert list_of(s3, versioned, 18).body == b"last second"
    assert list_of(s3, versioned, 19).body == b"midnight"


def test_a_day_at_whose_end_the_list_was_deleted_has_none(s3: LocalS3, versioned: str) -> None:
    put(s3, versioned, "before", at(18))
    delete(s3, versioned, at(19, 12))
    put(s3, versioned, "after", at(20))
    assert [list_of(s3, versioned, day).body for day in (18, 20)] == [b"before", b"after"]
    refused = refusal(s3, versioned, 19)
    assert isinstance(refused, NoListOfDayError)
    assert f"s3://{versioned}/{KEY}" in str(refused)
    assert "deleted (at 2026-11-19 12:00:00 UTC)" in str(refused)
    assert "remove the delete marker" in str(refused)


def test_a_list_that_is_deleted_today_is_still_there_for_days_before(s3: LocalS3, versioned: str) -> None:
    put(s3, versioned, "before", at(18))
    delete(s3, versioned, at(22, 1))
    assert list_of(s3, versioned, 21).body == b"before"
    assert "there is no such object" in str(refusal(s3, versioned, 22))


def test_a_key_that_begins_like_the_lists_is_another_object(s3: LocalS3, versioned: str) -> None:
    for other in (f"{KEY}.bak", f"{KEY}/x", "npi_list"):
        put(s3, versioned, "another", at(18), key=other)
    assert "there is no such object" in str(refusal(s3, versioned, 18))
    put(s3, versioned, "list", at(17))
    assert list_of(s3, versioned, 18).body == b"list"


def test_other_keys_that_begin_like_the_lists_are_not_gone_through(
    s3: LocalS3, versioned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npi_pipeline.npi_list.object_history._VERSIONS_A_PAGE", 2)
    put(s3, versioned, "list", at(20))
    for number in range(6):
        put(s3, versioned, "another", at(18), key=f"{KEY}.{number}")
    client = s3.client()
    operations = operations_of(client)
    with pytest.raises(NoListOfDayError):
        find_list_object(client, versioned, KEY, dt.date(2026, 11, 18), is_dated=False, now=NOW)
    assert operations == ["ListObjectVersions"]


def test_more_versions_than_a_page_are_gone_through_as_far_as_the_day(
    s3: LocalS3, versioned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npi_pipeline.npi_list.object_history._VERSIONS_A_PAGE", 2)
    for day in range(10, 17):
        put(s3, versioned, f"list of {day}", at(day))
    put(s3, versioned, "another", at(10), key=f"{KEY}.bak")
    for day, pages in ((16, 1), (15, 1), (14, 2), (13, 2), (10, 4)):
        client = s3.client()
        operations = operations_of(client)
        assert find_list_object(client, versioned, KEY, dt.date(2026, 11, day), is_dated=False).last_modified == at(day)
        assert operations == ["ListObjectVersions"] * pages
        assert list_of(s3, versioned, day).body == f"list of {day}".encode()
    assert "there was no list" in str(refusal(s3, versioned, 9))


def test_a_day_before_the_oldest_version_has_no_list(s3: LocalS3, versioned: str) -> None:
    put(s3, versioned, "first", at(19))
    oldest = s3.client().head_object(Bucket=versioned, Key=KEY)["VersionId"]
    put(s3, versioned, "second", at(20))
    refused = refusal(s3, versioned, 18)
    assert isinstance(refused, NoListOfDayError)
    assert f"the oldest, {oldest}, is of 2026-11-19 06:00:00 UTC" in str(refused)
    assert "NPI_LIST_KEY" in str(refused)


def test_without_versions_an_object_from_before_the_end_of_the_day_is_certain(s3: LocalS3, bucket: str) -> None:
    put(s3, bucket, "list", at(18, 23, 59, 59))
    listed = list_of(s3, bucket, 18)
    assert (listed.body, listed.version_id, listed.selection, listed.ambiguity) == (
        b"list",
        None,
        ListSelection.current,
        None,
    )


def test_without_versions_a_newer_object_is_used_with_doubt(s3: LocalS3, bucket: str) -> None:
    put(s3, bucket, "list", at(20))
    listed = list_of(s3, bucket, 18)
    assert (listed.body, listed.version_id, listed.selection) == (b"list", None, ListSelection.current)
    assert "turn on its versioning" in (listed.ambiguity or "")
    assert "NPI_LIST_KEY" in (listed.ambiguity or "")


def test_a_day_before_versioning_was_turned_on_has_the_nearest_list_with_doubt(s3: LocalS3, bucket: str) -> None:
    put(s3, bucket, "without an id", at(19))
    set_versioning(s3, bucket, "Enabled")
    put(s3, bucket, "with an id", at(20))
    before, on, after = (list_of(s3, bucket, day) for day in (18, 19, 20))
    assert [before.body, on.body, after.body] == [b"without an id", b"without an id", b"with an id"]
    assert [listed.ambiguity is None for listed in (before, on, after)] == [False, True, True]
    assert [listed.selection.value for listed in (before, on, after)] == ["version", "version", "current"]
    assert before.version_id is None


def test_while_versioning_is_suspended_a_list_may_be_written_over_unseen(s3: LocalS3, bucket: str) -> None:
    put(s3, bucket, "while suspended", at(20))
    set_versioning(s3, bucket, "Enabled")
    put(s3, bucket, "with an id", at(17))
    set_versioning(s3, bucket, "Suspended")
    lists = [list_of(s3, bucket, day) for day in (16, 18, 20)]
    assert [listed.body for listed in lists] == [b"with an id", b"with an id", b"while suspended"]
    assert [listed.ambiguity is None for listed in lists] == [False, False, True]


@pytest.mark.parametrize(
    ("code", "remedy"), [("AccessDenied", "s3:ListBucketVersions"), ("NotImplemented", "does not list versions")]
)
def test_where_versions_cannot_be_listed_the_current_object_is_used(
    s3: LocalS3, versioned: str, code: str, remedy: str
) -> None:
    for day in (18, 20):
        put(s3, versioned, f"list of {day}", at(day))
    s3.misbehave(refused_actions={"s3:ListBucketVersions": code})
    doubtful, certain = list_of(s3, versioned, 18), list_of(s3, versioned, 20)
    assert (doubtful.body, doubtful.selection) == (b"list of 20", ListSelection.current)
    assert remedy in (doubtful.ambiguity or "")
    assert (certain.body, certain.ambiguity) == (b"list of 20", None)


def test_a_version_that_may_not_be_read_names_the_permission(s3: LocalS3, versioned: str) -> None:
    for day in (18, 20):
        put(s3, versioned, f"list of {day}", at(day))
    s3.misbehave(refused_actions={"s3:GetObjectVersion": "AccessDenied"})
    with pytest.raises(ListUnavailableError, match=f"{versioned}/{KEY}.*s3:GetObjectVersion"):
        list_of(s3, versioned, 18)
    assert list_of(s3, versioned, 20).body == b"list of 20", "the current object takes no such permission"


def test_a_dated_key_and_todays_list_are_one_plain_request(s3: LocalS3, versioned: str) -> None:
    for key in (KEY, "lists/18.txt"):
        put(s3, versioned, "list", at(22, 11), key=key)
    for ask in (find_list_object, read_list_object):
        client = s3.client()
        operations = operations_of(client)
        today = ask(client, versioned, KEY, dt.date(2026, 11, 22), is_dated=False, now=NOW)
        dated = ask(client, versioned, "lists/18.txt", dt.date(2026, 11, 18), is_dated=True, now=NOW)
        assert operations == ["GetObject", "GetObject"]
        assert (today.selection, dated.selection) == (ListSelection.current, ListSelection.dated_key)
        assert (today.ambiguity, dated.ambiguity) == (None, None), "a dated list that came late is still its day's"


def test_a_past_day_costs_one_request_to_find_and_two_to_read(s3: LocalS3, versioned: str) -> None:
    put(s3, versioned, "list", at(18))
    client = s3.client()
    operations = operations_of(client)
    list_of(s3, versioned, 18, client=client)
    assert operations == ["ListObjectVersions", "ListObjectVersions", "GetObject"]


def test_a_list_that_is_written_over_while_it_is_read_is_asked_for_again_later(s3: LocalS3, bucket: str) -> None:
    put(s3, bucket, "list of 18", at(18))
    client = s3.client()

    def write_over(**_: object) -> None:
        put(s3, bucket, "list of 22", at(22))

    client.meta.events.register("before-call.s3.GetObject", write_over)
    with pytest.raises(ListUnavailableError, match="PreconditionFailed") as refused:
        read_list_object(client, bucket, KEY, dt.date(2026, 11, 18), is_dated=False, now=NOW)
    assert refused.value.retryable


@pytest.mark.parametrize("is_dated", [False, True])
def test_finding_says_what_reading_says_of_what_cannot_be_had(s3: LocalS3, bucket: str, is_dated: bool) -> None:
    lines = [str(refusal(s3, name, 18, is_dated=is_dated)) for name in ("no-such-bucket", "not a bucket", "", bucket)]
    s3.misbehave(denied_buckets=[bucket])
    lines.append(str(refusal(s3, bucket, 18, is_dated=is_dated)))
    remedies = ["correct NPI_LIST_BUCKET", "no bucket name", "set NPI_LIST_BUCKET", "no such object", "s3:GetObject "]
    assert [remedy in line for remedy, line in zip(remedies, lines, strict=True)] == [True] * 5
