"""Reading the NPI list's object from its S3 bucket, and saying in one line why it cannot be read.

Not here: which bucket and key (``settings.ListSettings``) and what the bytes mean (``enrichment.npi_list``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


_MISSING = (
    "there is no such object; if the list comes late, materialise the day again once it is there, "
    "else correct NPI_LIST_KEY"
)
_DENIED = (
    "access is denied; grant s3:GetObject on it to these credentials (S3 also says this of an object that is missing)"
)
_CREDENTIALS = "S3 does not accept the credentials; renew AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_REGION = "the bucket is in another region; set AWS_REGION to it"
# S3's error codes that no repetition mends:
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_REMEDIES = {
    "NoSuchBucket": "there is no such bucket; correct NPI_LIST_BUCKET, or AWS_ENDPOINT_URL_S3 if it is elsewhere",
    "NoSuchKey": _MISSING,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "InvalidObjectState": "it is archived (Glacier); restore it first",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
}


class ListUnavailableError(Exception):
    """The list cannot be read and asking again will not help. One line names bucket, key and remedy."""


@dataclasses.dataclass(frozen=True)
class ListObject:
    """The object as it was read. ``etag`` is without quotes; ``version_id`` is None in an unversioned bucket."""

    bucket: str
    key: str
    body: bytes
    etag: str
    version_id: str | None
    last_modified: dt.datetime


def read_list_object(client: S3Client, bucket: str, key: str) -> ListObject:
    """The current object at ``key``.

    Raises ListUnavailableError for what no repetition mends. Any other botocore error (no connection, a 5xx
    after botocore's own repeats) is let through, for the step to be tried again.
    """
    from botocore.exceptions import ClientError, NoCredentialsError, ParamValidationError

    where = f"s3://{bucket}/{key}"
    if not bucket:
        raise ListUnavailableError("no bucket is set for the NPI list: set NPI_LIST_BUCKET to the bucket that holds it")
    try:
        answer = client.get_object(Bucket=bucket, Key=key)
        body = answer["Body"].read()
    except ClientError as error:
        remedy = _REMEDIES.get(error.response.get("Error", {}).get("Code", ""))
        if remedy is None:
            raise
        raise ListUnavailableError(f"the NPI list {where} cannot be read: {remedy}") from error
    except NoCredentialsError as error:
        raise ListUnavailableError(
            f"the NPI list {where} cannot be read: there are no AWS credentials; "
            "set AWS_PROFILE or AWS_ACCESS_KEY_ID, or NPI_LIST_UNSIGNED=true for a public bucket"
        ) from error
    except ParamValidationError as error:
        raise ListUnavailableError(
            f"the NPI list {where} cannot be read: that is no bucket name; correct NPI_LIST_BUCKET"
        ) from error
    version_id = answer.get("VersionId")
    return ListObject(
        bucket=bucket,
        key=key,
        body=body,
        etag=answer["ETag"].strip('"'),
        version_id=None if version_id == "null" else version_id,
        last_modified=answer["LastModified"],
    )
