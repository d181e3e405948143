"""Parsing the NPI list: from the bytes of the day's object to its distinct NPIs.

Every line that holds anything is accounted for: it is the header, or an NPI (perhaps an invalid one), or a
repetition of one. Not here: where the object is read (``storage.list_object``) and kept (``storage.days``).
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import re
from collections.abc import Iterator

import polars as pl

from npi_pipeline.enrichment.npi import why_invalid

SCHEMA = pl.Schema({"npi": pl.String, "reason": pl.String, "line": pl.UInt32, "occurrences": pl.UInt32})

# What other systems call the column, when the list has more than one.
_NPI_COLUMN_NAMES = frozenset({"npi", "npinumber", "npino", "npiid", "providernpi", "nationalprovideridentifier"})
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060\x00\x1a"
_DELIMITERS = ",;\t|"
# A header has letters and no run of digits that could be meant as an NPI.
_HEADER = re.compile(r"(?=.*[^\W\d_])(?!.*\d{6})", re.DOTALL)
_NOT_TEXT = {
    b"\x1f\x8b": "gzip data",
    b"PK\x03\x04": "a zip or Excel file",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF",
}
_MARKUP = {"<": "HTML or XML", "{": "JSON", "[": "JSON"}


class ListUnreadableError(ValueError):
    """The object is no NPI list: empty, binary, or another kind of text. One line says which."""


@dataclasses.dataclass(frozen=True)
class NpiList:
    """The distinct NPIs of a list.

    ``npis`` has the columns of ``SCHEMA``, one row for each distinct NPI, sorted by npi: ``reason`` says why it is
    invalid (null when it is valid), ``line`` is where it stands first (from 1), ``occurrences`` how often.
    """

    npis: pl.DataFrame
    header: str | None
    lines: int
    empty_lines: int

    @property
    def duplicates(self) -> int:
        """Lines that only repeat an NPI."""
        return int(self.npis["occurrences"].sum()) - self.npis.height

    @property
    def invalid(self) -> int:
        """Distinct NPIs that are never sent to the registry."""
        return self.npis.height - self.npis["reason"].null_count()

    def examples_of_invalid(self, most: int) -> list[str]:
        """The first of them for a person, each like ``line 2 '12345' (has 5 digits instead of 10)``."""
        first = self.npis.filter(pl.col("reason").is_not_null()).sort("line").head(most)
        return [
            f"line {line} {npi[:40]!r} ({reason})"
            for npi, reason, line in first.select("npi", "reason", "line").iter_rows()
        ]


def parse_npi_list(data: bytes) -> NpiList:
    """The distinct NPIs of the list ``data``. Raises ListUnreadableError."""
    text = _decode(data)
    header: str | None = None
    column = 0
    lines = empty_lines = 0
    seen: dict[str, list[int]] = {}
    is_first = True
    for lines, row in enumerate(_rows(text), start=1):
        cells = [_clean(cell) for cell in row]
        if not any(cells):
            empty_lines += 1
            continue
        if is_first:
            is_first = False
            column = _npi_column(cells)
            if _HEADER.match(cells[column]):
                header = cells[column]
                continue
        npi = cells[column] if column < len(cells) else ""
        entry = seen.setdefault(npi, [lines, 0])
        entry[1] += 1
    if not seen:
        raise ListUnreadableError("is empty" if header is None else f"holds the header {header[:40]!r} and no NPI")
    frame = pl.DataFrame(
        {
            "npi": list(seen),
            "reason": [why_invalid(npi) if npi else "the NPI column is empty" for npi in seen],
            "line": [entry[0] for entry in seen.values()],
            "occurrences": [entry[1] for entry in seen.values()],
        },
        schema=SCHEMA,
    )
    return NpiList(npis=frame.sort("npi"), header=header, lines=lines, empty_lines=empty_lines)


def _decode(data: bytes) -> str:
    """The text of the object. Bytes that are no UTF-8 are kept as marks: only ASCII can be an NPI."""
    for magic, kind in _NOT_TEXT.items():
        if data.startswith(magic):
            raise ListUnreadableError(f"is {kind}, not text")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        text = data.decode("utf-8-sig", errors="replace")
    if "\0" in text or text.count("\ufffd") > len(text) / 10:
        raise ListUnreadableError("is binary, not text")
    start = text.lstrip()[:1]
    if start in _MARKUP:
        raise ListUnreadableError(f"is {_MARKUP[start]}, not a list with one NPI a line")
    return text


def _rows(text: str) -> Iterator[list[str]]:
    """The cells of each line. A stray quote spoils its own line only: a line is one NPI, whatever stands beside it."""
    lines = re.split(r"\r\n|\n|\r", text)
    if not lines[-1]:
        lines.pop()
    first_line = next((line for line in lines if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first_line.count)
    for line in lines:
        if line.count('"') % 2 == 0 and '"' in line:
            yield next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
        else:
            yield line.split(delimiter)


def _clean(cell: str) -> str:
    """A cell without blanks, quotes, invisible characters and Excel's ``="..."``."""
    return cell.strip().strip(_INVISIBLE).removeprefix("=").strip(" \t\"'\u00a0" + _INVISIBLE)


def _npi_column(first_row: list[str]) -> int:
    names = [re.sub(r"[\W_]", "", cell).lower() for cell in first_row]
    return next((index for index, name in enumerate(names) if name in _NPI_COLUMN_NAMES), 0)
