"""What is unchanged of a day is left as it is; what was made from anything else, or is damaged, is made again."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.days import input_digest as input_digest_module
from npi_pipeline.days.paths import (
    journal_folder,
    provider_changes_folder,
    provider_table_folder,
    state_files_folder,
)
from npi_pipeline.journal import read_compacted_journal, read_outcomes, unchanged_journal
from npi_pipeline.outcomes import Outcome
from npi_pipeline.providers.flatten_records import flatten_records, unchanged_table
from npi_pipeline.registries import FORMATS
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.publish_state_files import publish_state_files, unchanged_publication
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import complete, keep, record
from npi_pipeline_tests.flattened import nppes_body, taxonomy

A, B, C = "1000000004", "1000000012", "1000000020"
YESTERDAY, DAY = dt.date(2026, 11, 22), dt.date(2026, 11, 23)
TODAY = str(dt.datetime.now(dt.timezone.utc).date())
FILES = FileSettings()
LAYOUT = FORMATS["nppes"].layout
OUTCOMES = {A: nppes_body(A), B: Outcome.failed, C: nppes_body(C, taxonomies=[taxonomy("X")] * 3)}
OTHERS = {A: nppes_body(A, fax=1), B: Outcome.not_found, C: nppes_body(C, basic={"last_name": "=1"})}

Damage = Callable[[DataRoot, str], None]


def flipped(root: DataRoot, path: str) -> None:
    content = bytearray(root.read(path))
    content[len(content) // 2] ^= 1
    root.write(path, bytes(content))


def cut_off(root: DataRoot, path: str) -> None:
    content = root.read(path)
    root.write(path, content[: len(content) // 2])


def removed(root: DataRoot, path: str) -> None:
    root.delete(path)


def emptied(root: DataRoot, path: str) -> None:
    root.write(path, b"")


EACH_DAMAGE = pytest.mark.parametrize("damage", [flipped, cut_off, removed, emptied])


def file_of(root: DataRoot, folder: str, ending: str) -> str:
    return next(file.path for file in root.list(folder) if file.path.endswith(ending))


def test_a_day_that_is_as_it_would_be_made_is_left_as_it_is(root: DataRoot) -> None:
    manifest = complete(root, DAY, OUTCOMES)
    table = unchanged_table(root, DAY, LAYOUT, {})
    assert table is not None
    assert (table.rows, table.journal_digest) == (2, manifest.journal_digest)
    assert [(row["npi"], row["fetched_on"]) for row in table.preview] == [(A, TODAY), (C, TODAY)]
    published = unchanged_publication(root, DAY, FILES)
    assert published is not None
    assert published.to_json() == manifest.to_json()


def test_a_day_that_was_never_made_is_not_unchanged(root: DataRoot) -> None:
    keep(root, DAY, OUTCOMES)
    record(root, DAY, OUTCOMES)
    assert unchanged_table(root, DAY, LAYOUT, {}) is None
    assert unchanged_publication(root, DAY, FILES) is None


@EACH_DAMAGE
@pytest.mark.parametrize("ending", [".parquet", "table.json"])
def test_a_damaged_provider_table_is_made_again(tmp_path: Path, ending: str, damage: Damage) -> None:
    root = LocalRoot(tmp_path)
    manifest = complete(root, DAY, OUTCOMES)
    damage(root, file_of(root, provider_table_folder(DAY), ending))
    assert unchanged_table(root, DAY, LAYOUT, {}) is None
    flatten_records(root, DAY, LAYOUT, {})
    published = unchanged_publication(root, DAY, FILES)
    assert published is not None
    assert published.to_json() == manifest.to_json()


@EACH_DAMAGE
@pytest.mark.parametrize("ending", ["CA.csv", "Failed.csv", "manifest.json"])
def test_damaged_state_files_are_published_again(tmp_path: Path, ending: str, damage: Damage) -> None:
    root = LocalRoot(tmp_path)
    before = complete(root, DAY, OUTCOMES)
    path = file_of(root, state_files_folder(FILES.state_files_dir, DAY), ending)
    content = root.read(path)
    damage(root, path)
    assert unchanged_publication(root, DAY, FILES) is None
    publish_state_files(root, DAY, FILES)
    assert unchanged_publication(root, DAY, FILES) is not None
    assert root.read(path) == content or ending == "manifest.json"
    assert before.files == publish_state_files(root, DAY, FILES).files


def test_a_file_too_many_is_published_away(root: DataRoot) -> None:
    complete(root, DAY, OUTCOMES)
    root.write(f"{state_files_folder(FILES.state_files_dir, DAY)}/npi_data_2026-11-23_TX.csv", b"npi\n")
    assert unchanged_publication(root, DAY, FILES) is None


@pytest.mark.parametrize(
    "change",
    [
        {"escape_formulas": False},
        {"byte_order_mark": True},
        {"file_prefix": "other_"},
        {"failed_name": "Others"},
        {"date_format": "%d-%m-%Y"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_that_shows_in_the_state_files_makes_them_again(
    tmp_path: Path, change: dict[str, object]
) -> None:
    root = LocalRoot(tmp_path)
    complete(root, DAY, OUTCOMES)
    other = FileSettings(**change)  # type: ignore[arg-type]
    assert unchanged_publication(root, DAY, other) is None
    publish_state_files(root, DAY, other)
    assert unchanged_publication(root, DAY, other) is not None
    assert unchanged_publication(root, DAY, FILES) is None


def test_a_width_a_layout_and_the_code_make_the_table_and_all_after_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = LocalRoot(tmp_path)
    complete(root, DAY, OUTCOMES)
    assert unchanged_table(root, DAY, LAYOUT, {"taxonomies": 2}) is None
    assert unchanged_table(root, DAY, dataclasses.replace(LAYOUT, envelope=()), {}) is None
    flatten_records(root, DAY, LAYOUT, {"taxonomies": 2})
    assert unchanged_publication(root, DAY, FILES) is None, "the table is another one"
    complete(root, DAY, OUTCOMES)
    monkeypatch.setattr(input_digest_module, "code_version", lambda: "another")
    assert unchanged_table(root, DAY, LAYOUT, {}) is None
    assert unchanged_publication(root, DAY, FILES) is None


def test_a_journal_or_a_list_that_is_another_one_makes_what_is_after_it_again(root: DataRoot) -> None:
    complete(root, DAY, OUTCOMES)
    keep(root, DAY, {**OUTCOMES, "1000000038": Outcome.failed})
    assert unchanged_publication(root, DAY, FILES) is None
    keep(root, DAY, OUTCOMES)
    assert unchanged_publication(root, DAY, FILES) is not None
    record(root, DAY, OTHERS)
    assert unchanged_table(root, DAY, LAYOUT, {}) is None
    assert unchanged_publication(root, DAY, FILES) is None


@pytest.mark.long_on_s3
def test_changes_that_are_as_they_would_be_found_are_left_and_told_the_same_way(root: DataRoot) -> None:
    complete(root, YESTERDAY, OTHERS)
    complete(root, DAY, OUTCOMES)
    first, _ = find_changes(root, DAY, FILES)
    written = root.list(provider_changes_folder(DAY))
    again, of_next_day = find_changes(root, DAY, FILES)
    assert (first.is_unchanged, again.is_unchanged, of_next_day) == (False, True, None)
    assert again.kept == first.kept
    assert again.changes.preview.equals(first.changes.preview)
    assert (again.changes.counts, again.changes.outcome_changes, again.changes.fields) == (
        first.changes.counts,
        first.changes.outcome_changes,
        first.changes.fields,
    )
    assert root.list(provider_changes_folder(DAY)) == written
    first_day, _ = find_changes(root, YESTERDAY, FILES)
    assert not first_day.is_unchanged
    assert find_changes(root, YESTERDAY, FILES)[0].is_unchanged, "with no day before it"


@EACH_DAMAGE
@pytest.mark.parametrize("ending", [".csv", "changes.json"])
def test_damaged_changes_are_found_again(tmp_path: Path, ending: str, damage: Damage) -> None:
    root = LocalRoot(tmp_path)
    complete(root, YESTERDAY, OTHERS)
    complete(root, DAY, OUTCOMES)
    first, _ = find_changes(root, DAY, FILES)
    path = file_of(root, provider_changes_folder(DAY), ending)
    content = root.read(path)
    damage(root, path)
    again, _ = find_changes(root, DAY, FILES)
    assert not again.is_unchanged
    assert root.read(path) == content
    assert again.kept == first.kept


def test_changes_are_found_again_with_other_settings_and_against_another_publication(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    complete(root, YESTERDAY, OTHERS)
    complete(root, DAY, OUTCOMES)
    find_changes(root, DAY, FILES)
    for change in ({"escape_formulas": False}, {"byte_order_mark": True}, {"list_widths": "taxonomies=1"}):
        assert not find_changes(root, DAY, FileSettings(**change))[0].is_unchanged  # type: ignore[arg-type]
    find_changes(root, DAY, FILES)
    complete(root, YESTERDAY, OUTCOMES)
    assert not find_changes(root, DAY, FILES)[0].is_unchanged


def test_a_journal_is_left_as_it_was_compacted_only_for_its_list_and_registry_and_without_arrivals(
    root: DataRoot,
) -> None:
    complete(root, DAY, OUTCOMES)
    compacted = read_compacted_journal(root, DAY)
    npis = read_outcomes(root, DAY)["npi"]

    def unchanged(npis: object = npis, registry: str = compacted.registry) -> object:
        return unchanged_journal(root, DAY, npis, read_outcomes(root, DAY), registry=registry)  # type: ignore[arg-type]

    assert unchanged() == compacted
    assert unchanged(npis[:-1]) is None
    assert unchanged(registry="another") is None
    removed(root, compacted.paths[0])
    assert unchanged() is None
    assert unchanged(npis[:0]) is None, "a part is lost, whoever was in it"
    assert file_of(root, journal_folder(DAY), "journal.json")
