"""The state files: one CSV per state, one for providers without a state, one for the NPIs that could not be had.

RFC 4180 but for the line ends, which are LF; UTF-8. Every file of a day has the same header, and rows sorted by NPI.
Not here: which states a record is in (``states``), names and publishing of the files (``storage``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path as File
from typing import BinaryIO

import polars as pl

from npi_pipeline.providers.kept_table import TableError
from npi_pipeline.providers.provider_table import NO_STATE, ProviderTable
from npi_pipeline.providers.rows import MAX_CELLS
from npi_pipeline.providers.states import STATES as RECOGNISED
from npi_pipeline.schema.columns import Column, ColumnType
from npi_pipeline.schema.json_paths import LEADING_COLUMNS, NUL, NUL_SIGN, STATES
from npi_pipeline.state_files.csv_files import BYTE_ORDER_MARK, csv_of, csv_rows
from npi_pipeline.state_files.csv_injection import escape_formulas
from npi_pipeline.state_files.manifest import StateFile

_BUFFER = 1 << 18
# Rows become text so many bytes at a time: they are in memory several times over on the way.
_BYTES_AT_A_TIME = 12 << 20


class _Writer:
    """One open file that counts and hashes what goes into it."""

    def __init__(self, path: File, state: str, header: bytes) -> None:
        self._name, self._state = path.name, state
        self._file: BinaryIO = path.open("wb", buffering=_BUFFER)
        self._hash = hashlib.sha256()
        self._bytes = self._rows = 0
        self._write(header)

    def write(self, lines: Sequence[bytes]) -> None:
        self._rows += len(lines)
        self._write(b"".join(lines))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._bytes += len(data)

    def close(self) -> StateFile:
        self._file.close()
        return StateFile(self._name, self._state, self._rows, self._bytes, self._hash.hexdigest())


class _Writers:
    """The files of a day by state, opened when they get their first row."""

    def __init__(self, folder: File, file_name: Callable[[str], str], header: bytes) -> None:
        self._folder, self._file_name, self._header = folder, file_name, header
        self._open: dict[str, _Writer] = {}

    def of(self, state: str) -> _Writer:
        if state not in self._open:
            self._open[state] = _Writer(self._folder / self._file_name(state), state, self._header)
        return self._open[state]

    def close(self) -> list[StateFile]:
        return [self._open[state].close() for state in sorted(self._open)]


def write_state_files(
    table: ProviderTable,
    parts: Iterable[File],
    outcomes: Iterable[pl.DataFrame],
    folder: File,
    file_name: Callable[[str], str],
    *,
    failed_name: str = "Failed",
    escape_formulas: bool = True,
    byte_order_mark: bool = False,
) -> list[StateFile]:
    """Write a day's state files into ``folder`` and say what they are, sorted by state.

    ``parts`` are the provider table's Parquet files in order, each read once; ``outcomes`` the frames of the
    compacted journal, of which every row that is not ``found`` goes to the file ``failed_name``. ``file_name`` makes a
    file's name from a state. A state without rows has no file; ``None`` and ``failed_name`` always have one. Raises
    TableError when the parts do not hold as many rows as ``table`` says.
    """
    if failed_name == NO_STATE or failed_name in RECOGNISED:
        raise ValueError(f"the file of failed NPIs cannot be called {failed_name!r}: it is the name of another file")
    header = csv_of(pl.DataFrame({column.name: [] for column in table.columns}), include_header=True)
    header = BYTE_ORDER_MARK * byte_order_mark + header
    writers = _Writers(folder, file_name, header)
    for always in (NO_STATE, failed_name):
        writers.of(always)
    try:
        rows = sum(_write_part(part, table, writers, escape=escape_formulas) for part in parts)
        padding = b"," * (len(table.columns) - len(LEADING_COLUMNS)) + b"\n"
        for lines in _failed_lines(outcomes, escape=escape_formulas):
            writers.of(failed_name).write([line + padding for line in lines])
    finally:
        files = writers.close()
    if rows != table.rows:
        raise TableError(
            f"the provider table has {rows:,} rows where {table.rows:,} were written: materialise "
            "providers of that day again"
        )
    return files


def _write_part(part: File, table: ProviderTable, writers: _Writers, *, escape: bool) -> int:
    frame = pl.read_parquet(part)
    rows_of_some_bytes = _BYTES_AT_A_TIME * frame.height // max(int(frame.estimated_size()), 1)
    step = max(1, min(MAX_CELLS // len(table.columns), rows_of_some_bytes))
    for start in range(0, frame.height, step):
        rows = frame.slice(start, step)
        by_state: dict[str, list[bytes]] = {}
        for line, states in zip(_rows(rows, table, escape=escape), rows[STATES].to_list(), strict=True):
            for state in states or (NO_STATE,):
                by_state.setdefault(state, []).append(line)
        for state, lines in by_state.items():
            writers.of(state).write(lines)
    return frame.height


def _rows(rows: pl.DataFrame, table: ProviderTable, *, escape: bool) -> Iterator[bytes]:
    """The rows of a part as lines of CSV: plain columns, lists spread over theirs, what is unknown last.

    polars writes the items of a list one below the other, and they are put side by side as text: what a row has not
    costs a comma, not a cell.
    """
    # A format without a declared schema has no lists, and its parts lack the columns that their records do not need.
    plain = [column for column in table.columns[:-1] if column.name in rows.columns or not table.widths]
    blocks = [_lines(_selected(rows, plain, escape=escape))]
    blocks += [_spread(rows[name], width, escape=escape) for name, width in table.widths.items() if width]
    blocks += [_lines(_selected(rows, table.columns[-1:], escape=escape))]
    return (b",".join(cells) + b"\n" for cells in zip(*blocks, strict=True))


def _spread(lists: pl.Series, width: int, *, escape: bool) -> list[bytes]:
    """The columns of a list column that is spread over ``width`` items."""
    items = lists.explode(empty_as_null=False, keep_nulls=False).struct.unnest()
    lines = _lines(escape_formulas(items, items.select(pl.col(pl.String)).columns) if escape else items)
    spread = []
    start = 0
    for count in lists.list.len().fill_null(0).to_list():
        # An item that is missing has its fields' commas alone, and one to the next item.
        commas = b"," * ((width - count) * items.width)
        # Of a row without any item, there is none before the first.
        spread.append(b",".join(lines[start : start + count]) + commas if count else commas[1:])
        start += count
    return spread


def _selected(rows: pl.DataFrame, columns: Sequence[Column], *, escape: bool) -> pl.DataFrame:
    present = frozenset(rows.columns)
    nothing = pl.repeat(None, rows.height, dtype=pl.String, eager=True)
    frame = pl.DataFrame([rows[c.name] if c.name in present else nothing.alias(c.name) for c in columns])
    return escape_formulas(frame, [c.name for c in columns if c.type is ColumnType.string]) if escape else frame


def _failed_lines(outcomes: Iterable[pl.DataFrame], *, escape: bool) -> Iterator[list[bytes]]:
    for frame in outcomes:
        rows = frame.filter(pl.col("outcome") != "found").select(
            _without_nul("npi"), "outcome", _without_nul("reason"), fetched_on=pl.col("fetched_at").dt.date()
        )
        yield _lines(escape_formulas(rows, ("npi", "outcome", "reason")) if escape else rows)


def _without_nul(name: str) -> pl.Expr:
    return pl.col(name).str.replace_all(NUL, NUL_SIGN, literal=True)


def _lines(frame: pl.DataFrame) -> list[bytes]:
    """The rows of ``frame`` as CSV, without line ends."""
    if frame.is_empty():
        return []
    content = csv_of(frame)
    lines = content[:-1].split(b"\n")
    # More lines than rows: some cell holds a line feed.
    return lines if len(lines) == frame.height else list(csv_rows([content]))
