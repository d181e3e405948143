"""Cells that a spreadsheet would run as a formula. Not here: which cells are text, and whether to escape them."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

# What a spreadsheet takes for the beginning of a formula; the full-width forms count where the input method makes them.
# A quote that stands before one belongs to the cell: it gets another, so that taking one off gives back the cell.
_FORMULA = "^'*[=+\\-@\t\r\n＝＋－＠]"  # noqa: RUF001
_ESCAPED = _FORMULA.replace("^", "^'")


def escape_formulas(rows: pl.DataFrame, texts: Iterable[str]) -> pl.DataFrame:
    """``rows`` with a quote before each formula in the columns ``texts``.

    Two passes: few columns hold any, and finding out is the cheaper one.
    """
    texts = [name for name in texts if rows[name].null_count() < rows.height]
    found = rows.select(pl.col(name).str.contains(_FORMULA).any() for name in texts)
    return rows.with_columns(
        pl.when(pl.col(name).str.contains(_FORMULA)).then("'" + pl.col(name)).otherwise(name).alias(name)
        for name, has_formula in zip(texts, found.row(0) if texts else (), strict=True)
        if has_formula
    )


def unescape_formulas(rows: pl.DataFrame) -> pl.DataFrame:
    """The inverse of ``escape_formulas``, for the text columns of ``rows`` that were escaped."""
    escaped = pl.col(pl.String).str.contains(_ESCAPED)
    return rows.with_columns(pl.when(escaped).then(pl.col(pl.String).str.slice(1)).otherwise(pl.col(pl.String)))
