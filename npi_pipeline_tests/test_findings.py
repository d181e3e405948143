"""Sets of NPIs are compared by what they hold: as numbers where they are such, as text where they are not."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from npi_pipeline.findings import Npis, joined, same_npis

# Few, so that they meet: numbers of 32 bits at both ends, what only looks like one, and what does not.
TEXTS = ["1000000004", "2999999999", "1234567890", "4294967297", "0000000001", "12345", "", "1000000004 ", "=1+1"]
lists = st.lists(st.sampled_from(TEXTS), max_size=12)


def npis_of(texts: list[str]) -> Npis:
    """In pieces, the NPIs among them that are numbers as such."""
    numbers = pl.Series([text for text in texts if text.startswith("2")], dtype=pl.String).cast(pl.UInt32)
    others = [text for text in texts if not text.startswith("2")]
    return Npis.of([pl.Series(others[:3], dtype=pl.String), numbers, pl.Series(others[3:], dtype=pl.String)])


def texts_of(npis: Npis) -> list[str]:
    return sorted([*npis.numbers.cast(pl.String), *npis.others])


@given(lists, lists)
def test_sets_of_npis_are_as_sets_of_their_texts(one: list[str], other: list[str]) -> None:
    mine, its = npis_of(one), npis_of(other)
    assert texts_of(mine) == sorted(one)
    assert len(mine) == len(one)
    assert texts_of(mine.distinct()) == sorted(set(one))
    assert texts_of(mine.repeated()) == sorted({text for text in one if one.count(text) > 1})
    assert texts_of(mine.within(its)) == sorted(text for text in one if text in other)
    assert texts_of(mine.without(its)) == sorted(text for text in one if text not in other)
    assert texts_of(joined([mine, its])) == sorted(one + other)
    holds = same_npis("one", mine, "other", its).holds
    assert holds == (set(one) == set(other) and len(other) == len(set(other)))


def test_a_person_is_told_the_first_ten() -> None:
    npis = Npis.of([pl.Series([str(1000000000 + number) for number in range(11)] + ["12"])])
    assert npis.some() == ", ".join(str(1000000000 + number) for number in range(10)) + ", ..."
    assert Npis.of([pl.Series(["x", "1000000004"])]).some() == "1000000004, x"


def test_the_npis_of_a_day_of_everybody_take_four_bytes_each() -> None:
    npis = Npis.of(pl.Series([str(1000000000 + number)]) for number in range(100))
    assert npis.numbers.estimated_size() == 400
    assert npis.others.is_empty()
