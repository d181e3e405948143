"""What was found out about a claim, and the comparison by which most claims are decided: are two sets of NPIs the same?

Not here: the claims (``proofs``, ``changes.proof``), and how the UI shows a finding (``orchestration.checks``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import polars as pl

_EXAMPLES = 10


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found out about one day: whether the claim holds, one line for a person, and figures."""

    holds: bool
    line: str
    figures: Mapping[str, int | float | str] = dataclasses.field(default_factory=dict)


def same_npis(one_name: str, one: pl.DataFrame, other_name: str, other: pl.DataFrame) -> Finding:
    """Whether two frames have the same set of NPIs in their column ``npi``, none of them twice in ``other``."""
    one, other = in_order(one.select("npi")), in_order(other.select("npi"))
    repeats = other.filter(pl.col("npi") == pl.col("npi").shift())
    if not repeats.is_empty():
        twice = repeats.unique()
        return Finding(holds=False, line=f"{twice.height:,} NPIs are twice in {other_name}: {some_npis(twice)}")
    for have_name, have, lack_name, lack in ((one_name, one, other_name, other), (other_name, other, one_name, one)):
        missing = npis_not_in(lack, have)
        if not missing.is_empty():
            return Finding(
                holds=False,
                line=f"{missing.height:,} NPIs of {have_name} are not in {lack_name}: {some_npis(missing)}",
                figures={"missing": missing.height},
            )
    return Finding(
        holds=True, line=f"{one.height:,} NPIs in {one_name}, the same in {other_name}", figures={"npis": one.height}
    )


def in_order(npis: pl.DataFrame) -> pl.DataFrame:
    """The same rows sorted by ``npi``. Those that are so already, as most are, are not copied."""
    return npis if npis["npi"].is_sorted() else npis.sort("npi")


def npis_not_in(other: pl.DataFrame, npis: pl.DataFrame) -> pl.DataFrame:
    """The rows of ``npis`` whose NPI is not one of ``other``.

    Of two that are the same in the same order, as on most days, it is seen without a join: of nine million that takes
    ten times the memory.
    """
    return npis.clear() if npis["npi"].equals(other["npi"]) else npis.join(other, on="npi", how="anti")


def some_npis(npis: pl.DataFrame) -> str:
    """The first few of them, for a person."""
    shown = npis["npi"].sort().head(_EXAMPLES).to_list()
    return ", ".join(shown) + (", ..." if npis.height > _EXAMPLES else "")
