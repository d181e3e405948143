"""CSV read again row by row, held against Python's own reader."""

from __future__ import annotations

import csv
import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npi_pipeline.state_files.csv_files import csv_of, csv_rows, leading_columns

CELLS = st.text(st.sampled_from('"",\n\r x\u00e9='), max_size=8)
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8)


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


@given(rows=ROWS, size=st.integers(1, 40))
def test_any_rows_are_read_again_however_the_file_is_cut(rows: list[tuple[str, str, str]], size: int) -> None:
    frame = pl.DataFrame(rows, schema=["a", "b", "c"], orient="row")
    content = csv_of(frame, include_header=True)
    read = list(csv_rows(pieces(content, size)))
    assert len(read) == len(rows) + 1
    assert [next(csv.reader(io.StringIO(row.decode(), newline=""))) for row in read[1:]] == [list(row) for row in rows]
    assert leading_columns(iter(read), "a", "b").rows() == [row[:2] for row in rows]


def test_a_cell_longer_than_a_piece_is_one_cell() -> None:
    content = b'npi,text\n1,"' + b"a\n" * 100_000 + b'"\n2,b\n'
    assert leading_columns(csv_rows(pieces(content, 1000)), "npi")["npi"].to_list() == ["1", "2"]


def test_other_columns_than_those_asked_for_are_refused() -> None:
    with pytest.raises(ValueError, match="the first columns are a, b instead of npi, outcome"):
        leading_columns(csv_rows([b"a,b,c\n1,2,3\n"]), "npi", "outcome")
    with pytest.raises(ValueError, match="row 2 has fewer than 2 cells"):
        leading_columns(csv_rows([b"a,b\n1,2\n3\n"]), "a", "b")
