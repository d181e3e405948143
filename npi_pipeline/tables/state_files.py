"""The state files: one CSV per state, one for providers without a state, one for the NPIs that could not be had.

RFC 4180 but for the line ends, which are LF; UTF-8. Every file of a day has the same header, and rows sorted by NPI.
Not here: which states a record is in (``states``), names and publishing of the files (``storage``).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path as File
from typing import BinaryIO

import polars as pl

from npi_pipeline.storage.manifest import StateFile
from npi_pipeline.tables.columns import Column, ColumnType
from npi_pipeline.tables.paths import LEADING_COLUMNS, STATES
from npi_pipeline.tables.provider_table import NO_STATE, ProviderTable
from npi_pipeline.tables.rows import MOST_CELLS
from npi_pipeline.tables.states import STATES as RECOGNISED

# What a spreadsheet takes for the beginning of a formula; the full-width forms count where the input method makes them.
_FORMULA = "^[=+\\-@\t\r\n\0＝＋－＠]"  # noqa: RUF001
_BUFFER = 1 << 18


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
        # Every NPI has one row in the provider table, and one in each of its files.
        return StateFile(self._name, self._state, self._rows, self._rows, self._bytes, self._hash.hexdigest())


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
    defuse_formulas: bool = True,
) -> list[StateFile]:
    """Write a day's state files into ``folder`` and say what they are, sorted by state.

    ``parts`` are the provider table's Parquet files in order, each read once; ``outcomes`` the frames of the sealed
    journal, of which every row that is not ``found`` goes to the file ``failed_name``. ``file_name`` makes a file's
    name from a state. A state without rows has no file; ``None`` and ``failed_name`` always have one.
    Raises ValueError when the parts do not hold as many rows as ``table`` says.
    """
    if failed_name == NO_STATE or failed_name in RECOGNISED:
        raise ValueError(f"the file of failed NPIs cannot be called {failed_name!r}: it is the name of another file")
    header = _csv(pl.DataFrame({column.name: [] for column in table.columns}), include_header=True)
    writers = _Writers(folder, file_name, header)
    for always in (NO_STATE, failed_name):
        writers.of(always)
    try:
        rows = sum(_write_part(part, table.columns, writers, defuse=defuse_formulas) for part in parts)
        padding = b"," * (len(table.columns) - len(LEADING_COLUMNS)) + b"\n"
        for lines in _failed_lines(outcomes, defuse=defuse_formulas):
            writers.of(failed_name).write([line[:-1] + padding for line in lines])
    finally:
        files = writers.close()
    if rows != table.rows:
        raise ValueError(f"the provider table has {rows:,} rows where {table.rows:,} were written: make it again")
    return files


def _write_part(part: File, columns: Sequence[Column], writers: _Writers, *, defuse: bool) -> int:
    frame = pl.read_parquet(part)
    step = max(1, MOST_CELLS // len(columns))
    for start in range(0, frame.height, step):
        rows = frame.slice(start, step)
        lines = _lines(_ordered(rows, columns, defuse=defuse))
        by_state: dict[str, list[bytes]] = {}
        for line, states in zip(lines, rows[STATES].to_list(), strict=True):
            for state in states or (NO_STATE,):
                by_state.setdefault(state, []).append(line)
        for state, of_state in by_state.items():
            writers.of(state).write(of_state)
    return frame.height


def _ordered(rows: pl.DataFrame, columns: Sequence[Column], *, defuse: bool) -> pl.DataFrame:
    nothing = pl.repeat(None, rows.height, dtype=pl.String, eager=True)
    present = frozenset(rows.columns)
    return pl.DataFrame(
        [
            _cells(rows[column.name], column, defuse=defuse) if column.name in present else nothing.alias(column.name)
            for column in columns
        ]
    )


def _cells(cells: pl.Series, column: Column, *, defuse: bool) -> pl.Series:
    if not defuse or column.type is not ColumnType.string or cells.null_count() == len(cells):
        return cells
    formulas = cells.str.contains(_FORMULA)
    if not formulas.any():
        return cells
    return pl.select(pl.when(formulas).then(pl.lit("'") + cells).otherwise(cells).alias(cells.name)).to_series()


def without_defusing(cells: pl.Expr) -> pl.Expr:
    """Cells of a state file as they were before formulas were defused."""
    return cells.str.replace("^'(" + _FORMULA.removeprefix("^") + ")", "${1}")


def _failed_lines(outcomes: Iterable[pl.DataFrame], *, defuse: bool) -> Iterator[list[bytes]]:
    for frame in outcomes:
        rows = frame.filter(pl.col("outcome") != "found").select(
            "npi", "outcome", "reason", fetched_on=pl.col("fetched_at").dt.date()
        )
        columns = [Column(name, ColumnType.string, "") for name in ("npi", "outcome", "reason")]
        yield _lines(rows.with_columns(_cells(rows[column.name], column, defuse=defuse) for column in columns))


def _csv(frame: pl.DataFrame, *, include_header: bool) -> bytes:
    buffer = io.BytesIO()
    frame.write_csv(buffer, include_header=include_header)
    return buffer.getvalue()


def _lines(frame: pl.DataFrame) -> list[bytes]:
    """The rows of ``frame`` as CSV, each with its line end."""
    if frame.is_empty():
        return []
    lines = _csv(frame, include_header=False).splitlines(keepends=True)
    return lines if len(lines) == frame.height else list(_rejoined(lines))


def _rejoined(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines that were cut inside a quoted cell, put together again: a whole row has an even number of quotes."""
    row = b""
    for line in lines:
        row += line
        if row.endswith(b"\n") and not row.count(b'"') % 2:
            yield row
            row = b""
