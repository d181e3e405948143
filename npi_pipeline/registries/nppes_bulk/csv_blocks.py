"""A CSV of a dissemination file as blocks of rows, each cut at the end of a row; what cannot be read is told by row.

CMS puts each value in quotes and has none within one. A block of which counting proves that it is so goes through the
fast parser as a whole; of another one, only the rows that are different go through a careful one.

Not here: what the columns mean (``columns``, ``records``).
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import polars as pl

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError

BLOCK_BYTES = 16 << 20
_MAX_HEADER_BYTES = 1 << 20
# No row is a tenth as long: 330 columns of at most 300 characters.
_MAX_ROW_BYTES = 4 << 20

_ROW_BEGINS = re.compile(rb'"[12]\d{9}",')
_ENDS_OF_LINE = re.compile(rb"\r?\n")
_AGAIN = "download it again; a program that saved it anew may have changed it"


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of one block.

    ``values`` has a column of text for each of the header. ``problems`` are the NPIs of rows that cannot be read, with
    why. ``strays`` counts lines that belong to no row of any NPI.
    """

    values: pl.DataFrame
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


def read_block(block: bytes, names: Sequence[str]) -> Rows:
    """The rows of a block."""
    if b"\r\n" in block:
        block = _ENDS_OF_LINE.sub(b"\n", block)
    values = _read_quickly(block, names)
    return Rows(values) if values is not None else _read_carefully(block, names)


def _read_quickly(block: bytes, names: Sequence[str]) -> pl.DataFrame | None:
    """The rows, when each line has all values in quotes and nothing that is odd; else None.

    The number of quotes is right, and no row is too long (polars says so) or too short (a value that is not there is
    null, and one that is empty is not): so each row has as many values as there are names.
    """
    lines = block.count(b"\n")
    if block.count(b'"') != 2 * len(names) * lines or b"\0" in block or not _is_utf8(block):
        return None
    try:
        values = _parse(block, names)
    except pl.exceptions.PolarsError:
        return None
    return values if values.height == lines and not values[names[-1]].null_count() else None


def _parse(block: bytes, names: Sequence[str]) -> pl.DataFrame:
    return pl.read_csv(block, has_header=False, schema=_of_text(names), extra_columns="raise")


def _of_text(names: Sequence[str]) -> pl.Schema:
    return pl.Schema(dict.fromkeys(names, pl.String()))


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
        if begins and _is_plain(line, len(names)):
            quick.append(line)
            within_odd = False
        elif begins:
            odd.append([line])
            within_odd = True
        elif within_odd:
            odd[-1].append(line)
        else:
            strays += bool(line.strip())
    values = _parse(b"\n".join([*quick, b""]), names) if quick else _of_text(names).to_frame()
    read = [_read_row(b"\n".join(lines), len(names)) for lines in odd]
    good = [row for row in read if isinstance(row, list)]
    if good:
        values = values.vstack(pl.DataFrame(good, schema=values.schema, orient="row"))
    return Rows(values, [row for row in read if isinstance(row, tuple)], strays)


def _is_plain(line: bytes, width: int) -> bool:
    """Whether a line is a row of ``width`` values in quotes."""
    return (
        line.count(b'"') == 2 * width
        and line.count(b'","') == width - 1
        and line.endswith(b'"')
        and b"\0" not in line
        and _is_utf8(line)
    )


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
