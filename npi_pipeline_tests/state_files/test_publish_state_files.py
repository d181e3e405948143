"""What is published of a day belongs together: its list, its journal, its provider table and its state files."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from npi_pipeline.days.lock import day_lock
from npi_pipeline.days.paths import state_files_folder
from npi_pipeline.journal import JournalError, compact_journal, read_compacted_journal
from npi_pipeline.outcomes import Outcome
from npi_pipeline.proofs.state_files import every_npi_is_accounted_for
from npi_pipeline.providers.flatten_records import flatten_records
from npi_pipeline.registries import FORMATS
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.publish_state_files import publish_state_files
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import complete, keep, record
from npi_pipeline_tests.flattened import nppes_body

A, B, C = "1000000004", "1000000012", "1000000020"
DAY = dt.date(2026, 11, 23)
FILES = FileSettings()
LAYOUT = FORMATS["nppes"].layout
OUTCOMES = {A: nppes_body(A), B: Outcome.failed}


def is_published(root: DataRoot) -> bool:
    return bool(root.list(state_files_folder(FILES.state_files_dir, DAY)))


def test_a_provider_table_of_an_earlier_journal_is_not_published_with_a_later_one(root: DataRoot) -> None:
    """B failed when the table was made and is found now: it would be in no file at all."""
    keep(root, DAY, OUTCOMES)
    record(root, DAY, OUTCOMES)
    flatten_records(root, DAY, LAYOUT, {})
    record(root, DAY, {A: OUTCOMES[A], B: nppes_body(B)})
    with pytest.raises(JournalError) as refused:
        publish_state_files(root, DAY, FILES)
    assert str(refused.value) == (
        "the provider table of 2026-11-23 was made from an earlier journal: materialise providers for that day first"
    )
    assert not is_published(root)
    flatten_records(root, DAY, LAYOUT, {})
    assert publish_state_files(root, DAY, FILES).outcomes["found"] == 2
    assert every_npi_is_accounted_for(root, DAY, FILES).holds


def test_a_journal_that_was_compacted_again_with_the_same_rows_is_the_same_journal(root: DataRoot) -> None:
    complete(root, DAY, OUTCOMES)
    before = read_compacted_journal(root, DAY)
    with day_lock(root, DAY) as held:
        compact_journal(root, DAY, pl.Series("npi", [A, B]), held, registry=before.registry)
    after = read_compacted_journal(root, DAY)
    assert (before.parts != after.parts, before.digest == after.digest) == (True, True)
    assert publish_state_files(root, DAY, FILES).outcomes["failed"] == 1


@pytest.mark.parametrize("listed", [[A], [A, B, C], [A, C]], ids=["fewer", "more", "others"])
def test_a_list_that_was_read_again_with_other_npis_is_not_published_with_the_journal_of_the_earlier_one(
    tmp_path: Path, listed: list[str]
) -> None:
    root = LocalRoot(tmp_path)
    keep(root, DAY, OUTCOMES)
    record(root, DAY, OUTCOMES)
    flatten_records(root, DAY, LAYOUT, {})
    keep(root, DAY, dict.fromkeys(listed, ""))
    with pytest.raises(JournalError) as refused:
        publish_state_files(root, DAY, FILES)
    differ = len({A, B} ^ set(listed))
    assert str(refused.value) == (
        f"the NPI list of 2026-11-23 was read again since its journal was compacted, and {differ} NPIs differ: "
        "materialise npi_records for that day first"
    )
    assert not is_published(root)
