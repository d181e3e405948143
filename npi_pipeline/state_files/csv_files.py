"""CSV as the day's files are written (RFC 4180, LF): frames as bytes, and a file of any size read again row by row.

A cell may be as long as an answer, and a file longer than the memory: what reads files again takes a row at a time.
Not here: what the columns are (``schema.columns``), which rows go into which file (``write_state_files``, ``changes``).
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable, Iterator

import polars as pl

_ROWS_AT_A_TIME = 100_000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_CELL = rb'(?:"[^"]*(?:""[^"]*)*"|[^,"]*)'


def csv_of(frame: pl.DataFrame, *, include_header: bool = False) -> bytes:
    """``frame`` as CSV."""
    buffer = io.BytesIO()
    frame.write_csv(buffer, include_header=include_header)
    return buffer.getvalue()


def csv_rows(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The rows of a file without their line ends, from its bytes piece by piece; the header is the first of them."""
    row: list[bytes] = []
    is_in_quotes = False
    for chunk in chunks:
        if not is_in_quotes and b'"' not in chunk:
            first, *lines = chunk.split(b"\n")
            row.append(first)
            if lines:
                yield b"".join(row)
                yield from lines[:-1]
                row = lines[-1:]
            continue
        for number, line in enumerate(chunk.split(b"\n")):
            if number and is_in_quotes:
                row.append(b"\n")
            elif number:
                yield b"".join(row)
                row = []
            row.append(line)
            # A quote inside a quoted cell is doubled: two turns, which leave it as it was.
            is_in_quotes ^= line.count(b'"') % 2 == 1
    if any(row):
        yield b"".join(row)


def leading_columns(rows: Iterable[bytes], *names: str) -> pl.DataFrame:
    """The first columns of a CSV file, which have these ``names``, as text. Raises ValueError when they have not."""
    leading = re.compile(rb",".join([_CELL] * len(names)) + rb"(?=,|$)")

    def heads() -> Iterator[bytes]:
        for number, row in enumerate(rows):
            head = leading.match(row)
            if head is None:
                raise ValueError(f"row {number} has fewer than {len(names)} cells")
            yield head.group()

    of_rows = heads()
    header = next(of_rows, b"").removeprefix(BYTE_ORDER_MARK)
    frames = [_frame_of([header])]
    if frames[0].columns != list(names):
        raise ValueError(f"the first columns are {', '.join(frames[0].columns)} instead of {', '.join(names)}")
    # Some at a time: a file may have millions of rows.
    while some := list(itertools.islice(of_rows, _ROWS_AT_A_TIME)):
        frames.append(_frame_of([header, *some]))
    return pl.concat(frames)


def _frame_of(lines: list[bytes]) -> pl.DataFrame:
    return pl.read_csv(b"\n".join([*lines, b""]), infer_schema=False)
