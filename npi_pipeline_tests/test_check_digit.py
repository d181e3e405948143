"""The check digit, against CMS's own example, real NPIs and a slow restatement of the rule."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npi_pipeline.check_digit import check_digit, why_invalid

REAL_NPIS = sorted(path.stem for path in (Path(__file__).parent / "data/registry/responses").glob("*.json"))


def luhn_sum(digits: str) -> int:
    """The Luhn sum as the standard words it: every second digit from the right doubled, then all digits added."""
    total = 0
    for place, character in enumerate(reversed(digits)):
        value = int(character) * (2 if place % 2 else 1)
        total += value // 10 + value % 10
    return total


def test_every_real_npi_is_valid() -> None:
    assert len(REAL_NPIS) == 135
    assert [npi for npi in REAL_NPIS if why_invalid(npi)] == []


@given(st.from_regex(r"[12][0-9]{8}", fullmatch=True))
def test_the_check_digit_is_the_one_that_makes_the_prefixed_number_pass_luhn(first_nine: str) -> None:
    assert luhn_sum("80840" + first_nine + check_digit(first_nine)) % 10 == 0


@given(st.from_regex(r"[12][0-9]{9}", fullmatch=True))
def test_exactly_the_numbers_that_pass_luhn_are_valid(npi: str) -> None:
    assert (why_invalid(npi) is None) == (luhn_sum("80840" + npi) % 10 == 0)


@pytest.mark.parametrize(
    ("npi", "reason"),
    [
        ("1234567893", None),
        ("1000000491", None),
        ("2999999990", None),
        ("1234567890", "check digit is 0, should be 3"),
        ("1000000492", "check digit is 2, should be 1"),
        ("3000000000", "does not start with 1 or 2"),
        ("123456789", "has 9 digits instead of 10"),
        ("12345678931", "has 11 digits instead of 10"),
        ("", "has 0 digits instead of 10"),
        ("1234567893x", "holds something other than the digits 0-9"),
        ("\uff11234567893", "holds something other than the digits 0-9"),
    ],
)
def test_the_reason_says_what_is_wrong(npi: str, reason: str | None) -> None:
    assert why_invalid(npi) == reason
