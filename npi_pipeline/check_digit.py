"""What makes ten digits an NPI: the check digit. Light: whoever has one NPI to look at need not import polars.

The rule is CMS's "NPI check digit calculation" (69 FR 3434): the ten digits prefixed with 80840, the ISO 7812
issuer of US health applications, pass the Luhn test over all fifteen. The constant 24 stands for the prefix.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_PREFIX_SUM = 24
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_SCIENTIFIC = re.compile(r"[0-9]([.,][0-9]*)?[Ee]\+?[0-9]{1,2}")
_DIGITS = frozenset("0123456789")


def why_invalid(npi: str) -> str | None:
    """The reason why ``npi`` cannot be an NPI, or None when it can."""
    if _SCIENTIFIC.fullmatch(npi):
        return "is a number in scientific notation: digits may be lost, export the column as text"
    # Not str.isdigit(): that also holds for the digits of other scripts.
    if not _DIGITS.issuperset(npi):
        return "holds something other than the digits 0-9"
    if len(npi) != 10:  # noqa: PLR2004
        return f"has {len(npi)} digits instead of 10"
    if npi[0] not in "12":
        return "does not start with 1 or 2"
    if npi[9] != check_digit(npi[:9]):
        return f"check digit is {npi[9]}, should be {check_digit(npi[:9])}"
    return None


def check_digit(first_nine: str) -> str:
    """The tenth digit that belongs to the first nine."""
    values = [ord(character) - 48 for character in first_nine]
    total = _PREFIX_SUM + sum(_DOUBLED[value] for value in values[::2]) + sum(values[1::2])
    return str(-total % 10)


def is_check_digit_right(numbers: pl.Expr) -> pl.Expr:
    """Whether integers of a column are valid NPIs; the same as ``why_invalid`` says of their text."""
    first, last = 1_000_000_000, 2_999_999_999
    total = _PREFIX_SUM + numbers % 10
    for place in range(1, 10):
        digit = numbers // 10**place % 10
        total += digit if place % 2 == 0 else 2 * digit - 9 * (digit > 4)  # noqa: PLR2004
    return numbers.is_between(first, last) & (total % 10 == 0)
