"""What in a cell is the NPI: the same for one cell and, vectorised, for a column of them (held by a test)."""

from __future__ import annotations

import re

import polars as pl

from npi_pipeline.check_digit import is_check_digit_right, why_invalid

# Blanks of every kind, what cannot be seen, and Excel's ``="..."``.
_BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001))))
ARMOUR = _BLANKS + "\ufeff\u200b\u200c\u200d\u2060\x1a" + "\"'="
# What a spreadsheet makes of an NPI that it took for a number, when it lost no digit of it.
_WHOLE_NUMBER = re.compile(r"([0-9]{10})\.0+")


def clean(cell: str) -> str:
    """A cell without blanks, quotes, invisible characters and Excel's ``="..."``; ``1234567893.0`` without ``.0``."""
    text = cell.strip(ARMOUR)
    number = _WHOLE_NUMBER.fullmatch(text)
    return number[1] if number else text


def cleaned(cells: pl.Expr) -> pl.Expr:
    """``clean`` for a column."""
    return cells.str.strip_chars(ARMOUR).str.replace(f"^{_WHOLE_NUMBER.pattern}$", "$1")


def is_valid(cell: str) -> bool:
    """Whether the cell, once clean, is a valid NPI."""
    return why_invalid(clean(cell)) is None


def as_number(cells: pl.Expr) -> pl.Expr:
    """Clean cells as numbers where they are valid NPIs, else null: a fifth of the memory of their text."""
    number = pl.when(cells.str.len_bytes() == 10).then(cells).str.to_integer(dtype=pl.UInt32, strict=False)  # noqa: PLR2004
    # "+123456789" is an integer too.
    return pl.when(is_check_digit_right(number) & cells.str.contains("^[0-9]{10}$")).then(number)


def as_text(numbers: pl.Expr) -> pl.Expr:
    """``as_number`` undone: an NPI begins with 1 or 2, so no zero is lost."""
    return numbers.cast(pl.String)
