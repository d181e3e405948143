"""Every kind of line and of object that a list has been seen to hold."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npi_pipeline.check_digit import check_digit
from npi_pipeline.npi_list import ListUnreadableError, NpiList, parse_npi_list

A, B, C = "1003101296", "1003142399", "1234567893"


def npis(parsed: NpiList) -> list[str]:
    return parsed.npis["npi"].to_list()


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_the_header_is_skipped_whatever_ends_a_line(newline: str) -> None:
    parsed = parse_npi_list(newline.join(["npi", A, B, ""]).encode())
    assert (parsed.header, npis(parsed), parsed.lines) == ("npi", [A, B], 3)


def test_a_list_without_a_header_keeps_its_first_npi() -> None:
    assert npis(parse_npi_list(f"{B}\n{A}\n".encode())) == [A, B]


def test_a_first_line_that_is_a_mistyped_npi_is_no_header() -> None:
    parsed = parse_npi_list(f"100310129X\n{B}\n".encode())
    assert npis(parsed) == ["100310129X", B]
    assert parsed.invalid == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_first_line(encoding: str) -> None:
    assert npis(parse_npi_list(f"{A}\n{B}\n".encode(encoding))) == [A, B]


def test_blanks_quotes_and_spreadsheet_armour_are_taken_off() -> None:
    lines = [f"  {A} ", f'"{A}"', f"'{A}'", f'="{A}"', f"\u00a0{A}\u200b", f"\t{A}"]
    parsed = parse_npi_list("\n".join(["NPI", *lines]).encode())
    assert (npis(parsed), parsed.duplicates) == ([A], 5)


def test_empty_lines_are_counted_and_skipped() -> None:
    parsed = parse_npi_list(f"npi\n\n{A}\n   \n,,\n{B}\n\n".encode())
    assert (npis(parsed), parsed.empty_lines) == ([A, B], 4)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_of_several_columns_the_one_called_npi_is_taken(delimiter: str) -> None:
    rows = [["Name", "NPI Number", "City"], ["Doe, Jane" if delimiter != "," else '"Doe, Jane"', A, "Reno"]]
    assert npis(parse_npi_list("\n".join(delimiter.join(row) for row in rows).encode())) == [A]


def test_without_a_header_the_first_column_is_taken() -> None:
    assert npis(parse_npi_list(f"{A},{B}\n{C},x\n".encode())) == [A, C]


def test_duplicates_are_kept_once_and_counted() -> None:
    parsed = parse_npi_list(f"npi\n{A}\n{B}\n{A}\n{A}\n".encode())
    assert (npis(parsed), parsed.duplicates) == ([A, B], 2)
    assert parsed.npis.row(0, named=True) == {"npi": A, "reason": None, "line": 2, "occurrences": 3}


def test_a_bad_line_is_kept_as_an_invalid_npi_with_its_reason() -> None:
    parsed = parse_npi_list(f"npi\n{A}\n1003101297\n12345\nhello\n,x\n".encode())
    reasons = dict(parsed.npis.select("npi", "reason").iter_rows())
    assert reasons == {
        A: None,
        "1003101297": "check digit is 7, should be 6",
        "12345": "has 5 digits instead of 10",
        "hello": "holds something other than the digits 0-9",
        "": "the NPI column is empty",
    }


def test_a_stray_quote_does_not_swallow_the_lines_after_it() -> None:
    assert npis(parse_npi_list(f'npi,name\n{A},"Jane\n{B},Joe\n"{C},Jim\n'.encode())) == [A, B, C]


def test_a_byte_that_is_no_utf8_beside_an_npi_does_no_harm() -> None:
    assert npis(parse_npi_list(f"npi,name\n{A},Jos".encode() + b"\xe9\n")) == [A]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\n\r\n  \n", "is empty"),
        (b"npi\n", "holds the header 'npi' and no NPI"),
        (gzip.compress(b"npi\n1003101296\n", mtime=0), "gzip"),
        (b"PK\x03\x04....", "zip"),
        (b"npi\n10031\x0001296\n", "binary"),
        (bytes(range(128, 256)) * 4, "binary"),
        (b"<?xml version='1.0'?><Error/>", "HTML or XML"),
        (b'{"npi": "1003101296"}', "JSON"),
    ],
)
def test_an_object_that_is_no_list_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ListUnreadableError, match=reason):
        parse_npi_list(data)


valid_npis = st.from_regex(r"[12][0-9]{8}", fullmatch=True).map(lambda nine: nine + check_digit(nine))


@given(st.lists(valid_npis, min_size=1), st.sampled_from(["", "npi\n", "NPI,Name\r\n"]))
def test_no_npi_is_ever_lost(listed: list[str], header: str) -> None:
    parsed = parse_npi_list((header + "\n".join(listed)).encode())
    assert npis(parsed) == sorted(set(listed))
    assert parsed.npis["occurrences"].sum() == len(listed)
    assert parsed.invalid == 0
