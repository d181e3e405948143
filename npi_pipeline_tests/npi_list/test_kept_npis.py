"""The NPIs kept beside a list are those of its bytes, or they count as not there."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import json
from collections.abc import Callable

import pytest
from polars.testing import assert_frame_equal

from npi_pipeline.days.paths import list_path, npis_path, parsed_path
from npi_pipeline.npi_list import ListLayout, NpiList, keep_npi_list, parse_npi_list
from npi_pipeline.npi_list.keep_npi_list import kept_list_size, kept_npi_list
from npi_pipeline.npi_list.kept_list import KeptListError, keep_list
from npi_pipeline.npi_list.kept_npis import keep_npis
from npi_pipeline.npi_list.source import ListObject, ListSelection
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline_tests.pipeline import DAY

BODY = b"billing_npi,npi\n1234567893,1999999984\n1234567893,12345\n1234567893,1999999984\n"
LISTED = ListObject(
    bucket="lists",
    key="npi_list.txt",
    version_id=None,
    etag="0a1b",
    last_modified=dt.datetime(2026, 11, 23, 6, tzinfo=dt.timezone.utc),
    selection=ListSelection.current,
    body=BODY,
)


@pytest.fixture
def parsings(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The lists that were parsed, each time."""
    parsed: list[bytes] = []

    def parse(data: bytes, column: str = "") -> NpiList:
        parsed.append(data)
        return parse_npi_list(data, column)

    monkeypatch.setattr(keep_npi_list, "parse_npi_list", parse)
    return parsed


def keep(root: DataRoot, column: str = "") -> NpiList:
    parsed = parse_npi_list(BODY, column)
    keep_npis(root, DAY, parsed, LISTED.sha256, column)
    keep_list(root, DAY, LISTED, column)
    return parsed


def assert_same(one: NpiList, other: NpiList) -> None:
    for name in ("valid", "rejected", "npis"):
        assert_frame_equal(getattr(one, name), getattr(other, name))
    layouts = [[getattr(parsed, field.name) for field in dataclasses.fields(ListLayout)] for parsed in (one, other)]
    assert layouts[0] == layouts[1]


@pytest.mark.parametrize("column", ["", "1"])
def test_what_was_parsed_once_is_read_back_the_same_and_not_parsed_again(
    root: DataRoot, parsings: list[bytes], column: str
) -> None:
    parsed = keep(root, column)
    assert_same(kept_npi_list(root, DAY), parsed)
    assert (kept_list_size(root, DAY), parsings) == (parsed.npis.height, [])


def test_a_list_takes_at_most_twelve_bytes_an_npi_parsed_kept_and_read_back(root: DataRoot) -> None:
    body = "\n".join(itertools.islice(npi_numbers(1000), 1000)).encode()
    listed = dataclasses.replace(LISTED, body=body)
    parsed = parse_npi_list(body)
    keep_npis(root, DAY, parsed, listed.sha256, "")
    keep_list(root, DAY, listed, "")
    for one in (parsed, kept_npi_list(root, DAY)):
        assert one.valid.estimated_size() <= 12 * 1000
        assert len(one.as_set) == one.distinct == 1000
        assert "npis" not in vars(one), "the text is made for who asks for it"


def edited(path: Callable[[dt.date], str], **changed: object) -> Callable[[DataRoot], None]:
    def edit(root: DataRoot) -> None:
        root.write(path(DAY), json.dumps(json.loads(root.read(path(DAY))) | changed).encode())

    return edit


@pytest.mark.parametrize(
    "harm",
    [
        lambda root: root.delete(npis_path(DAY)),
        lambda root: root.delete(parsed_path(DAY)),
        lambda root: root.write(npis_path(DAY), b""),
        lambda root: root.write(npis_path(DAY), root.read(npis_path(DAY))[:-1] + b"x"),
        lambda root: root.write(parsed_path(DAY), b"{"),
        lambda root: root.write(parsed_path(DAY), b"[]"),
        edited(parsed_path, parser_version=0),
        edited(parsed_path, list_sha256="0a"),
        edited(parsed_path, column_setting="2"),
        edited(parsed_path, npis_sha256=None),
        edited(parsed_path, npis="3"),
        edited(parsed_path, layout={"header": 1}),
    ],
)
def test_what_does_not_agree_is_parsed_again_from_the_bytes(
    root: DataRoot, parsings: list[bytes], harm: Callable[[DataRoot], None]
) -> None:
    parsed = keep(root, "1")
    harm(root)
    assert_same(kept_npi_list(root, DAY), parsed)
    assert parsings == [BODY]


def test_bytes_that_are_damaged_are_never_parsed_again(root: DataRoot, parsings: list[bytes]) -> None:
    keep(root)
    root.delete(parsed_path(DAY))
    root.write(list_path(DAY), BODY[:-20])
    with pytest.raises(KeptListError):
        kept_npi_list(root, DAY)
    assert parsings == []
