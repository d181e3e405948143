"""Step 1: the day's NPI list, from its bucket to the day's files."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import polars as pl

from npi_pipeline.npi_list import ListUnreadableError, NpiList, parse_npi_list
from npi_pipeline.npi_list.kept_list import KeptListError, KeptSource, keep_list, read_kept_list, read_kept_source
from npi_pipeline.npi_list.kept_npis import keep_npis, read_kept_npis, read_kept_size
from npi_pipeline.npi_list.source import (
    ListObject,
    ListSelection,
    ListUnavailableError,
    NoListOfDayError,
    is_certain,
    read_list_object,
)
from npi_pipeline.settings import ListSettings
from npi_pipeline.storage.data_root import DataRoot

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def keep_npi_list(root: DataRoot, day: dt.date, client: S3Client, settings: ListSettings) -> tuple[ListObject, NpiList]:
    """Read the object that is the list of ``day``, make sure that it is a list, keep it verbatim.

    A list from before the day ended that an earlier run kept stays, when the bucket has none any more that is certain
    to be the day's.
    Raises ListUnavailableError when it is missing, forbidden, empty, too large, no list or without a valid NPI; other
    S3 errors may pass.
    """
    listed = _list_of_day(root, day, client, settings)
    return listed, _kept(root, day, listed, settings.list_column)


def keep_list_of_registry(
    root: DataRoot, day: dt.date, npis: Iterable[pl.Series], registry: str, as_of: dt.date
) -> tuple[ListObject, NpiList]:
    """Keep every NPI of a registry's own files as the list of ``day``: the numbers ``npis``, sorted, some at a time.

    ``registry`` names the files, ``as_of`` is the day that they are of. Raises ListUnavailableError if there is none.
    """
    # As a text like any other list: what it means is proven from these bytes.
    body = b"".join([b"NPI\n", *(some.to_frame().write_csv(include_header=False).encode() for some in npis)])
    listed = ListObject(
        bucket="",
        key=registry,
        version_id=None,
        etag=hashlib.sha256(body).hexdigest(),
        last_modified=dt.datetime.combine(as_of, dt.time(), dt.timezone.utc),
        selection=ListSelection.registry,
        body=body,
    )
    return listed, _kept(root, day, listed, "")


def _kept(root: DataRoot, day: dt.date, listed: ListObject, column: str) -> NpiList:
    """The NPIs of the list, which is kept with them. Raises ListUnavailableError when it is none."""
    where = f"the NPI list {listed.where}"
    try:
        parsed = parse_npi_list(listed.body, column)
    except ListUnreadableError as error:
        raise ListUnavailableError(f"{where} {error}; {error.remedy}") from error
    if parsed.valid.is_empty():
        (example,) = parsed.examples_of_invalid(1)
        raise ListUnavailableError(
            f"{where} holds no valid NPI in {parsed.column_name}, e.g. {example}; "
            "put a list with one NPI of ten digits a line there, or correct NPI_LIST_KEY or NPI_LIST_COLUMN"
        )
    keep_npis(root, day, parsed, listed.sha256, column)
    keep_list(root, day, listed, column)
    return parsed


def _list_of_day(root: DataRoot, day: dt.date, client: S3Client, settings: ListSettings) -> ListObject:
    bucket, key = settings.list_bucket, settings.key_of(day)
    try:
        listed = read_list_object(
            client, bucket, key, day, is_dated=settings.key_is_dated, max_bytes=settings.list_max_bytes
        )
    except NoListOfDayError:
        kept = _kept_before_the_end(root, day, bucket, key)
        if kept is None:
            raise
        return kept
    if listed.ambiguity is None:
        return listed
    return _kept_before_the_end(root, day, bucket, key) or listed


def _kept_before_the_end(root: DataRoot, day: dt.date, bucket: str, key: str) -> ListObject | None:
    """The list that is kept for ``day`` already, when it is this object as it was before the day ended."""
    try:
        kept = read_kept_list(root, day)
    except (FileNotFoundError, KeptListError):
        return None
    if (kept.bucket, kept.key) == (bucket, key) and is_certain(kept, day):
        return dataclasses.replace(kept, selection=ListSelection.kept)
    return None


def kept_npi_list(root: DataRoot, day: dt.date, source: KeptSource | None = None) -> NpiList:
    """The NPIs of the list kept for ``day``, as they were parsed when it was kept.

    ``source`` is what ``read_kept_source`` says, when it was asked already. Raises as ``read_kept_list`` does.
    """
    source = source or read_kept_source(root, day)
    return read_kept_npis(root, day, source) or npi_list_of_kept_bytes(root, day)


def npi_list_of_kept_bytes(root: DataRoot, day: dt.date) -> NpiList:
    """The NPIs of the list kept for ``day``, parsed anew from its own bytes: for a proof. Raises as ``read_kept_list``.

    Bytes that are no list to this release raise KeptListError.
    """
    source = read_kept_source(root, day)
    try:
        return parse_npi_list(read_kept_list(root, day).body, source.column)
    except ListUnreadableError as error:
        raise KeptListError(
            f"the list kept for {day} {error}; {error.remedy}, and materialise the day again"
        ) from error


def kept_list_size(root: DataRoot, day: dt.date) -> int:
    """How many distinct NPIs the list kept for ``day`` has. Raises as ``read_kept_list`` does."""
    size = read_kept_size(root, day, read_kept_source(root, day))
    return npi_list_of_kept_bytes(root, day).distinct if size is None else size
