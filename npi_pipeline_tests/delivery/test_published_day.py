"""What is handed to a sink: the rows of one publication, as they were before they became text."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from npi_pipeline.changes.kept_changes import read_kept_changes
from npi_pipeline.delivery.published_day import open_published_day
from npi_pipeline.delivery.sink import DeliveryError
from npi_pipeline.outcomes import Outcome
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import complete, record
from npi_pipeline_tests.delivery.days_to_deliver import FILES, World, found, make_day
from npi_pipeline_tests.flattened import nppes_body

WORLD = World(npis=20, days=3)
FIRST, SECOND, THIRD = WORLD.days


@pytest.fixture
def root(tmp_path: Path) -> LocalRoot:
    return LocalRoot(tmp_path / "root")


def test_its_batches_hold_the_day_as_it_was_recorded(root: LocalRoot) -> None:
    make_day(root, FIRST, WORLD.of_day[FIRST])
    published = open_published_day(root, FILES, FIRST)
    outcomes = pl.concat(published.outcomes())
    assert outcomes["npi"].to_list() == sorted(WORLD.of_day[FIRST])
    records = found(WORLD.of_day[FIRST])
    assert dict(published.records()) == records
    providers = pl.concat(published.providers())
    assert dict(providers.select("npi", "basic.last_name").iter_rows()) == {
        npi: record["basic"].get("last_name") for npi, record in records.items()
    }
    assert published.rows == {"providers": len(records), "outcomes": len(WORLD.of_day[FIRST]), "changes": 0}


@pytest.mark.parametrize("cell", ["=1+1", "'=1+1", "''=1", "'", "-", "a", 'two\nlines, and "quotes"'])
def test_cells_of_changes_are_as_the_registry_gave_them(root: LocalRoot, cell: str) -> None:
    npi = "1000000004"
    make_day(root, FIRST, {npi: nppes_body(npi)})
    make_day(root, SECOND, {npi: nppes_body(npi, basic={"last_name": cell})})
    (changes,) = open_published_day(root, FILES, SECOND).changes()
    assert changes.filter(field="basic.last_name")["new"].to_list() == [cell]


@pytest.mark.parametrize("escaped", [True, False])
def test_cells_of_changes_are_read_as_they_were_written_whatever_is_set_today(root: LocalRoot, escaped: bool) -> None:
    npi = "1000000004"
    of_that_day = FILES.model_copy(update={"escape_formulas": escaped})
    of_today = FILES.model_copy(update={"escape_formulas": not escaped})
    make_day(root, FIRST, {npi: nppes_body(npi)}, of_that_day)
    make_day(root, SECOND, {npi: nppes_body(npi, basic={"last_name": "'=1+1"})}, of_that_day)
    (changes,) = open_published_day(root, of_today, SECOND).changes()
    assert changes.filter(field="basic.last_name")["new"].to_list() == ["'=1+1"]


def test_what_has_no_old_value_is_null_and_not_empty(root: LocalRoot) -> None:
    make_day(root, FIRST, {"1000000004": Outcome.not_found})
    make_day(root, SECOND, {"1000000004": Outcome.not_found, "1000000012": Outcome.not_found})
    (changes,) = open_published_day(root, FILES, SECOND).changes()
    assert changes.rows() == [("1000000012", "joined", "outcome", None, "not_found")]


def test_damaged_changes_are_not_delivered(root: LocalRoot) -> None:
    make_day(root, FIRST, WORLD.of_day[FIRST])
    make_day(root, SECOND, WORLD.of_day[SECOND])
    path = read_kept_changes(root, SECOND).path
    root.write(path, root.read(path).replace(b"field", b"fjeld", 1))
    with pytest.raises(DeliveryError, match=f"damaged: materialise provider_changes for {SECOND}"):
        list(open_published_day(root, FILES, SECOND).changes())


def test_a_day_that_is_not_complete_or_is_being_made_anew_is_not_delivered(root: LocalRoot) -> None:
    with pytest.raises(DeliveryError, match="is not complete"):
        open_published_day(root, FILES, FIRST)
    complete(root, FIRST, WORLD.of_day[FIRST])
    with pytest.raises(DeliveryError, match="is not complete"):
        open_published_day(root, FILES, FIRST)
    make_day(root, FIRST, WORLD.of_day[FIRST])
    complete(root, FIRST, WORLD.of_day[SECOND])
    with pytest.raises(DeliveryError, match="not those of its publication: materialise provider_changes"):
        open_published_day(root, FILES, FIRST)
    make_day(root, FIRST, WORLD.of_day[FIRST])
    record(root, FIRST, WORLD.of_day[SECOND])
    with pytest.raises(DeliveryError, match="recorded anew"):
        open_published_day(root, FILES, FIRST)


def test_a_day_that_is_published_anew_meanwhile_is_noticed(root: LocalRoot) -> None:
    make_day(root, FIRST, WORLD.of_day[FIRST])
    published = open_published_day(root, FILES, FIRST)
    published.ensure_current()
    make_day(root, FIRST, WORLD.of_day[SECOND])
    with pytest.raises(DeliveryError, match="published anew while it was delivered"):
        published.ensure_current()
