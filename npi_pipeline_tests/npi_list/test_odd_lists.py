"""Lists as they are exported: each row is one that people reported, with the NPIs that are right."""

from __future__ import annotations

import pytest

from npi_pipeline.npi_list import ListUnreadableError, NpiList, parse_npi_list

A, B, C = "1234567893", "1999999984", "1999999992"
# They pass the check digit too.
PHONE, GROUP = "2125550105", "2000001000"


def npis(parsed: NpiList) -> list[str]:
    return parsed.npis["npi"].to_list()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_several_npis_in_a_line_without_a_header_are_refused_with_what_to_do(delimiter: str) -> None:
    line = delimiter.join([A, B, C])
    with pytest.raises(ListUnreadableError, match="column 1, column 2, column 3 hold NPIs") as refused:
        parse_npi_list(f"{line}\n".encode())
    assert "NPI_LIST_COLUMN" in refused.value.remedy


def test_the_column_whose_header_says_npi_and_whose_values_are_npis_is_taken() -> None:
    parsed = parse_npi_list(f"Group,Individual NPI\n{GROUP},{A}\n".encode())
    assert (npis(parsed), parsed.column_name) == ([A], "column 2 'Individual NPI'")
    (ambiguity,) = parsed.ambiguities
    assert f"{GROUP} in line 2, column 1 'Group'" in ambiguity


def test_of_two_columns_of_npis_the_choice_is_said_and_what_else_could_have_been() -> None:
    parsed = parse_npi_list(f"billing_npi,rendering_npi\n{A},{B}\n{A},{C}\n".encode())
    assert npis(parsed) == [A]
    choice, outside = parsed.ambiguities
    assert "column 2 'rendering_npi' may be meant as well" in choice
    assert "2 valid NPIs stand outside" in outside
    assert f"{B} in line 2" in outside


@pytest.mark.parametrize("setting", ["rendering_npi", "Rendering NPI", "2"])
def test_a_setting_decides_which_column_it_is(setting: str) -> None:
    parsed = parse_npi_list(f"billing_npi,rendering_npi\n{A},{B}\n{A},{C}\n".encode(), setting)
    assert (npis(parsed), parsed.ambiguities) == ([B, C], ())
    assert f"{A} in line 2" in parsed.remarks[0]


@pytest.mark.parametrize("setting", ["3", "0", "npi"])
def test_a_column_that_the_list_lacks_is_refused_with_those_that_it_has(setting: str) -> None:
    with pytest.raises(ListUnreadableError, match=f"has no column '?{setting}'?: .*(2 at most|'billing_npi', 'name')"):
        parse_npi_list(f"billing_npi,name\n{A},x\n".encode(), setting)


def test_quotes_are_read_before_lines_are_cut() -> None:
    parsed = parse_npi_list(f'NPI,Contact\n{A},"Front desk\n{PHONE}"\n{B},none\n'.encode())
    assert (npis(parsed), parsed.lines) == ([A, B], 4)
    assert f"{PHONE} in line 2, column 2 'Contact'" in parsed.ambiguities[0]


@pytest.mark.parametrize("swallowed", [1, 3, 5000])
@pytest.mark.parametrize("closed", [False, True])
def test_a_stray_quote_swallows_no_line_and_is_said(swallowed: int, closed: bool) -> None:
    names = ["Joe"] * swallowed
    if closed:
        names[-1] = 'Joe"'
    lines = [f"{1_000_000_000 + number}0,{name}" for number, name in enumerate(names)]
    lines[-1] = f"{C},{names[-1]}"
    parsed = parse_npi_list("\n".join(["NPI,Name", f'{A},"Jane', *lines, f"{B},Jim"]).encode())
    assert {A, B, C} <= set(npis(parsed))
    assert parsed.npis.height == swallowed + 2
    assert "quotes do not close, in line 2" in parsed.ambiguities[0]


def test_cells_that_hold_several_npis_are_said() -> None:
    parsed = parse_npi_list(f"npi\n{A} / {B}\n{C}\n".encode())
    assert parsed.invalid == 1
    assert f"{A} in line 2, column 1 'npi'; {B} in line 2" in parsed.ambiguities[0]


@pytest.mark.parametrize(
    "cell",
    [
        f"NPI{A}",
        f"{A}A",
        f"+{A}",
        f"{A}.5",
        f"{A} (old)",
        '"1,234,567,893"',
        "1 234 567 893",
        "1\u202f234\u202f567\u202f893",
        "123-456-7893",
        "1.234567893E9",
        f'"1,234,567,893; {B}"',
    ],
)
def test_a_cell_that_holds_an_npi_and_is_none_is_said(cell: str) -> None:
    parsed = parse_npi_list(f"npi,name\n{cell},x\n{B},y\n".encode())
    assert parsed.invalid == 1
    (ambiguity,) = parsed.ambiguities
    assert (
        f"1 valid NPIs stand inside of longer cells, e.g. {A} in line 2, column 1 'npi'; mend these lines" in ambiguity
    )


@pytest.mark.parametrize("cell", [f"{A}1", "123 456 789", "2-1234567890", f"NPI{B}"])
def test_a_cell_without_an_npi_that_is_not_taken_is_invalid_and_no_doubt(cell: str) -> None:
    parsed = parse_npi_list(f"npi,name\n{cell},x\n{B},y\n".encode())
    assert (parsed.invalid, parsed.ambiguities) == (1, ())


@pytest.mark.parametrize(
    "text",
    [
        f"sep=;\nNPI;Name\n{A};Doe, Jane\n{B};Roe\n",
        f'"sep=;"\r\n{A};Doe, Jane\r\n{B};Roe\r\n',
        f"Providers of 2026-11-23\nNPI,Name\n{A},Jane\n{B},Joe\n",
        f"Our NPI list,,\n\nGroup,Individual NPI,Name\n1,{A},Jane\n2,{B},Joe\n",
        f"Providers of Acme\nExported 20261123\nID,Name\n{A},Jane\n{B},Joe\n",
        f"{A}\tDoe, Jane, MD\n{B}\tRoe, Joe, DO\n",
        f"NPI\tName\n{A}\tDoe, Jane\n{B}\tRoe\n",
        f"Name;Amount;NPI\nDoe, Jane;1,50;{A}\nRoe, Joe;2,50;{B}\n",
        f"NPI\n{A}.0\n{B}.00\n",
        f'NPI,Name\n"{A}","Doe, Jane"\n="{B}","Roe ""Joe"""\n',
    ],
)
def test_what_is_clear_is_read(text: str) -> None:
    parsed = parse_npi_list(text.encode())
    assert (npis(parsed), parsed.ambiguities) == ([A, B], ())


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32", "utf-8-sig", "latin-1"])
def test_encodings_with_and_without_a_mark_are_read(encoding: str) -> None:
    parsed = parse_npi_list(f"NPI,Name\r\n{A},Jos\u00e9\r\n{B},x\r\n".encode(encoding))
    assert (npis(parsed), parsed.header, parsed.ambiguities) == ([A, B], "NPI", ())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_list_of_wide_characters_that_lost_a_byte_is_refused(encoding: str) -> None:
    data = f"NPI,Name\n{A},x\n{B},y\n".encode(encoding)
    with pytest.raises(ListUnreadableError, match=rf"is damaged {encoding.upper()}: after \d+ bytes, "):
        parse_npi_list(data[:-1])


def test_without_header_and_with_many_invalid_npis_the_column_with_most_npis_is_taken() -> None:
    parsed = parse_npi_list(f",{A}\n,12345\n,{B}\n,12345\n".encode())
    assert npis(parsed) == ["12345", A, B]
    (ambiguity,) = parsed.ambiguities
    assert ambiguity.startswith("no column says that it is the NPI, and none holds mostly NPIs; name the column")


@pytest.mark.parametrize("first", ['12345"67893', "12345,67893", "12345\n67893", "123-456-7893"])
def test_a_broken_npi_in_the_first_line_is_no_title_of_what_follows(first: str) -> None:
    parsed = parse_npi_list(f"{first}\nn/a\n12345\n{B}\n".encode())
    assert (parsed.title_lines, parsed.lines) == (0, 4 + first.count("\n"))
    assert parsed.examples_of_invalid(1)[0].startswith("line 1 '12")


@pytest.mark.parametrize("number", ["1.234567893E9", "1.23E+09", "1,23E+09"])
def test_a_number_that_may_have_lost_digits_is_no_header_and_says_what_it_is(number: str) -> None:
    parsed = parse_npi_list(f"{number}\t\n{B}\tx\n".encode())
    reasons = dict(parsed.npis.select("npi", "reason").iter_rows())
    assert reasons == {
        number: "is a number in scientific notation: digits may be lost, export the column as text",
        B: None,
    }


def test_a_line_longer_than_any_list_has_is_refused_by_its_number() -> None:
    with pytest.raises(ListUnreadableError, match="more than 1,048,576 characters in line 2"):
        parse_npi_list(f"{A}\n{'1' * (1 << 21)}\n{B}\n".encode())


def test_a_header_that_says_npi_above_other_values_is_said() -> None:
    parsed = parse_npi_list(f"NPI,ID\nx,{A}\ny,{B}\n".encode())
    assert npis(parsed) == [A, B]
    assert "column 1 'NPI' says that it is the NPI, but holds hardly any" in parsed.ambiguities[0]
