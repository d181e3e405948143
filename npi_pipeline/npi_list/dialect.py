"""What separates the cells of a list, found from many lines: the character that sets most valid NPIs free.

Python's ``csv.Sniffer`` goes by how often a character stands in a line: names with commas, or a title line, mislead it.
Here the check digit tells: with the right delimiter an NPI is a cell by itself.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from npi_pipeline.npi_list.cells import clean, is_valid
from npi_pipeline.npi_list.records import records_of

# The most usual first: of two that do as well it is taken.
DELIMITERS = ",;\t|^~\x01"
# Excel's own first line, perhaps quoted, and followed by the delimiters of empty cells.
_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)"?[,;\t|]*\n', re.IGNORECASE)


class Dialect(NamedTuple):
    """``delimiter`` between cells; ``width`` is how many cells most records have; ``said_in_line`` 1 for ``sep=;``."""

    delimiter: str
    width: int
    said_in_line: int = 0


def find_dialect(sample: str) -> Dialect:
    """The dialect of a list that begins with the lines ``sample``."""
    said = _SEPARATOR_LINE.match(sample)
    if said:
        return Dialect(said[1], _width(_cells(sample[said.end() :], said[1])), said_in_line=1)
    candidates = [delimiter for delimiter in DELIMITERS if delimiter in sample] or [","]
    records = {delimiter: _cells(sample, delimiter) for delimiter in candidates}
    delimiter = max(candidates, key=lambda one: _fitness(records[one]))
    return Dialect(delimiter, _width(records[delimiter]))


def _cells(sample: str, delimiter: str) -> list[list[str]]:
    frames = records_of([sample] if sample else [], delimiter)
    return [cells for frame in frames for cells in frame["cells"].to_list() if any(map(clean, cells))]


def _fitness(records: Sequence[Sequence[str]]) -> tuple[int, float]:
    """How many records have an NPI as a cell by itself, and the share that has as many cells as most."""
    with_npi = sum(any(map(is_valid, cells)) for cells in records)
    width = _width(records)
    alike = sum(len(cells) == width for cells in records) / len(records) if width > 1 else 0.0
    return with_npi, alike


def _width(records: Sequence[Sequence[str]]) -> int:
    return statistics.mode(map(len, records)) if records else 1
