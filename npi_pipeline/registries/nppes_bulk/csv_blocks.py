"""A CSV of a dissemination file as blocks of rows, each cut at the end of a row; what cannot be read is told by row.

CMS puts each value in quotes and has none within one. A block of which counting proves that it is so goes through the
fast parser as a whole; of another one, only the rows that are different go through a careful one.

Not here: what the columns mean (``columns``, ``records``).
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from typing import BinaryIO

import polars as pl

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError

BLOCK_BYTES = 8 << 20
_MAX_HEADER_BYTES = 1 << 20
# No row is a tenth as long: 330 columns of at most 300 characters.
_MAX_ROW_BYTES = 4 << 20

_ROW_BEGINS = re.compile(rb'"[12]\d{9}",')
# A row, by its NPI and the kind of its provider, that follows another one on the same line.
_ROW_WITHIN = re.compile(rb'"([12]\d{9})","[12]?",')
_AGAIN = "download it again; a program that saved it anew may have changed it"


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of one block.

    ``values`` has a column of text for each of the header, or for each but the sparse ones. ``full`` are the lines of
    the other rows, in which a sparse one is filled. ``problems`` are the NPIs of rows that cannot be read, with why.
    ``strays`` counts lines that belong to no row of any NPI.
    """

    values: pl.DataFrame
    full: bytes = b""
    problems: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    strays: int = 0


def read_header(stream: BinaryIO, where: str) -> list[str]:
    """The names in the first line of the CSV. Raises BulkFileError when it is not as CMS writes it."""
    line = stream.readline(_MAX_HEADER_BYTES)
    if not line.endswith(b"\n"):
        raise BulkFileError(f"{where} has no line of column names: {_AGAIN}")
    try:
        text = line.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError as error:
        raise BulkFileError(f"{where} has column names that are not UTF-8: {_AGAIN}") from error
    names = next(csv.reader([text]), [])
    if len(names) < 2 or text.count('"') < 2 * len(names):  # noqa: PLR2004
        raise BulkFileError(f"{where} has column names without quotes, which CMS never writes: {_AGAIN}")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BulkFileError(f"{where} has the column {twice[0]!r} twice: {_AGAIN}")
    return names


def raw_blocks(stream: BinaryIO, where: str, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The bytes after the header in blocks that end at the end of a row. Raises BulkFileError."""
    left = b""
    while chunk := stream.read(block_bytes):
        data = left + chunk if left else chunk
        cut = _last_beginning(data)
        if cut:
            yield data[:cut]
        left = data[cut:]
        if len(left) > block_bytes + _MAX_ROW_BYTES:
            raise BulkFileError(f"{where} has a row of more than {_MAX_ROW_BYTES >> 20} MB: {_AGAIN}")
    if left.strip(b"\r\n"):
        yield left if left.endswith(b"\n") else left + b"\n"


def _last_beginning(data: bytes) -> int:
    """Where the last row begins, when that can be seen; else 0."""
    end = len(data)
    while (end := data.rfind(b"\n", 0, end)) >= 0:
        if _ROW_BEGINS.match(data, end + 1):
            return end + 1
    return 0


def read_block(block: bytes, names: Sequence[str], sparse: Collection[str] = ()) -> Rows:
    """The rows of a block. A column that is sparse is nothing but time lost where it is empty: it is left out there."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    lines = block.count(b"\n")
    if not _is_plain(block, 2 * len(names) * lines):
        return _read_carefully(block, names)
    try:
        return _read_quickly(block, lines, names, sparse) or _read_carefully(block, names)
    except pl.exceptions.PolarsError:
        return _read_carefully(block, names)


def _is_plain(data: bytes, quotes: int) -> bool:
    """Whether there are so many quotes, and nothing that is no text."""
    return data.count(b'"') == quotes and b"\0" not in data and _is_utf8(data)


def _read_quickly(block: bytes, lines: int, names: Sequence[str], sparse: Collection[str]) -> Rows | None:
    """The rows of a block with as many quotes as it should have; None when not each line has a value for each name.

    Then a line would have too many values, and polars says so, or too few: a value that is not there is null, and one
    that is empty is not.
    """
    kept = [name for name in names if name not in sparse]
    values = _parse(block, names, kept)
    if values.height != lines or values[names[-1]].null_count():
        return None
    if len(kept) == len(names):
        return Rows(values)
    # What a line has beyond the values that were kept, their quotes, all commas and its end is in the other columns.
    length = values.select(pl.sum_horizontal(pl.all().str.len_bytes())).to_series() + 3 * len(names)
    is_full = pl.Series(map(len, io.BytesIO(block)), dtype=pl.UInt32) != length
    full = b"".join(itertools.compress(io.BytesIO(block), is_full))
    return Rows(values.filter(~is_full), full)


def _parse(block: bytes, names: Sequence[str], kept: Sequence[str]) -> pl.DataFrame:
    schema = {f"column_{number}": pl.String() for number, _ in enumerate(names, start=1)}
    wanted = set(kept)
    columns = [column for column, name in zip(schema, names, strict=True) if name in wanted]
    rows = pl.read_csv(block, has_header=False, schema=schema, columns=columns, extra_columns="raise")
    return rows.rename(dict(zip(columns, kept, strict=True)))


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_carefully(block: bytes, names: Sequence[str]) -> Rows:
    """Line by line: those that are as they should be at once, what is between them row by row."""
    quick: list[bytes] = []
    odd: list[list[bytes]] = []
    strays = 0
    within_odd = False
    for line in block.removesuffix(b"\n").split(b"\n"):
        begins = _ROW_BEGINS.match(line) is not None
        if begins and _is_row(line, len(names)):
            quick.append(line)
            within_odd = False
        elif begins:
            odd.append([line])
            within_odd = True
        elif within_odd:
            odd[-1].append(line)
        else:
            strays += bool(line.strip())
    of_text = pl.Schema(dict.fromkeys(names, pl.String()))
    values = _parse(b"\n".join([*quick, b""]), names, names) if quick else of_text.to_frame()
    read = [row for lines in odd for row in _read_odd(b"\n".join(lines), len(names))]
    good = [row for row in read if isinstance(row, list)]
    if good:
        values = values.vstack(pl.DataFrame(good, schema=values.schema, orient="row"))
    return Rows(values, problems=[row for row in read if isinstance(row, tuple)], strays=strays)


def _is_row(line: bytes, width: int) -> bool:
    """Whether a line is a row of ``width`` values in quotes."""
    return line.endswith(b'"') and line.count(b'","') == width - 1 and _is_plain(line, 2 * width)


def _read_odd(row: bytes, width: int) -> list[list[str] | tuple[int, str]]:
    """An odd row; when it cannot be read, the NPIs too of rows that it has swallowed, for an end of a line is lost."""
    read = _read_row(row, width)
    if isinstance(read, list):
        return [read]
    return [read, *((int(within[1]), "its row is joined to another one") for within in _ROW_WITHIN.finditer(row, 1))]


def _read_row(row: bytes, width: int) -> list[str] | tuple[int, str]:
    """The values of an odd row, or its NPI and why they cannot be had."""
    npi = int(row[1:11])
    if b"\0" in row:
        return npi, "its row holds a NUL"
    try:
        text = row.decode()
    except UnicodeDecodeError as error:
        return npi, f"its row holds a byte that is no UTF-8 (0x{row[error.start]:02X})"
    try:
        values = next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
    except csv.Error as error:
        return npi, f"its row cannot be read ({error})"
    if len(values) != width:
        return npi, f"its row has {len(values)} values where the header has {width}"
    return values
