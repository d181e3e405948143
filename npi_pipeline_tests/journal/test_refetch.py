"""An asking is known by its name, whatever the clock says, and a damaged note of it costs requests and no answer."""

from __future__ import annotations

import pytest

from npi_pipeline.journal import first_run_of_refetch
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline_tests.journal.made_outcomes import DAY

NOTE = f"journal/day={DAY}/refetch.json"


def test_those_that_go_on_with_an_asking_are_told_its_first_run(root: DataRoot) -> None:
    assert first_run_of_refetch(root, DAY, "nppes", "one", 3) == 3
    assert first_run_of_refetch(root, DAY, "nppes", "one", 7) == 3


@pytest.mark.parametrize(("registry", "asking"), [("nppes", "another"), ("another", "one")])
def test_another_asking_or_one_of_another_registry_begins_anew(root: DataRoot, registry: str, asking: str) -> None:
    assert first_run_of_refetch(root, DAY, "nppes", "one", 3) == 3
    assert first_run_of_refetch(root, DAY, registry, asking, 7) == 7


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"asking": "one", "registry": "nppes"}']
)
def test_a_note_that_cannot_be_understood_is_as_good_as_none(root: DataRoot, content: bytes) -> None:
    root.write(NOTE, content)
    assert first_run_of_refetch(root, DAY, "nppes", "one", 7) == 7
    assert first_run_of_refetch(root, DAY, "nppes", "one", 9) == 7
