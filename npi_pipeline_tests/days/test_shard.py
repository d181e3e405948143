"""What a shard is: contiguous, disjoint, together the whole, and found again by its name."""

from __future__ import annotations

import polars as pl
import pytest

from npi_pipeline.days.shard import Shard, cut_in_shards
from npi_pipeline.testing.providers import npi_numbers

NPIS = sorted(npi_numbers(103, seed=7))


@pytest.mark.parametrize("number", [1, 2, 4, 7, 103, 500])
def test_shards_are_contiguous_and_disjoint_and_together_they_are_all_npis(number: int) -> None:
    shards = cut_in_shards(pl.Series("npi", [*reversed(NPIS), NPIS[0]]), number)
    frame = pl.DataFrame({"npi": NPIS})
    of_each = [shard.of(frame)["npi"].to_list() for shard in shards]
    assert [npi for npis in of_each for npi in npis] == NPIS
    assert len(shards) == min(number, len(NPIS))
    sizes = {len(npis) for npis in of_each}
    assert max(sizes) - min(sizes) <= 1


def test_of_no_npis_there_is_no_shard() -> None:
    assert cut_in_shards(pl.Series("npi", [], dtype=pl.String), 4) == []


def test_a_shard_is_told_from_the_name_of_its_folder_and_nothing_else_is() -> None:
    shard = Shard(NPIS[0], NPIS[9])
    assert Shard.called(shard.name) == shard
    assert Shard.called("0c1f0c1f0c1f0c1f") is None
