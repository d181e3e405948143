"""What is kept beside a day's changes, as JSON."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from npi_pipeline.changes.kept_changes import (
    ChangedField,
    ChangesError,
    ChangesFile,
    KeptChanges,
    Publication,
    Summary,
    read_kept_changes,
)
from npi_pipeline.days.paths import provider_changes_folder
from npi_pipeline.storage.data_root import DataRoot

DAY = dt.date(2026, 11, 23)
NOW = dt.datetime(2026, 11, 23, 6, 30, tzinfo=dt.timezone.utc)
KEPT = KeptChanges(
    publication=Publication(DAY, NOW, "ab"),
    compared_with=Publication(DAY - dt.timedelta(days=1), NOW - dt.timedelta(days=1), "cd"),
    fields_compared=True,
    counts={"joined": 1, "left": 0},
    file=ChangesFile("provider_changes_2026-11-23.csv", rows=1, bytes=60, sha256="ef"),
    summary=Summary((("found", "deactivated", 1),), (ChangedField("npi", 1, "1", "", "2"),), ((None, "", "", "", ""),)),
)
PATH = f"{provider_changes_folder(DAY)}/changes.json"


@pytest.mark.parametrize("kept", [KEPT, dataclasses.replace(KEPT, compared_with=None, fields_compared=False)])
def test_kept_changes_read_back_say_the_same(root: DataRoot, kept: KeptChanges) -> None:
    root.write(PATH, kept.to_json())
    assert read_kept_changes(root, DAY) == kept


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        KEPT.to_json().replace(b'"version": 1', b'"version": 99'),
        KEPT.to_json().replace(b'"2026-11-22"', b'"yesterday"'),
        KEPT.to_json().replace(b'"rows": 1', b'"rows": "1"'),
        KEPT.to_json().replace(b'"joined": 1', b'"joined": null'),
        KEPT.to_json().replace(b'"provider_changes_2026-11-23.csv"', b"7"),
        KEPT.to_json().replace(b'"fields": [', b'"fields": {}, "other": ['),
    ],
)
def test_what_cannot_be_understood_is_said_on_one_line_with_place_and_remedy(root: DataRoot, data: bytes) -> None:
    root.write(PATH, data)
    with pytest.raises(ChangesError) as refused:
        read_kept_changes(root, DAY)
    line = str(refused.value)
    assert root.uri(PATH) in line
    assert "materialise provider_changes for 2026-11-23 again" in line
    assert "\n" not in line
