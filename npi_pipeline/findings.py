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
    if other["npi"].n_unique() != other.height:
        twice = other.filter(other["npi"].is_duplicated()).unique()
        return Finding(holds=False, line=f"{twice.height:,} NPIs are twice in {other_name}: {some_npis(twice)}")
    for have_name, have, lack_name, lack in ((one_name, one, other_name, other), (other_name, other, one_name, one)):
        missing = have.join(lack, on="npi", how="anti")
        if not missing.is_empty():
            return Finding(
                holds=False,
                line=f"{missing.height:,} NPIs of {have_name} are not in {lack_name}: {some_npis(missing)}",
                figures={"missing": missing.height},
            )
    return Finding(
        holds=True, line=f"{one.height:,} NPIs in {one_name}, the same in {other_name}", figures={"npis": one.height}
    )


def some_npis(npis: pl.DataFrame) -> str:
    """The first few of them, for a person."""
    shown = npis["npi"].sort().head(_EXAMPLES).to_list()
    return ", ".join(shown) + (", ..." if npis.height > _EXAMPLES else "")
