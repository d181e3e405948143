"""Many rows into a table at once, by each database's own way. Not here: which rows."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypeAlias

import polars as pl
import sqlalchemy as sa

Load: TypeAlias = Callable[[sa.Connection, sa.Table, pl.DataFrame], None]
_MOMENT = "%Y-%m-%d %H:%M:%S%.6f"


def load(connection: sa.Connection, table: sa.Table, rows: pl.DataFrame) -> None:
    """Append ``rows``, whose columns are some of the table's; the others are null."""
    if rows.is_empty():
        return
    LOADERS.get(connection.dialect.driver, _load_row_by_row)(connection, table, rows)


def _load_into_postgresql(connection: sa.Connection, table: sa.Table, rows: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    # An empty text is written "", a null as nothing, and COPY reads them so.
    rows.write_csv(buffer, include_header=False, datetime_format=f"{_MOMENT}+00")
    cursor = connection.connection.dbapi_connection.cursor()  # type: ignore[union-attr]
    with cursor.copy(f"COPY {_name(connection, table)} ({_columns(connection, rows)}) FROM STDIN (FORMAT csv)") as copy:
        copy.write(buffer.getbuffer())


class _ArrowStream:
    """Rows by Arrow's own interface alone: of a polars frame, DuckDB asks for it by way of pyarrow."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self._rows = rows

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._rows.__arrow_c_stream__(requested_schema)


def _load_into_duckdb(connection: sa.Connection, table: sa.Table, rows: pl.DataFrame) -> None:
    raw = connection.connection.dbapi_connection
    raw.register("npi_rows", _ArrowStream(rows))  # type: ignore[union-attr]
    try:
        columns = _columns(connection, rows)
        insert = f"INSERT INTO {_name(connection, table)} ({columns}) SELECT {columns} FROM npi_rows"  # noqa: S608
        connection.exec_driver_sql(insert)
    finally:
        raw.unregister("npi_rows")  # type: ignore[union-attr]


def _load_into_sqlite(connection: sa.Connection, table: sa.Table, rows: pl.DataFrame) -> None:
    # As SQLAlchemy's own types write them.
    texts = rows.with_columns(pl.col(pl.Date).cast(pl.String), pl.col(pl.Datetime).dt.strftime(_MOMENT))
    marks = ", ".join("?" * rows.width)
    insert = f"INSERT INTO {_name(connection, table)} ({_columns(connection, rows)}) VALUES ({marks})"  # noqa: S608
    connection.exec_driver_sql(insert, texts.rows())


def _load_row_by_row(connection: sa.Connection, table: sa.Table, rows: pl.DataFrame) -> None:
    connection.execute(table.insert(), rows.to_dicts())


LOADERS: dict[str, Load] = {
    "psycopg": _load_into_postgresql,
    "duckdb_engine": _load_into_duckdb,
    "pysqlite": _load_into_sqlite,
}
"""By the driver's name in SQLAlchemy."""


def _name(connection: sa.Connection, table: sa.Table) -> str:
    return connection.dialect.identifier_preparer.format_table(table)


def _columns(connection: sa.Connection, rows: pl.DataFrame) -> str:
    return ", ".join(map(connection.dialect.identifier_preparer.quote, rows.columns))
