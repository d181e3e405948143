"""The list as it is kept with its day, and where it came from."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.days import list_path, list_source_path
from npi_pipeline.storage.kept_list import keep_list, read_kept_list, read_kept_source
from npi_pipeline.storage.list_object import FoundList, HowChosen, ListObject
from npi_pipeline_tests.days import DAY

LISTED = ListObject(
    bucket="lists",
    key="npi_list.txt",
    version_id="v1",
    etag="0a1b",
    last_modified=dt.datetime(2026, 11, 23, 6, tzinfo=dt.timezone.utc),
    chosen=HowChosen.version,
    doubt="nobody knows",
    body=b"NPI\r\n1234567893\r\n",
)


def test_a_kept_list_read_back_is_the_same(root: DataRoot) -> None:
    keep_list(root, DAY, LISTED)
    assert read_kept_list(root, DAY) == LISTED
    source = {name: value for name, value in vars(LISTED).items() if name != "body"}
    assert read_kept_source(root, DAY) == FoundList(**source)


def test_a_list_kept_before_it_was_recorded_how_it_was_chosen_is_read(root: DataRoot) -> None:
    root.write(list_path(DAY), LISTED.body)
    source = {"bucket": "lists", "key": "k", "etag": "0a", "version_id": None}
    root.write(list_source_path(DAY), json.dumps(source | {"last_modified": "2026-11-23T06:00:00+00:00"}).encode())
    kept = read_kept_list(root, DAY)
    assert (kept.body, kept.last_modified) == (LISTED.body, LISTED.last_modified)
    assert (kept.chosen, kept.doubt) == (HowChosen.current, None)


def test_a_day_without_a_list_says_so(root: DataRoot) -> None:
    with pytest.raises(FileNotFoundError):
        read_kept_source(root, DAY)
