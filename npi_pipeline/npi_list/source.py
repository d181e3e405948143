"""Which object of the bucket is a day's NPI list, reading it, and saying in one line why it cannot be had.

A key with the day in it is that day's. A key without it is written over from day to day: the list of a day that has
ended is then the newest version from before its end, as far as the bucket kept versions.

Not here: which bucket and key (``settings.ListSettings``), which versions the bucket has (``object_history``), what
the bytes mean (``npi_list``), and what of it is kept with the day (``kept_list``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import enum
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from npi_pipeline.errors import PipelineError
from npi_pipeline.npi_list.object_history import NO_ID, ObjectHistory, ObjectVersion, object_history
from npi_pipeline.storage.s3_client import is_unsigned
from npi_pipeline.storage.s3_errors import Use, code_of, explain
from npi_pipeline.storage.s3_retryable import is_retryable

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

NO_BUCKET = "no bucket is set for the NPI list: set NPI_LIST_BUCKET to the bucket that holds it"

_MOMENT = "%Y-%m-%d %H:%M:%S UTC"

_MISSING = (
    "there is no such object; if the list comes late, materialise the day again once it is there, "
    "else correct NPI_LIST_KEY"
)
_USE = Use(
    "NPI_LIST_BUCKET",
    "s3:GetObject",
    denied_else=" (S3 also denies an object that is missing to who may not list the bucket, and one of a "
    "requester-pays bucket without NPI_LIST_REQUESTER_PAYS=true)",
    no_credentials_else=", or NPI_LIST_UNSIGNED=true for a public bucket",
)
_PUBLIC_USE = dataclasses.replace(_USE, denied_else=", or to everybody for NPI_LIST_UNSIGNED=true, or turn that off")
# Reading a version by its id takes another permission than reading the current object:
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
_VERSION_USE = dataclasses.replace(_USE, permissions="s3:GetObjectVersion")

_DATE_THE_KEY = "put the date into NPI_LIST_KEY"
_WRITTEN_OVER = (
    "the list of that day may have been written over while the bucket kept no versions; "
    f"turn on its versioning, or {_DATE_THE_KEY}"
)
# Why versions cannot be listed though the object may be read: no permission, or a store that knows no versions.
_NOT_LISTED = {
    "AccessDenied": "access to its versions is denied; grant s3:ListBucketVersions on the bucket and "
    f"s3:GetObjectVersion on it to these credentials, or {_DATE_THE_KEY}",
    "NotImplemented": f"the store does not list versions; {_DATE_THE_KEY}",
}


class ListUnavailableError(PipelineError):
    """The list cannot be read: bucket, key and remedy. Retryable when S3 is not reached, or answers 5xx."""


class NoListOfDayError(ListUnavailableError):
    """The bucket holds no list of a day that has ended: there was none then, or it is gone since."""


class ListSelection(str, enum.Enum):
    """How it is known which object is the list of a day.

    ``dated_key``: the key names the day. ``current``: the object that lies there. ``version``: one that was written
    over since. ``kept``: one from before the day ended that an earlier run kept, for the bucket has none so near to it.
    ``registry``: no object, but every NPI that the registry's own files hold.
    """

    dated_key = "dated_key"
    current = "current"
    version = "version"
    kept = "kept"
    registry = "registry"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundList:
    """Which object is the list of a day; for every NPI of a registry, ``bucket`` is empty and ``key`` names that.

    ``etag`` is without quotes; ``version_id`` is None for an object that the bucket gave none. ``ambiguity``, on one
    line with the remedy, says why it may be another day's list; None when it is certain.
    """

    bucket: str
    key: str
    version_id: str | None
    etag: str
    last_modified: dt.datetime
    selection: ListSelection
    ambiguity: str | None = None

    @property
    def where(self) -> str:
        """Where it lies, for a person."""
        return f"s3://{self.bucket}/{self.key}" if self.bucket else f"every NPI of {self.key}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListObject(FoundList):
    """The list of a day as it was read."""

    body: bytes = dataclasses.field(repr=False)

    @property
    def sha256(self) -> str:
        """SHA-256 of its bytes, in hex."""
        return hashlib.sha256(self.body).hexdigest()


def end_of_day(day: dt.date) -> dt.datetime:
    """The first moment that is no longer ``day``: the next midnight UTC."""
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.timezone.utc)


def is_certain(found: FoundList, day: dt.date) -> bool:
    """Whether it is known that this is the list of ``day`` and of no later one.

    One that was asked for before the day ended, and put right after, has no ambiguity and is not.
    """
    return found.ambiguity is None and (
        found.selection is ListSelection.dated_key or found.last_modified < end_of_day(day)
    )


def find_list_object(
    client: S3Client, bucket: str, key: str, day: dt.date, *, is_dated: bool, now: dt.datetime | None = None
) -> FoundList:
    """The object that is the list of ``day`` at ``now``, without reading it.

    ``is_dated`` says that ``key`` is of this day alone (``ListSettings.key_is_dated``). It costs one request, a
    second one where versions cannot be listed, and one more for each further thousand versions since that day.
    Raises what ``read_list_object`` raises.
    """
    with _one_line(client, bucket, key):
        plan = _plan(client, bucket, key, day, is_dated=is_dated, now=now)
        if plan.version is not None:
            return plan.found(plan.version.etag, plan.version.version_id, plan.version.last_modified)
        # Not HEAD: its errors have no code, so that a missing bucket, key or credential could not be told apart.
        answer = plan.get(client)
        answer["Body"].close()
        return plan.found_in(answer)


def read_list_object(
    client: S3Client,
    bucket: str,
    key: str,
    day: dt.date,
    *,
    is_dated: bool,
    now: dt.datetime | None = None,
    max_bytes: int | None = None,
) -> ListObject:
    """What ``find_list_object`` finds, read. Today's list and one with a dated key cost one request.

    Raises ListUnavailableError, NoListOfDayError among it; it is ``retryable`` when S3 is not reached, answers 5xx
    after botocore's own repeats, or the list is written over this moment.
    """
    with _one_line(client, bucket, key):
        plan = _plan(client, bucket, key, day, is_dated=is_dated, now=now)
        answer = plan.get(client)
        if max_bytes is not None and answer["ContentLength"] > max_bytes:
            answer["Body"].close()
            raise ListUnavailableError(_cannot_be_read(bucket, key, _too_large(answer["ContentLength"], max_bytes)))
        return ListObject(**vars(plan.found_in(answer)), body=answer["Body"].read())


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What to ask S3 for: ``version``, or whatever is current; then ``ambiguity`` is about one from after ``end``."""

    bucket: str
    key: str
    end: dt.datetime
    selection: ListSelection
    version: ObjectVersion | None = None
    ambiguity: str | None = None

    def get(self, client: S3Client) -> GetObjectOutputTypeDef:
        """Ask for it. The body is left to be read or closed."""
        if self.version is None:
            return client.get_object(Bucket=self.bucket, Key=self.key)
        try:
            if self.version.is_latest:
                # Takes no permission beyond s3:GetObject; refused if it was written over since it was listed.
                return client.get_object(Bucket=self.bucket, Key=self.key, IfMatch=self.version.etag)
            return client.get_object(Bucket=self.bucket, Key=self.key, VersionId=self.version.version_id)
        except _client_error() as error:
            use = _USE if self.version.is_latest else _VERSION_USE
            is_written_over = code_of(error) == "PreconditionFailed"
            raise _unavailable(
                self.bucket, self.key, error, use, retryable=is_written_over or is_retryable(error)
            ) from error

    def found_in(self, answer: GetObjectOutputTypeDef) -> FoundList:
        """What S3 answered with."""
        return self.found(answer["ETag"], answer.get("VersionId", NO_ID), answer["LastModified"])

    def found(self, etag: str, version_id: str, last_modified: dt.datetime) -> FoundList:
        """What it turned out to be, from what S3 says of it."""
        is_current_since_before = self.version is None and last_modified < self.end
        return FoundList(
            bucket=self.bucket,
            key=self.key,
            version_id=None if version_id == NO_ID else version_id,
            etag=etag.strip('"'),
            last_modified=last_modified,
            selection=self.selection,
            ambiguity=None if is_current_since_before else self.ambiguity,
        )


def _plan(client: S3Client, bucket: str, key: str, day: dt.date, *, is_dated: bool, now: dt.datetime | None) -> _Plan:
    end = end_of_day(day)
    if is_dated:
        return _Plan(bucket, key, end, ListSelection.dated_key)
    if (now or dt.datetime.now(dt.timezone.utc)) < end:
        return _Plan(bucket, key, end, ListSelection.current)
    try:
        history = object_history(client, bucket, key, end)
    except _client_error() as error:
        ambiguity = _NOT_LISTED.get(code_of(error))
        if ambiguity is None:
            raise
        return _Plan(bucket, key, end, ListSelection.current, ambiguity=ambiguity)
    version = _version_of_day(history, bucket, key)
    chosen = ListSelection.current if version.is_latest else ListSelection.version
    return _Plan(bucket, key, end, chosen, version=version, ambiguity=_WRITTEN_OVER if history.has_gap else None)


def _version_of_day(history: ObjectHistory, bucket: str, key: str) -> ObjectVersion:
    """The version that was there when the day ended, or the one after it when that one is lost."""
    before, after = history.before, history.after
    if before is not None and not before.is_deletion:
        return before
    if history.has_gap and after is not None:
        return after
    why = _MISSING
    if before is not None:
        why = (
            f"when the day ended it had been deleted (at {before.last_modified:{_MOMENT}}); if the list before that "
            f"is meant, remove the delete marker {before.version_id}, else {_DATE_THE_KEY}"
        )
    elif after is not None:
        why = (
            f"there was no list when the day ended, or its version has expired: the oldest, {after.version_id}, is of "
            f"{after.last_modified:{_MOMENT}}; {_DATE_THE_KEY} to give that day a list of its own"
        )
    raise NoListOfDayError(_cannot_be_read(bucket, key, why))


@contextlib.contextmanager
def _one_line(client: S3Client, bucket: str, key: str) -> Iterator[None]:
    """What S3 or the way to it says becomes a ListUnavailableError."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    if not bucket:
        raise ListUnavailableError(NO_BUCKET)
    try:
        yield
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        use = _PUBLIC_USE if is_unsigned(client) else _USE
        raise _unavailable(bucket, key, error, use, retryable=is_retryable(error)) from error


def no_client(bucket: str, error: BotoCoreError) -> ListUnavailableError:
    """What is said when not even a client for the list's bucket can be made."""
    return ListUnavailableError(f"the NPI list's bucket s3://{bucket} cannot be asked: {explain(error, _USE)}")


def _unavailable(bucket: str, key: str, error: Exception, use: Use, *, retryable: bool) -> ListUnavailableError:
    is_missing = isinstance(error, _client_error()) and code_of(error) == "NoSuchKey"
    why = _MISSING if is_missing else explain(error, use)
    return ListUnavailableError(_cannot_be_read(bucket, key, why), retryable=retryable)


def _too_large(size: int, most: int) -> str:
    return f"it has {size:,} bytes, more than {most:,}; correct NPI_LIST_KEY, or raise NPI_LIST_MAX_BYTES"


def _cannot_be_read(bucket: str, key: str, why: str) -> str:
    return f"the NPI list s3://{bucket}/{key} cannot be read: {why}"


def _client_error() -> type[ClientError]:
    from botocore.exceptions import ClientError

    return ClientError
