"""What one of several workers may ask, as the others come to their end."""

from __future__ import annotations

import threading

import pytest

from npi_pipeline.npi_records import shared_caps
from npi_pipeline.npi_records.shared_caps import SharedCaps, share_of
from npi_pipeline.settings import FetchSettings
from npi_pipeline.storage.data_root import StorageError

SETTINGS = FetchSettings(threads=10, requests_per_second=30)


def test_workers_keep_to_the_caps_together() -> None:
    share = share_of(SETTINGS, 4)
    assert (share.threads, share.requests_per_second) == (2, 7.5)
    assert share_of(SETTINGS, 16).threads == 1


def test_the_share_of_one_that_is_done_goes_to_those_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_caps, "_SECONDS_BETWEEN_LOOKS", 0.001)
    looks = [4, 2, StorageError("the bucket does not answer"), 1]
    was_last = threading.Event()

    def workers() -> int:
        found = looks.pop(0)
        if not looks:
            was_last.set()
        if isinstance(found, StorageError):
            raise found
        return found

    shared = SharedCaps(SETTINGS, workers)
    assert shared.now == share_of(SETTINGS, 4)
    with shared as caps:
        assert was_last.wait(10)
        for thread in threading.enumerate():
            if thread.name == "npi-shared-caps":
                thread.join(10)
        assert caps.now == share_of(SETTINGS, 1)
