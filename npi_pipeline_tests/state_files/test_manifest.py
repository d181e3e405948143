"""The manifest as JSON."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json

import pytest

from npi_pipeline.state_files.manifest import Manifest, ManifestError, StateFile

MANIFEST = Manifest(
    day=dt.date(2026, 11, 23),
    published_at=dt.datetime(2026, 11, 23, 6, 30, tzinfo=dt.timezone.utc),
    source={"key": "npi_list.txt", "bucket": "lists", "version_id": None},
    outcomes={"not_found": 1, "found": 2},
    columns=("npi", "basic.name", "Ärztin"),
    files=(StateFile("b.csv", "None", 1, 10, "ab"), StateFile("a.csv", "CA", 1, 20, "cd")),
    list_sha256="01",
    journal_digest="ef",
)


def test_a_manifest_read_back_says_the_same() -> None:
    read = Manifest.from_json(MANIFEST.to_json())
    assert read.to_json() == MANIFEST.to_json()
    assert (read.day, read.published_at, read.columns) == (MANIFEST.day, MANIFEST.published_at, MANIFEST.columns)
    assert set(read.files) == set(MANIFEST.files)


def test_a_manifest_is_the_same_bytes_whatever_the_order_of_its_parts() -> None:
    other = dataclasses.replace(
        MANIFEST,
        source=dict(sorted(MANIFEST.source.items())),
        outcomes=dict(sorted(MANIFEST.outcomes.items())),
        files=tuple(reversed(MANIFEST.files)),
    )
    assert other.to_json() == MANIFEST.to_json()


def test_a_manifest_of_another_release_is_named_by_its_own_bytes() -> None:
    content = json.loads(MANIFEST.to_json())
    del content["registry_files"]
    data = json.dumps(content).encode()
    read = Manifest.from_json(data)
    assert read.sha256 == hashlib.sha256(data).hexdigest()
    assert MANIFEST.sha256 == Manifest.from_json(MANIFEST.to_json()).sha256 != read.sha256
    moved = dataclasses.replace(read, folder="elsewhere")
    assert moved.sha256 == hashlib.sha256(moved.to_json()).hexdigest()


def test_a_manifest_counts_the_npis_of_all_outcomes() -> None:
    assert json.loads(MANIFEST.to_json())["npis"] == 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"not json",
        b"\xff\xfe",
        MANIFEST.to_json().replace(b'"version": 1', b'"version": 99'),
        MANIFEST.to_json().replace(b'"rows"', b'"lines"'),
        MANIFEST.to_json().replace(b'"rows": 1', b'"rows": "1"'),
        MANIFEST.to_json().replace(b'"found": 2', b'"found": null'),
        MANIFEST.to_json().replace(b'"list_sha256"', b'"lists"'),
        MANIFEST.to_json()[:-30],
    ],
)
def test_what_is_no_manifest_is_said_in_one_line(data: bytes) -> None:
    with pytest.raises(ManifestError) as refused:
        Manifest.from_json(data)
    assert "manifest" in str(refused.value)
    assert "\n" not in str(refused.value)
