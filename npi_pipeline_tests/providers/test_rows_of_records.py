"""Records that are in the declared columns already become the same rows as their answers do."""

from __future__ import annotations

import polars as pl
import pytest

from npi_pipeline.providers.declared import read_declared, rows_of_records
from npi_pipeline.registries.nppes_api import NPPES
from npi_pipeline.registries.nppes_bulk.bodies import record_bodies
from npi_pipeline.registries.nppes_bulk.store_schema import RECORD_COLUMNS
from npi_pipeline.testing.providers import answer, npi_numbers, outcome_of

FOUND = [npi for npi in npi_numbers(300) if outcome_of(npi).value == "found"]


def records() -> pl.DataFrame:
    """The records of made-up providers as a snapshot keeps them: lists whole, null where there is none."""
    frame = read_declared([answer(npi).decode() for npi in FOUND], NPPES.layout, {}).frame
    npis = pl.Series("npi", FOUND).cast(pl.UInt32)
    nothing = pl.lit(None, pl.String).alias("problem"), pl.lit(None, pl.Date).alias("deactivated_on")
    return frame.select(npis, *nothing, *RECORD_COLUMNS)


def with_sixty_locations(rows: pl.DataFrame) -> pl.DataFrame:
    """Those that have a second practice location, with sixty of them."""
    located = rows.filter(pl.col("practiceLocations").is_not_null())
    return located.with_columns(
        pl.concat_list([pl.col("practiceLocations").list.first()] * 60).alias("practiceLocations")
    )


@pytest.mark.parametrize("pinned", [{}, {"practiceLocations": 2}, {"taxonomies": 1}, {"practiceLocations": 0}])
def test_items_beyond_a_lists_width_are_kept_as_of_an_answer_of_the_api(pinned: dict[str, int]) -> None:
    many = pl.concat([records().filter(pl.col("practiceLocations").is_null()), with_sixty_locations(records())])
    asked = read_declared(record_bodies(many).to_list(), NPPES.layout, pinned)
    read = rows_of_records(many, NPPES.layout, pinned)
    assert read.frame.equals(asked.frame)
    assert [rest.text for rest in read.rest] == [rest.text for rest in asked.rest]
    assert [rest.beyond for rest in read.rest] == [rest.beyond for rest in asked.rest]
    assert read.practice == asked.practice
    assert read.widths == asked.widths
    assert any(rest.text for rest in read.rest)
