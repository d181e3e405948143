"""Which record is the header, and which column holds the NPIs: by what the header says and by the values.

What is not clear is either said (``ambiguity``) or refused, with the setting that decides: ``NPI_LIST_COLUMN``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple

from npi_pipeline.npi_list.cells import clean, is_valid
from npi_pipeline.npi_list.text import ListUnreadableError

_DECIDE = "name the column (or give its position, from 1) in NPI_LIST_COLUMN"
# What other systems call the column.
_NPI_COLUMN_NAMES = frozenset({"npi", "npinumber", "npino", "npiid", "providernpi", "nationalprovideridentifier"})
# So many lines at most stand above the list.
_MAX_LEADING = 50
_SHOWN = 40


class Record(NamedTuple):
    """A record that is not empty: the line that it begins in, and its clean cells."""

    line: int
    cells: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ColumnChoice:
    """The column with the NPIs.

    ``index`` from 0. ``header``: the cells of the header, empty when there is none. ``line``: that of the header; what
    stands above it is no part of the list (0 without a header). ``ambiguity``: why another column may be meant.
    """

    index: int
    header: tuple[str, ...]
    line: int
    ambiguity: str | None = None

    def describe(self, index: int | None = None) -> str:
        """A column for a person, such as ``column 2 'NPI'``; without ``index``, that of the NPIs."""
        index = self.index if index is None else index
        name = self.header[index] if index < len(self.header) else ""
        return f"column {index + 1}" + (f" {name[:_SHOWN]!r}" if name else "")


def choose_column(records: Sequence[Record], setting: str) -> ColumnChoice:
    """The column of a list that begins with ``records``; ``setting`` is NPI_LIST_COLUMN. Raises ListUnreadableError."""
    leading = _leading(records)
    if setting:
        return _as_set(records, leading, setting)
    # A title may speak of NPIs too: the header says it best, has most cells, and stands last.
    header = max(
        leading,
        key=lambda record: (max(map(_says_npi, record.cells)), sum(map(bool, record.cells)), record.line),
        default=None,
    )
    if header and not any(map(_says_npi, header.cells)):
        header = _first_full_one(leading, records)
    cells, line = (header.cells, header.line) if header else ((), 0)
    shares = _shares_of_valid([record for record in records if record.line > line])
    named = [index for index, name in enumerate(cells) if _says_npi(name)]
    return _chosen(cells, line, named, shares)


def _chosen(cells: tuple[str, ...], line: int, named: list[int], shares: list[float]) -> ColumnChoice:
    def share(index: int) -> float:
        return shares[index] if index < len(shares) else 0.0

    half = 0.5
    full = [index for index in range(len(shares)) if share(index) > half]
    likely = [index for index in named if index in full] or full or named
    likely = likely or [max(range(len(shares)), key=share, default=0)]
    best = max(likely, key=lambda index: (_says_npi(cells[index]) if index < len(cells) else 0, -index))
    choice = ColumnChoice(best, cells, line)
    rivals = [index for index in likely if index != best and _rivals(cells, index, best)]
    if not cells and rivals:
        raise ListUnreadableError(
            f"has no header, and {_listed(choice, [best, *rivals])} hold NPIs: it is not clear whether each line is "
            "several NPIs or one NPI and something else",
            f"put one NPI a line, or {_DECIDE}",
        )
    if rivals:
        return dataclasses.replace(choice, ambiguity=f"{_listed(choice, rivals)} may be meant as well; {_DECIDE}")
    if named and best not in named:
        return dataclasses.replace(
            choice, ambiguity=f"{choice.describe(named[0])} says that it is the NPI, but holds hardly any; {_DECIDE}"
        )
    if not full and len(shares) > 1 and not named:
        return dataclasses.replace(
            choice, ambiguity=f"no column says that it is the NPI, and none holds mostly NPIs; {_DECIDE}"
        )
    return choice


def _rivals(cells: tuple[str, ...], index: int, best: int) -> bool:
    """Whether the header says no less of the column ``index`` than of ``best``."""
    return not cells or index >= len(cells) or _says_npi(cells[index]) >= _says_npi(cells[best])


def _listed(choice: ColumnChoice, indexes: Sequence[int]) -> str:
    most = 5
    more = f" and {len(indexes) - most} more" if len(indexes) > most else ""
    return ", ".join(map(choice.describe, indexes[:most])) + more


def _as_set(records: Sequence[Record], leading: Sequence[Record], setting: str) -> ColumnChoice:
    names = {record: [_plain(cell) for cell in record.cells] for record in leading}
    header = next((record for record in leading if _plain(setting) in names[record]), None)
    if header:
        return ColumnChoice(names[header].index(_plain(setting)), header.cells, header.line)
    full = _first_full_one(leading, records)
    cells, line = (full.cells, full.line) if full else ((), 0)
    if not re.fullmatch("[0-9]{1,4}", setting):
        there = ", ".join(repr(cell[:_SHOWN]) for cell in cells[:20])
        raise ListUnreadableError(
            f"has no column {setting!r}: " + (f"line {line} has {there}" if cells else "it has no header"),
            "correct NPI_LIST_COLUMN: the column's header, or its position from 1",
        )
    width = max((len(record.cells) for record in records), default=0)
    if not 1 <= int(setting) <= width:
        raise ListUnreadableError(
            f"has no column {setting}: its lines have {width} at most",
            "correct NPI_LIST_COLUMN: the column's header, or its position from 1",
        )
    return ColumnChoice(int(setting) - 1, cells, line)


def _leading(records: Sequence[Record]) -> list[Record]:
    """The records before the first that could be meant as an NPI: the header is one of them, if there is one."""
    leading: list[Record] = []
    for record in records[:_MAX_LEADING]:
        if any(map(_may_be_meant_as_npi, record.cells)):
            break
        leading.append(record)
    return leading


def _first_full_one(leading: Sequence[Record], records: Sequence[Record]) -> Record | None:
    """The first record with text in as many columns as the list has; the first, when the list has one column."""
    is_wide = len(records) > len(leading) and sum(map(bool, records[len(leading)].cells)) > 1
    candidates = [record for record in leading if any(map(_has_letter, record.cells))]
    full = [record for record in candidates if sum(map(bool, record.cells)) > 1] if is_wide else []
    return next(iter(full or candidates), None)


def _shares_of_valid(records: Sequence[Record]) -> list[float]:
    """For each column the share of its cells that are valid NPIs, among those that hold anything."""
    width = max((len(record.cells) for record in records), default=0)
    filled, valid = [0] * width, [0] * width
    for record in records:
        for index, cell in enumerate(record.cells):
            filled[index] += bool(cell)
            valid[index] += is_valid(cell)
    return [good / all_ if all_ else 0.0 for good, all_ in zip(valid, filled, strict=True)]


def _says_npi(name: str) -> int:
    """2 when a header is what systems call the NPI, 1 when it is some kind of NPI, else 0."""
    plain = _plain(name)
    if plain in _NPI_COLUMN_NAMES:
        return 2
    words = re.split(r"[\W_]+", name.lower())
    return int("npi" in words or plain.startswith("npi") or plain.endswith(("npi", "nationalprovideridentifier")))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", clean(name)).lower()


def _has_letter(cell: str) -> bool:
    return any(map(str.isalpha, cell))


def _may_be_meant_as_npi(cell: str) -> bool:
    """Nine digits in a row, five in a cell that is no words, about ten there in groups, or scientific notation."""
    if re.search("[0-9]{9}", cell) or re.fullmatch(r"[0-9]([.,][0-9]*)?[Ee]\+?[0-9]{1,2}", cell):
        return True
    is_about_ten = len(re.findall("[0-9]", cell)) in range(9, 12)
    return bool(re.search("[0-9]{5}", cell) or is_about_ten) and not re.search(r"[^\W\d_]{2}", cell)
