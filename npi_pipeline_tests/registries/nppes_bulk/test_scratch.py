"""The scratch folder of a killed process is found by the next one, used by one at a time, and not kept for ever."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path

import pytest

from npi_pipeline.registries.nppes_bulk.scratch import scratch_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _interrupt(purpose: str) -> Path:
    with contextlib.suppress(KeyboardInterrupt), scratch_folder(purpose) as folder:
        (folder / "rows").write_text(purpose)
        raise KeyboardInterrupt
    return folder


def test_what_was_left_is_found_by_the_next_one_with_the_same_purpose(temporary: Path) -> None:
    left, other = _interrupt("this"), _interrupt("that")

    with scratch_folder("this") as folder:
        assert folder == left
        assert (folder / "rows").read_text() == "this"

    assert list(temporary.iterdir()) == [other]


def test_a_folder_that_somebody_uses_is_nobody_elses(temporary: Path) -> None:
    with scratch_folder("this") as one, scratch_folder("this") as other:
        assert one != other

    assert list(temporary.iterdir()) == []


def test_what_is_older_than_two_days_is_removed_unless_it_is_in_use(temporary: Path) -> None:
    old, young = _interrupt("old"), _interrupt("young")
    long_ago = time.time() - 3 * 86400
    os.utime(old, (long_ago, long_ago))

    with scratch_folder("used") as used:
        os.utime(used, (long_ago, long_ago))
        with scratch_folder("new"):
            pass

        assert sorted(temporary.iterdir()) == sorted([used, young])


def test_what_was_left_before_the_machine_was_started_anew_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    left = _interrupt("this")
    boot = left.parent / "boot_id"
    boot.write_text("another start")
    monkeypatch.setattr("npi_pipeline.registries.nppes_bulk.scratch._BOOT_ID", boot)

    with scratch_folder("this") as folder:
        assert list(folder.iterdir()) == []


def test_where_nobody_can_tell_when_the_machine_was_started_nothing_is_believed(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npi_pipeline.registries.nppes_bulk.scratch._BOOT_ID", temporary / "nowhere")
    left = _interrupt("this")

    with scratch_folder("this") as folder:
        assert folder != left


def test_a_folder_that_a_failure_leaves_is_worth_nothing(temporary: Path) -> None:
    with pytest.raises(ValueError, match="wrong"), scratch_folder("this"):
        raise ValueError("wrong")

    assert list(temporary.iterdir()) == []
