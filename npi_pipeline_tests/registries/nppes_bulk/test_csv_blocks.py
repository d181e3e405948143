"""Blocks of rows: whatever happened to one row, the others are read as they are, and its NPI is told."""

from __future__ import annotations

import io

from hypothesis import example, given, settings
from hypothesis import strategies as st

from npi_pipeline.registries.nppes_bulk.columns import MAIN_COLUMNS, RARELY_FILLED
from npi_pipeline.registries.nppes_bulk.csv_blocks import raw_blocks, read_block
from npi_pipeline_tests.registries.nppes_bulk.made_files import csv_of, line_of, person

_NPIS = [1000000004, 1000000012, 1000000020, 1000000038]
_LATE = {"Other Provider Identifier_50": "1000000046", "Other Provider Identifier Type Code_50": "05"}
_ROWS = [line_of(person(npi, **(_LATE if npi == _NPIS[2] else {}))) for npi in _NPIS]
_WHOLE = read_block(b"".join(_ROWS), MAIN_COLUMNS).values.rows()


@settings(max_examples=150)
@given(
    row=st.integers(0, 3),
    start=st.floats(0, 1),
    length=st.integers(0, 4),
    put=st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b"\0", b"\xe9", b"'", b"7"]), max_size=3).map(b"".join),
)
@example(row=0, start=1.0, length=1, put=b"")
@example(row=1, start=0.999, length=2, put=b"")
@example(row=1, start=0.0, length=0, put=b'"')
@example(row=2, start=0.5, length=0, put=b"\n")
@example(row=0, start=1.0, length=1, put=b'\n"')
def test_what_befalls_one_row_is_told_of_its_npi_and_befalls_no_other(
    row: int, start: float, length: int, put: bytes
) -> None:
    at = int(start * (len(_ROWS[row]) - 1))
    changed = _ROWS[row][:at] + put + _ROWS[row][at + length :]
    lines = [*_ROWS[:row], changed, *_ROWS[row + 1 :]]

    read = read_block(b"".join(lines), MAIN_COLUMNS)

    found = {int(values[0]): values for values in read.values.rows() if values[0].isdigit()}
    told = found.keys() | {npi for npi, _ in read.problems}
    for npi, whole in zip(_NPIS, _WHOLE, strict=True):
        if npi == _NPIS[row]:
            # A line that begins with no NPI is counted; one that begins with another is that one's.
            assert npi in told or read.strays or not _begins_with(changed, npi)
        elif changed.endswith(b"\n") or npi != _NPIS[min(row + 1, 3)]:
            assert found[npi] == whole
        else:
            # Of a row that the one before has spoilt the beginning, only the line is counted.
            assert npi in told or read.strays


def _begins_with(line: bytes, npi: int) -> bool:
    return line.startswith(f'"{npi}",'.encode())


@given(size=st.integers(1, 9000))
def test_blocks_of_any_size_are_cut_at_the_ends_of_rows(size: int) -> None:
    blocks = list(raw_blocks(io.BytesIO(b"".join(_ROWS)), "a file", size))

    assert b"".join(blocks) == b"".join(_ROWS)
    assert all(block.endswith(b'"\n') for block in blocks)


def test_sparse_columns_are_left_out_of_rows_in_which_they_are_empty_and_of_no_other() -> None:
    rows = read_block(b"".join(_ROWS), MAIN_COLUMNS, RARELY_FILLED)

    assert rows.full == _ROWS[2]
    assert rows.values["NPI"].to_list() == [str(npi) for npi in _NPIS if npi != _NPIS[2]]
    assert rows.values.columns == [name for name in MAIN_COLUMNS if name not in RARELY_FILLED]
    assert read_block(rows.full, MAIN_COLUMNS).values.rows() == _WHOLE[2:3]


def test_a_header_alone_has_no_blocks() -> None:
    stream = io.BytesIO(csv_of([]))
    stream.readline()

    assert list(raw_blocks(stream, "a file")) == []
