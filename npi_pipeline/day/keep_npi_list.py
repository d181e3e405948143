"""Step 1: the day's NPI list, from its bucket to the day's files."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from npi_pipeline.enrichment.npi_list import ListUnreadableError, NpiList, parse_npi_list
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.kept_list import keep_list, read_kept_list
from npi_pipeline.storage.list_object import ListObject, ListUnavailableError, read_list_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def keep_npi_list(root: DataRoot, day: dt.date, client: S3Client, bucket: str, key: str) -> tuple[ListObject, NpiList]:
    """Read the object, make sure that it is a list, keep it verbatim.

    Raises ListUnavailableError when it is missing, forbidden, empty or no list; other S3 errors may pass.
    """
    listed = read_list_object(client, bucket, key)
    try:
        parsed = parse_npi_list(listed.body)
    except ListUnreadableError as error:
        raise ListUnavailableError(
            f"the NPI list s3://{bucket}/{key} {error}; put a list with one NPI a line there, or correct NPI_LIST_KEY"
        ) from error
    keep_list(root, day, listed)
    return listed, parsed


def kept_npi_list(root: DataRoot, day: dt.date) -> NpiList:
    """The NPIs of the list kept for ``day``, parsed from its own bytes. Raises FileNotFoundError."""
    return parse_npi_list(read_kept_list(root, day).body)
