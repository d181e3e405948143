"""What was found out about a claim, and the comparison by which most claims are decided: are two sets of NPIs the same?

Not here: the claims (``proofs``, ``changes.proof``), and how the UI shows a finding (``orchestration.checks``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import polars as pl

_EXAMPLES = 10


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found out about one day: whether the claim holds, one line for a person, and figures."""

    holds: bool
    line: str
    figures: Mapping[str, int | float | str] = dataclasses.field(default_factory=dict)


# As a number of 32 bits it is written as it was: nearly every NPI of a list.
_NUMBER = "^[12][0-9]{9}$"


@dataclasses.dataclass(frozen=True)
class Npis:
    """NPIs to be compared with others, sorted; one that came twice is there twice.

    What looks like an NPI is a number (UInt32): of nine million, text takes four times the memory. ``others`` are the
    rest of a list, as text.
    """

    numbers: pl.Series
    others: pl.Series

    @classmethod
    def of(cls, pieces: Iterable[pl.Series]) -> Npis:
        """The NPIs in ``pieces``, each text or numbers: of texts that come one after another, one is in memory."""
        numbers, others = [pl.Series(dtype=pl.UInt32)], [pl.Series(dtype=pl.String)]
        for piece in pieces:
            if piece.dtype == pl.UInt32:
                numbers.append(piece)
                continue
            texts = piece.fill_null("")
            is_number = texts.str.contains(_NUMBER)
            numbers.append(texts.filter(is_number).cast(pl.UInt32))
            others.append(texts.filter(~is_number))
        return cls(_in_order(pl.concat(numbers)), _in_order(pl.concat(others)))

    def __len__(self) -> int:
        return self.numbers.len() + self.others.len()

    def distinct(self) -> Npis:
        """Each of them once."""
        return Npis(*(series.filter(~_is_repeated(series)) for series in self._both))

    def repeated(self) -> Npis:
        """Those that are there more than once, each once."""
        return Npis(*(series.filter(_is_repeated(series)) for series in self._both)).distinct()

    def within(self, other: Npis) -> Npis:
        """Those that ``other`` has too."""
        return Npis(*(mine.filter(_is_in(mine, its)) for mine, its in zip(self._both, other._both, strict=True)))

    def without(self, other: Npis) -> Npis:
        """Those that ``other`` has not."""
        return Npis(*(mine.filter(~_is_in(mine, its)) for mine, its in zip(self._both, other._both, strict=True)))

    def some(self) -> str:
        """The first few of them, for a person."""
        shown = [text for series in self._both for text in series.head(_EXAMPLES).cast(pl.String)]
        return ", ".join(sorted(shown)[:_EXAMPLES]) + (", ..." if len(self) > _EXAMPLES else "")

    @property
    def _both(self) -> tuple[pl.Series, pl.Series]:
        return self.numbers, self.others


def joined(sets: Iterable[Npis]) -> Npis:
    """All of them together."""
    return Npis.of(series for npis in sets for series in (npis.numbers, npis.others))


def same_npis(one_name: str, one: Npis, other_name: str, other: Npis) -> Finding:
    """Whether two have the same set of NPIs, none of them twice in ``other``."""
    twice = other.repeated()
    if twice:
        return Finding(holds=False, line=f"{len(twice):,} NPIs are twice in {other_name}: {twice.some()}")
    for have_name, have, lack_name, lack in ((one_name, one, other_name, other), (other_name, other, one_name, one)):
        missing = have.without(lack)
        if missing:
            return Finding(
                holds=False,
                line=f"{len(missing):,} NPIs of {have_name} are not in {lack_name}: {missing.some()}",
                figures={"missing": len(missing)},
            )
    return Finding(
        holds=True, line=f"{len(one):,} NPIs in {one_name}, the same in {other_name}", figures={"npis": len(one)}
    )


def _in_order(series: pl.Series) -> pl.Series:
    """Sorted; one that is so already, as most are, is not copied."""
    return series if series.is_sorted() else series.sort()


def _is_repeated(series: pl.Series) -> pl.Series:
    """Where one of a sorted series is like the one before."""
    return (series == series.shift()).fill_null(value=False)


def _is_in(series: pl.Series, other: pl.Series) -> pl.Series:
    """Where one is in ``other``, both sorted: by a search, for a join of nine million takes ten times the memory."""
    if other.is_empty():
        return pl.repeat(value=False, n=series.len(), eager=True)
    place = other.search_sorted(series).clip(upper_bound=other.len() - 1)
    return other.gather(place) == series
