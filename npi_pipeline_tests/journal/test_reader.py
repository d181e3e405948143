"""What a resumed run and the steps after it read, and how damage is met."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from npi_pipeline.days.lock import day_lock
from npi_pipeline.days.paths import journal_folder
from npi_pipeline.journal import (
    IS_FINAL,
    SCHEMA,
    WITHOUT_BODY,
    ForeignJournalError,
    JournalError,
    compact_journal,
    compacted_parts,
    compaction,
    read_compacted_journal,
    read_outcomes,
    unchanged_journal,
)
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.storage.data_root import DataRoot, StoredFile
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.journal.made_outcomes import (
    DAY,
    MORNING,
    compacted_rows,
    made,
    npi,
    npis,
    rows_of,
    write,
)
from npi_pipeline_tests.watched_root import WatchedRoot

FOLDER = journal_folder(DAY)


def compact(root: DataRoot, numbers: range) -> None:
    with day_lock(root, DAY) as held:
        compact_journal(root, DAY, npis(numbers), held)


def only_part(root: DataRoot, folder: str) -> StoredFile:
    (part,) = root.list(f"{FOLDER}/{folder}")
    return part


def damaged(content: bytes) -> list[bytes]:
    """The ways in which a file's content can be wrong."""
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    return [b"", content[:1], content[:middle], content[:-1], flipped, content + b"\0", b"\0" * len(content)]


def test_an_empty_journal_knows_no_npi(root: DataRoot) -> None:
    outcomes = read_outcomes(root, DAY)
    assert outcomes.is_empty()
    assert outcomes.columns == WITHOUT_BODY


def test_a_resumed_run_reads_what_is_compacted_and_what_arrived_since(root: DataRoot) -> None:
    write(root, [made(1), made(2, Outcome.failed), made(3, Outcome.not_found)])
    compact(root, range(1, 4))
    write(root, [made(2, second=60), made(4)])
    outcomes = read_outcomes(root, DAY)
    assert outcomes.select("npi", "outcome").rows() == [
        (npi(1), "found"),
        (npi(2), "found"),
        (npi(3), "not_found"),
        (npi(4), "found"),
    ]
    assert outcomes.columns == WITHOUT_BODY


@pytest.mark.parametrize("kind", list(Outcome))
@pytest.mark.parametrize("retryable", [True, False])
def test_every_outcome_is_final_but_a_failure_that_may_pass(tmp_path: Path, kind: Outcome, retryable: bool) -> None:
    outcome = NpiOutcome(npi(1), Verdict(kind, "a reason", retryable), MORNING)
    write(LocalRoot(tmp_path), [outcome])
    is_final = not (kind is Outcome.failed and retryable)
    assert read_outcomes(LocalRoot(tmp_path), DAY).filter(IS_FINAL).height == is_final


def test_many_parts_are_read_in_the_order_of_their_npis(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "COMPACTED_PART_ROWS", 2)
    write(root, [made(number) for number in range(50)])
    compact(root, range(50))
    read = list(compacted_parts(root, DAY))
    assert [part.height for part in read] == [2] * 25
    assert all(part.schema == SCHEMA for part in read)
    assert compacted_rows(root) == rows_of(*(made(number) for number in range(50)))


def test_a_reader_that_stops_early_leaves_no_thread_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "COMPACTED_PART_ROWS", 1)
    root = LocalRoot(tmp_path)
    write(root, [made(number) for number in range(30)])
    compact(root, range(30))
    reading = compacted_parts(root, DAY)
    assert next(reading).height == 1
    reading.close()  # type: ignore[attr-defined]


def test_a_damaged_part_is_set_aside_with_a_warning_and_its_npis_are_asked_again(
    root: DataRoot, caplog: pytest.LogCaptureFixture
) -> None:
    write(root, [made(1)])
    part = only_part(root, "segments")
    write(root, [made(2)])
    contents = damaged(root.read(part.path))
    for content in contents:
        caplog.clear()
        root.write(part.path, content)
        assert read_outcomes(root, DAY)["npi"].to_list() == [npi(2)]
        assert "damaged" in caplog.text
        assert part.path in caplog.text
        aside = root.list(f"{FOLDER}/damaged")
        assert [root.read(file.path) for file in aside] == [content]
    assert len(root.list(f"{FOLDER}/segments")) == 1


def test_a_damaged_compacted_part_is_never_read_and_is_mended_by_asking_again(root: DataRoot) -> None:
    write(root, [made(1), made(2)])
    compact(root, range(1, 3))
    part = only_part(root, "compacted")
    root.write(part.path, root.read(part.path)[:-1])
    with pytest.raises(JournalError, match=r"damaged: materialise npi_records for 2026-11-23 again"):
        list(compacted_parts(root, DAY))
    assert read_outcomes(root, DAY).is_empty()
    with pytest.raises(JournalError, match=r"missing: materialise npi_records for 2026-11-23 again"):
        list(compacted_parts(root, DAY))
    write(root, [made(1), made(2)])
    compact(root, range(1, 3))
    assert compacted_rows(root) == rows_of(made(1), made(2))


def test_outcomes_are_read_without_the_bodies(root: DataRoot) -> None:
    write(root, [made(1), made(2, Outcome.failed)])
    compact(root, range(1, 3))
    read: list[str] = []
    watched = WatchedRoot(root, lambda method, path: read.append(path) if method == "read" else None)
    (rows,) = compacted_parts(watched, DAY, ("outcome", "npi"))  # type: ignore[arg-type]
    assert rows.rows() == [("found", npi(1)), ("failed", npi(2))]
    assert read == [f"{FOLDER}/journal.json", only_part(root, "outcomes").path]
    assert only_part(root, "outcomes").size < only_part(root, "compacted").size
    (whole,) = compacted_parts(root, DAY)
    assert whole.drop("body").equals(pl.concat(compacted_parts(root, DAY, WITHOUT_BODY)))


def test_outcomes_that_are_damaged_are_never_read_and_are_mended_without_asking(root: DataRoot) -> None:
    write(root, [made(1), made(2)])
    compact(root, range(1, 3))
    before = read_compacted_journal(root, DAY)
    for harm in (lambda path: root.write(path, root.read(path)[:-1]), root.delete):
        harm(only_part(root, "outcomes").path)
        with pytest.raises(JournalError, match=r"materialise npi_records for 2026-11-23 again"):
            list(compacted_parts(root, DAY, ("npi",)))
        known = read_outcomes(root, DAY)
        assert known["npi"].to_list() == [npi(1), npi(2)]
        assert unchanged_journal(root, DAY, known["npi"], known) is None
        compact(root, range(1, 3))
        assert sum(part.height for part in compacted_parts(root, DAY, ("npi",))) == 2
        assert unchanged_journal(root, DAY, known["npi"], known) == read_compacted_journal(root, DAY)
        assert read_compacted_journal(root, DAY).digest == before.digest


def test_a_compacted_part_that_is_gone_is_said_and_mended(root: DataRoot, caplog: pytest.LogCaptureFixture) -> None:
    write(root, [made(1)])
    compact(root, range(1, 2))
    root.delete(only_part(root, "compacted").path)
    assert read_outcomes(root, DAY).is_empty()
    assert "missing" in caplog.text


@pytest.mark.parametrize("copied", ["", "segments", "journal.json"])
def test_a_copy_of_another_days_journal_is_refused_in_one_line(root: DataRoot, copied: str) -> None:
    other = DAY - dt.timedelta(days=1)
    write(root, [made(1)], other)
    with day_lock(root, other) as held:
        compact_journal(root, other, npis([1]), held)
    write(root, [made(1, Outcome.not_found)], other)
    write(root, [made(2)])
    for file in root.list(f"{journal_folder(other)}/{copied}".rstrip("/")):
        root.write(file.path.replace(str(other), str(DAY), 1), root.read(file.path))
    if copied == "journal.json":
        root.write(f"{FOLDER}/{copied}", root.read(f"{journal_folder(other)}/{copied}"))
    with pytest.raises(ForeignJournalError, match=rf"is of {other} and not of {DAY}.*move .*{DAY} away") as refused:
        read_outcomes(root, DAY)
    assert "\n" not in str(refused.value)
    with pytest.raises(ForeignJournalError):
        compact(root, range(1, 2))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"version": 99}', b"\xff"])
def test_a_journal_json_that_cannot_be_understood_is_said_in_one_line(tmp_path: Path, content: bytes) -> None:
    root = LocalRoot(tmp_path)
    root.write(f"{FOLDER}/journal.json", content)
    for read in (read_outcomes, read_compacted_journal):
        with pytest.raises(JournalError, match=r"journal\.json cannot be understood") as refused:
            read(root, DAY)
        assert "\n" not in str(refused.value)
