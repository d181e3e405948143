"""From text to records of cells.

Quotes are read before lines are cut, as CSV has it: a quoted cell may span lines. But a quote may be a stray one, and
must not swallow the lines after it. Python's own reader is asked strictly; where a quote does not close as CSV wants,
or closes only after ``MAX_RECORD_LENGTH``, or what it spans are records by themselves, the line is a record of its own.

Text without any quote is cut by polars, which is the same (held by a test) and ten times as fast.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator

import polars as pl

from npi_pipeline.npi_list.cells import is_valid

MAX_RECORD_LENGTH = 1 << 16
"""Characters that a record of several lines may have."""

SCHEMA = pl.Schema(
    (("line", pl.UInt32()), ("cells", pl.List(pl.String)), ("spans", pl.Boolean()), ("stray", pl.Boolean()))
)
"""A record: the ``line`` it begins in (from 1), whether it ``spans`` lines, whether a ``stray`` quote stands in it."""

_Record = tuple[int, list[str], bool, bool]


def records_of(text: Iterable[str], delimiter: str, width: int | None = None) -> Iterator[pl.DataFrame]:
    """The records of a text that comes in pieces of whole lines, as frames with the columns of ``SCHEMA``.

    ``width`` is how many cells a record of this list has; without it, no record of several lines is taken apart.
    """
    begun, line = "", 1
    pieces = itertools.chain(text, [None])
    piece = next(pieces)
    while piece is not None:
        following = next(pieces)
        piece = begun + piece
        begun = ""
        if '"' in piece:
            lines = list(io.StringIO(piece, newline="\n"))
            records, read = _read_quoted(lines, delimiter, width, is_last=following is None)
            yield _framed(records, line)
            begun = "".join(lines[read:])
            line += read
        else:
            frame = _cut(piece, delimiter, line)
            yield frame
            line += frame.height
        piece = following


def _cut(piece: str, delimiter: str, first_line: int) -> pl.DataFrame:
    lines = pl.Series([piece.removesuffix("\n")]).str.split("\n").explode()
    return pl.select(
        line=pl.int_range(first_line, first_line + lines.len(), dtype=pl.UInt32),
        cells=lines.str.split(delimiter),
        spans=pl.lit(value=False),
        stray=pl.lit(value=False),
    )


def _framed(records: list[_Record], first_line: int) -> pl.DataFrame:
    # A list of lists of text takes polars ten times as long; a NUL is in no text.
    joined = pl.Series(["\0".join(cells) for _, cells, _, _ in records], dtype=pl.String)
    columns = {
        "line": [first_line + index for index, _, _, _ in records],
        "cells": joined.str.split("\0"),
        "spans": [spans for _, _, spans, _ in records],
        "stray": [stray for _, _, _, stray in records],
    }
    return pl.DataFrame(columns, schema=SCHEMA)


def _read_quoted(lines: list[str], delimiter: str, width: int | None, *, is_last: bool) -> tuple[list[_Record], int]:
    """The records of ``lines``, and how many of these were read: the last record may go on in the next piece."""
    records: list[_Record] = []
    begin = 0
    while begin < len(lines):
        first = begin
        rest = map(lines.__getitem__, range(first, len(lines)))
        reader = csv.reader(rest, delimiter=delimiter, skipinitialspace=True, strict=True)
        try:
            for cells in reader:
                end = first + reader.line_num
                if end - begin == 1:
                    records.append((begin, cells, False, False))
                elif _swallows(lines[begin:end], delimiter, width):
                    break
                else:
                    records.append((begin, cells, True, False))
                begin = end
            else:
                return records, len(lines)
        except csv.Error:
            at_end = first + reader.line_num >= len(lines)
            if at_end and not is_last and sum(map(len, lines[begin:])) <= MAX_RECORD_LENGTH:
                return records, begin
        records.append((begin, *_alone(lines[begin], delimiter)))
        begin += 1
    return records, len(lines)


def _swallows(lines: list[str], delimiter: str, width: int | None) -> bool:
    """Whether the quote that joins ``lines`` is more likely a stray one: a later line is a record like the first."""
    if sum(map(len, lines)) > MAX_RECORD_LENGTH:
        return True
    if width is None:
        return False
    first = _alone(lines[0], delimiter)[0]
    npis = [index for index, cell in enumerate(first) if is_valid(cell)]
    if len(first) != width:
        return False
    others = (_alone(line, delimiter)[0] for line in lines[1:])
    return any(len(cells) == width and any(is_valid(cells[index]) for index in npis) for cells in others)


def _alone(line: str, delimiter: str) -> tuple[list[str], bool, bool]:
    """The cells of a line by itself, that it spans no other, and whether it has a quote that does not close."""
    line = line.removesuffix("\n")
    closes = line.count('"') % 2 == 0
    if closes:
        try:
            return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True)), False, False
        except csv.Error:
            pass
    return line.split(delimiter), False, not closes
