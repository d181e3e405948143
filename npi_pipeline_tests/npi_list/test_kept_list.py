"""The list as it is kept with its day, and where it came from."""

from __future__ import annotations

import datetime as dt

import pytest

from npi_pipeline.days.paths import list_path, list_source_path
from npi_pipeline.npi_list.kept_list import (
    KeptListError,
    KeptSource,
    keep_list,
    read_kept_list,
    read_kept_source,
)
from npi_pipeline.npi_list.source import ListObject, ListSelection
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline_tests.pipeline import DAY

LISTED = ListObject(
    bucket="lists",
    key="npi_list.txt",
    version_id="v1",
    etag="0a1b",
    last_modified=dt.datetime(2026, 11, 23, 6, tzinfo=dt.timezone.utc),
    selection=ListSelection.version,
    ambiguity="nobody knows",
    body=b"NPI\r\n1234567893\r\n",
)


def test_a_kept_list_read_back_is_the_same(root: DataRoot) -> None:
    keep_list(root, DAY, LISTED, "NPI")
    assert read_kept_list(root, DAY) == LISTED
    source = {name: value for name, value in vars(LISTED).items() if name != "body"}
    assert read_kept_source(root, DAY) == KeptSource(**source, sha256=LISTED.sha256, column="NPI")


@pytest.mark.parametrize("damaged", [b"", LISTED.body[:-3], LISTED.body.replace(b"3", b"4"), LISTED.body * 2])
def test_damage_to_the_kept_list_is_not_taken_for_the_list(root: DataRoot, damaged: bytes) -> None:
    keep_list(root, DAY, LISTED)
    root.write(list_path(DAY), damaged)
    with pytest.raises(KeptListError, match=r"npi_list\.txt is damaged: .* materialise npi_list of that day again"):
        read_kept_list(root, DAY)


@pytest.mark.parametrize(
    "damaged", [b"", b"[]", b"null", b"{", b"\xff", b'{"bucket": "lists"}', b'{"last_modified": 1}']
)
def test_a_source_that_cannot_be_understood_is_one_line_with_a_remedy(root: DataRoot, damaged: bytes) -> None:
    keep_list(root, DAY, LISTED)
    root.write(list_source_path(DAY), damaged)
    with pytest.raises(KeptListError, match=r"source\.json cannot be understood .* materialise npi_list") as told:
        read_kept_source(root, DAY)
    assert "\n" not in str(told.value)


def test_a_day_without_a_list_says_so(root: DataRoot) -> None:
    with pytest.raises(FileNotFoundError):
        read_kept_source(root, DAY)
