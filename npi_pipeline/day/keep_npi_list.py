"""Step 1: the day's NPI list, from its bucket to the day's files."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

from npi_pipeline.enrichment.npi_list import ListUnreadableError, NpiList, parse_npi_list
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.kept_list import keep_list, read_kept_list
from npi_pipeline.storage.list_object import (
    HowChosen,
    ListObject,
    ListUnavailableError,
    NoListOfDayError,
    is_certain,
    read_list_object,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def keep_npi_list(
    root: DataRoot, day: dt.date, client: S3Client, bucket: str, key: str, *, is_dated: bool
) -> tuple[ListObject, NpiList]:
    """Read the object that is the list of ``day``, make sure that it is a list, keep it verbatim.

    A list from before the day ended that an earlier run kept stays, when the bucket has none any more that is certain
    to be the day's.
    Raises ListUnavailableError when it is missing, forbidden, empty, no list or without a valid NPI; other S3 errors
    may pass.
    """
    listed = _list_of_day(root, day, client, bucket, key, is_dated=is_dated)
    try:
        parsed = parse_npi_list(listed.body)
    except ListUnreadableError as error:
        raise ListUnavailableError(
            f"the NPI list s3://{bucket}/{key} {error}; put a list with one NPI a line there, or correct NPI_LIST_KEY"
        ) from error
    if parsed.invalid == parsed.npis.height:
        (example,) = parsed.examples_of_invalid(1)
        raise ListUnavailableError(
            f"the NPI list s3://{bucket}/{key} holds no valid NPI, e.g. {example}; "
            "put a list with one NPI of ten digits a line there, or correct NPI_LIST_KEY"
        )
    keep_list(root, day, listed)
    return listed, parsed


def _list_of_day(
    root: DataRoot, day: dt.date, client: S3Client, bucket: str, key: str, *, is_dated: bool
) -> ListObject:
    try:
        listed = read_list_object(client, bucket, key, day, is_dated=is_dated)
    except NoListOfDayError:
        kept = _kept_before_the_end(root, day, bucket, key)
        if kept is None:
            raise
        return kept
    if listed.doubt is None:
        return listed
    return _kept_before_the_end(root, day, bucket, key) or listed


def _kept_before_the_end(root: DataRoot, day: dt.date, bucket: str, key: str) -> ListObject | None:
    """The list that is kept for ``day`` already, when it is this object as it was before the day ended."""
    try:
        kept = read_kept_list(root, day)
    except FileNotFoundError:
        return None
    if (kept.bucket, kept.key) == (bucket, key) and is_certain(kept, day):
        return dataclasses.replace(kept, chosen=HowChosen.kept)
    return None


def kept_npi_list(root: DataRoot, day: dt.date) -> NpiList:
    """The NPIs of the list kept for ``day``, parsed from its own bytes. Raises FileNotFoundError."""
    return parse_npi_list(read_kept_list(root, day).body)
