"""Row counts and digests computed by the database from its own cells, as ``row_digest`` computes them from ours.

A database that is not known to compute the digest hands over the rows, and ``row_digest`` computes it of them, too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa

from npi_pipeline.delivery.row_digest import END, digest_of_texts, row_texts
from npi_pipeline.delivery.sql.history import holds_on
from npi_pipeline.delivery.sql.relational import PROVIDERS
from npi_pipeline.delivery.sql.tables import Tables
from npi_pipeline.outcomes import Outcome

# The first 32 bits of the MD5 of a text, as a number.
DIGESTS = {
    "postgresql": "('x' || substr(md5({text}), 1, 8))::bit(32)::bigint",
    "duckdb": "cast('0x' || substr(md5({text}), 1, 8) as bigint)",
    "sqlite": "npi_row_digest({text})",
}
_ROWS_AT_A_TIME = 20_000
# Of the columns that are no text.
_TYPES: dict[type[sa.types.TypeEngine[Any]], pl.DataType] = {
    sa.BigInteger: pl.Int64(),
    sa.Integer: pl.Int64(),
    sa.Double: pl.Float64(),
    sa.Boolean: pl.Boolean(),
    sa.Date: pl.Date(),
}


def rows_and_digests_on(
    connection: sa.Connection, tables: Tables, day: dt.date
) -> tuple[dict[str, int], dict[str, int]]:
    """Rows and digest of each table of providers, as of ``day``, from the history; and of the outcomes."""
    history = tables.history
    is_found = sa.and_(holds_on(history, day), history.c.outcome == Outcome.found.value)
    queries = {PROVIDERS: (tables.providers.c, sa.select(history).where(is_found), history)}
    for name, plain in tables.lists.items():
        items = tables.list_history[name]
        is_of = sa.and_(items.c.npi == history.c.npi, items.c.version == history.c.version)
        queries[name] = (plain.c, sa.select(items).join_from(history, items, is_of).where(is_found), items)
    counts, digests = {}, {}
    for name, (columns, rows, source) in queries.items():
        cells = [source.c[column.name] for column in columns if column.name not in {"valid_from", "version"}]
        counts[name], digests[name] = _count_and_digest(connection, rows.with_only_columns(*cells), cells)
    known = sa.select(history.c.npi, history.c.outcome).where(holds_on(history, day))
    counts["outcomes"], digests["outcomes"] = _count_and_digest(connection, known, [history.c.npi, history.c.outcome])
    changes = tables.changes
    cells = [changes.c[name] for name in ("npi", "change", "field", "old", "new")]
    of_day = sa.select(*cells).where(changes.c.day == day)
    counts["changes"], digests["changes"] = _count_and_digest(connection, of_day, cells)
    return counts, digests


def _count_and_digest(
    connection: sa.Connection, rows: sa.Select[tuple[object, ...]], cells: Sequence[sa.ColumnElement[object]]
) -> tuple[int, int]:
    if connection.dialect.name not in DIGESTS:
        return _count_and_digest_as_read(connection, rows, cells)
    subquery = rows.subquery()
    preparer = connection.dialect.identifier_preparer
    parts = []
    for cell in sorted(cells, key=lambda cell: str(cell.name)):
        name = str(cell.name)
        quoted = preparer.quote(name)
        text = f"cast({quoted} as integer)" if isinstance(cell.type, sa.Boolean) else quoted
        parts.append(f"coalesce('{name}=' || cast({text} as varchar) || '{END}', '')")
    digest = sa.literal_column(DIGESTS[connection.dialect.name].format(text=" || ".join(parts)), sa.BigInteger)
    # The sum is wider than 64 bits in no database: a billion rows have 62.
    query = sa.select(sa.func.count(), sa.func.sum(digest)).select_from(subquery)
    count, total = connection.execute(query).one()
    return int(count), int(total or 0)


def _count_and_digest_as_read(
    connection: sa.Connection, rows: sa.Select[tuple[object, ...]], cells: Sequence[sa.ColumnElement[object]]
) -> tuple[int, int]:
    schema = pl.Schema({str(cell.name): _TYPES.get(type(cell.type), pl.String()) for cell in cells})
    count = digest = 0
    for some in connection.execute(rows.execution_options(yield_per=_ROWS_AT_A_TIME)).partitions():
        count += len(some)
        digest += digest_of_texts(row_texts(pl.DataFrame(map(tuple, some), schema=schema, orient="row")))
    return count, digest
