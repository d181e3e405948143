"""Made-up exports of every shape: the accounting holds against what was put in, or the list is refused with a reason.

Each list is drawn as a table whose NPIs are known, and written the way that some system would. What the parser makes of
it is held against the table, never against the parser's own reading.
"""

from __future__ import annotations

import csv
import dataclasses
import io

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from npi_pipeline.check_digit import check_digit, is_check_digit_right, why_invalid
from npi_pipeline.npi_list import ListUnreadableError, NpiList, parse_npi_list, records
from npi_pipeline.npi_list.cells import as_number, clean, cleaned
from npi_pipeline.npi_list.records import records_of

UNHURRIED = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])

valid_npis = st.from_regex(r"[12][0-9]{8}", fullmatch=True).map(lambda nine: nine + check_digit(nine))
not_npis = st.sampled_from(["12345", "n/a", "100310129X", "1.23E+09", "NPI", "2345678901", "12345678901"])
# Names, notes and amounts as they stand beside an NPI; none holds a valid NPI.
words = st.text(st.sampled_from("abcXYZ é'.,;|-/()5"), max_size=12)
texts = st.one_of(
    words, st.sampled_from(['5" pipe', 'Roe "Joe", MD', "1,50", "Elm St.\nApt 5", "", "Doe, Jane", "a;b;c"])
)
headers = st.sampled_from(["NPI", "npi", "NPI Number", "Provider NPI", "billing_npi", "National Provider Identifier"])
other_headers = st.sampled_from(["Name", "City", "Amount; net", "Notes, internal", "Specialty"])


@dataclasses.dataclass(frozen=True)
class Export:
    """A list as it was written, and what was put into it."""

    data: bytes
    npis: tuple[str, ...]
    encoding: str


@st.composite
def exports(draw: st.DrawFn, cells: st.SearchStrategy[str] = texts) -> Export:
    rows = draw(st.lists(st.one_of(valid_npis, valid_npis, valid_npis, not_npis), min_size=1, max_size=12))
    rows = [draw(valid_npis), *rows]
    width = draw(st.integers(1, 4))
    place = draw(st.integers(0, width - 1))
    has_header = draw(st.booleans())
    delimiter = draw(st.sampled_from(",;\t|"))
    table = [[draw(cells) for _ in range(width)] for _ in rows]
    for row, npi in zip(table, rows, strict=True):
        row[place] = npi
    if has_header:
        titles = [draw(other_headers) for _ in range(width)]
        titles[place] = draw(headers)
        table.insert(0, titles)
    text = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    newline = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=quoting).writerows(table)
    above = ""
    if has_header and draw(st.booleans()):
        above += draw(st.sampled_from(["Our providers", "NPI list 2026-11-23", '"Acme, Inc."'])) + newline
        above += draw(st.sampled_from(["", newline]))
    if draw(st.booleans()):
        above = f"sep={delimiter}{newline}" + above
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]))
    return Export((above + text.getvalue().replace("\n", newline)).encode(encoding), tuple(rows), encoding)


@UNHURRIED
@given(exports())
def test_every_npi_of_an_export_is_taken_once_and_none_is_made_up(export: Export) -> None:
    try:
        parsed = parse_npi_list(export.data)
    except ListUnreadableError as refused:
        pytest.fail(f"refused: {refused}")
    found = {clean(npi): count for npi, count in parsed.npis.select("npi", "occurrences").iter_rows()}
    assert found == {npi: export.npis.count(npi) for npi in export.npis}
    reasons = dict(parsed.npis.select("npi", "reason").iter_rows())
    assert {npi: why_invalid(npi) for npi in export.npis} == reasons


@UNHURRIED
@given(st.data())
def test_a_list_that_is_damaged_anywhere_loses_no_npi_in_silence(data: st.DataObject) -> None:
    """A quote, delimiter or line end that comes or goes: every NPI is taken, or the list is doubted or refused.

    Or the harm is seen at its place: a line there has an invalid NPI that was put into none.
    """
    export = data.draw(exports(cells=words))
    place = data.draw(st.integers(0, len(export.data)))
    harm = data.draw(st.sampled_from([b'"', b'"', b",", b"\n", b";", b""]))
    harmed = export.data[:place] + harm + export.data[place + (not harm) :]
    try:
        parsed = parse_npi_list(harmed)
    except ListUnreadableError:
        return
    lost = {npi for npi in export.npis if why_invalid(npi) is None} - set(parsed.npis["npi"].to_list())
    assert not lost or parsed.ambiguities or _is_seen(parsed, export, place)


def _is_seen(parsed: NpiList, export: Export, place: int) -> bool:
    """Whether there are more of some invalid NPI than were put in, the first of them where the harm is."""
    invalid = parsed.npis.filter(pl.col("reason").is_not_null())
    text = io.IncrementalNewlineDecoder(None, translate=True).decode(
        export.data[:place].decode(export.encoding, errors="ignore"), final=True
    )
    line = text.count("\n") + 1
    return any(
        occurrences > export.npis.count(npi) and (npi in export.npis or line <= first <= line + 1)
        for npi, first, occurrences in invalid.select("npi", "line", "occurrences").iter_rows()
    )


@given(st.lists(st.text(st.sampled_from("12345678900. \t\"'=\u00a0\u200b\ufeffeE+-x\n"), max_size=14), min_size=1))
def test_cells_are_cleaned_and_judged_the_same_one_by_one_and_as_a_column(cells: list[str]) -> None:
    frame = pl.DataFrame({"cell": cells}, schema={"cell": pl.String})
    assert frame.select(cleaned(pl.col("cell")))["cell"].to_list() == [clean(cell) for cell in cells]
    numbers = frame.select(as_number(cleaned(pl.col("cell"))))["cell"].to_list()
    wanted = [int(clean(cell)) if why_invalid(clean(cell)) is None else None for cell in cells]
    assert numbers == wanted


@given(st.lists(st.integers(0, 2**32 - 1) | valid_npis.map(int), min_size=1))
def test_the_check_digit_of_a_column_is_that_of_each(numbers: list[int]) -> None:
    frame = pl.DataFrame({"n": numbers}, schema={"n": pl.UInt32})
    right = frame.select(is_check_digit_right(pl.col("n")))["n"].to_list()
    assert right == [why_invalid(str(number)) is None for number in numbers]


@UNHURRIED
@given(st.lists(st.text(st.sampled_from("ab1,;\t x"), max_size=8), min_size=1), st.sampled_from(",;\t"))
def test_lines_without_a_quote_are_cut_as_pythons_own_reader_cuts_them(lines: list[str], delimiter: str) -> None:
    text = "".join(f"{line}\n" for line in lines)
    (fast,) = records_of([text], delimiter)
    read, _ = records._read_quoted(list(io.StringIO(text, newline="\n")), delimiter, None, is_last=True)
    slow = records._framed(read, 1)
    assert_frame_equal(fast.select("line", "spans", "stray"), slow.select("line", "spans", "stray"))
    for one, other in zip(fast["cells"].to_list(), slow["cells"].to_list(), strict=True):
        assert [clean(cell) for cell in one] == [clean(cell) for cell in other]


@UNHURRIED
@given(exports(), st.integers(1, 40))
def test_where_the_text_is_cut_into_pieces_makes_no_difference(export: Export, size: int) -> None:
    text = (
        export.data.decode("utf-8", errors="ignore").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "") + "\n"
    )
    lines = list(io.StringIO(text, newline="\n"))
    pieces = ["".join(lines[start : start + size]) for start in range(0, len(lines), size)]
    whole, cut = (pl.concat(list(records_of(one, ","))) for one in ([text], pieces))
    # Of a piece with a quote, a cell has lost the blanks before it: whoever reads cells cleans them first.
    as_read = pl.col("cells").list.eval(cleaned(pl.element()))
    assert_frame_equal(whole.with_columns(as_read), cut.with_columns(as_read))
