"""What a bucket knows of one object around a moment: the version from before it, and the one after it.

Not here: which object and moment, and what is made of the answer (``source``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectVersionsOutputTypeDef

# What S3 says for the id of a version that was put while the bucket kept none.
NO_ID = "null"

# As S3 gives them at most.
_VERSIONS_A_PAGE = 1000


@dataclasses.dataclass(frozen=True)
class ObjectVersion:
    """A version of an object, as S3 lists it.

    A delete marker has no ``etag``. In a bucket without versions an object has one version, with the id NO_ID.
    """

    version_id: str
    etag: str
    last_modified: dt.datetime
    is_latest: bool

    @property
    def is_deletion(self) -> bool:
        """Whether it says that the object was deleted."""
        return not self.etag


@dataclasses.dataclass(frozen=True)
class ObjectHistory:
    """The object around a moment.

    ``before``: the newest version or delete marker from before it. ``after``: the oldest version from then on.
    ``has_gap``: whether another one that was there at the moment may have been written over without a trace.
    """

    before: ObjectVersion | None
    after: ObjectVersion | None
    has_gap: bool


def object_history(client: S3Client, bucket: str, key: str, moment: dt.datetime) -> ObjectHistory:
    """The object at exactly ``key`` around ``moment``. One request for each thousand versions since then.

    A version with an id of its own never took the place of another. One without (versioning off, or suspended) took
    the place of the one without before it, so what that was is not known:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/AddingObjectstoVersionSuspendedBuckets.html
    Raises botocore's ClientError, as when s3:ListBucketVersions is not granted on the bucket.
    """
    before, later = None, []
    for version in _newest_first(client, bucket, key):
        if version.last_modified < moment:
            before = version
            break
        later.append(version)
    return ObjectHistory(
        before=before,
        after=next((version for version in reversed(later) if not version.is_deletion), None),
        has_gap=any(version.version_id == NO_ID for version in later),
    )


def _newest_first(client: S3Client, bucket: str, key: str) -> Iterator[ObjectVersion]:
    """The versions and delete markers of ``key``, asked for a page at a time.

    S3 lists by key and then from new to old, so ``key`` comes before all others that begin with it:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
    """
    pages = client.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix=key, PaginationConfig={"PageSize": _VERSIONS_A_PAGE}
    )
    for page in pages:
        yield from sorted(_of_page(page, key), key=lambda one: (one.last_modified, one.is_latest), reverse=True)
        if any(entry["Key"] != key for entry in (*page.get("Versions", []), *page.get("DeleteMarkers", []))):
            return


def _of_page(page: ListObjectVersionsOutputTypeDef, key: str) -> Iterator[ObjectVersion]:
    for version in page.get("Versions", []):
        if version["Key"] == key:
            yield ObjectVersion(version["VersionId"], version["ETag"], version["LastModified"], version["IsLatest"])
    for marker in page.get("DeleteMarkers", []):
        if marker["Key"] == key:
            yield ObjectVersion(marker["VersionId"], "", marker["LastModified"], marker["IsLatest"])
