"""The steps of one delivery to a database, within its transaction. Not here: the transaction (``sink``)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import polars as pl
import sqlalchemy as sa

from npi_pipeline.delivery.published_day import PublishedDay
from npi_pipeline.delivery.row_digest import row_texts, version_of_text
from npi_pipeline.delivery.sink import Receipt
from npi_pipeline.delivery.sql import history
from npi_pipeline.delivery.sql.loading import load
from npi_pipeline.delivery.sql.relational import PROVIDERS, relational
from npi_pipeline.delivery.sql.tables import Tables
from npi_pipeline.outcomes import Outcome

_FOUND = Outcome.found.value
_VERSIONS = pl.Schema({"npi": pl.String, "version": pl.String})
_PERIODS = pl.Schema(
    {"npi": pl.String, "valid_from": pl.Date, "valid_to": pl.Date, "outcome": pl.String, "version": pl.String}
)


def make_tables(connection: sa.Connection, tables: Tables) -> None:
    """Make the tables that are missing, and the columns that they lack.

    In a transaction of its own: to some databases it is the end of one, and some know a new table only after that.
    """
    schema = tables.metadata.schema
    if schema and not sa.inspect(connection).has_schema(schema):
        connection.execute(sa.schema.CreateSchema(schema))
    tables.metadata.create_all(connection)
    for table in tables.lasting:
        result = connection.execute(sa.select(sa.text("*")).select_from(table).limit(0))
        there = set(result.keys())
        # DuckDB takes no rows while a result is unfinished.
        result.all()
        for column in table.columns:
            if column.name not in there:
                clause = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
                name = connection.dialect.identifier_preparer.format_table(table)
                connection.exec_driver_sql(f"ALTER TABLE {name} ADD {clause}")


def deliver_day(connection: sa.Connection, tables: Tables, published: PublishedDay) -> Receipt:
    """Make the tables hold the day, with its receipt. One that they hold already is put in anew, every row of it."""
    _begin(connection, tables)
    receipts = list(read_receipts(connection, tables))
    if receipts:
        rows = _put_in_among_others(connection, tables, published, receipts)
    else:
        rows = _put_in_as_first(connection, tables, published)
    if all(receipt.day <= published.day for receipt in receipts):
        _replace_outcomes(connection, tables, published)
    _replace_changes(connection, tables, published)
    receipt = Receipt.of(published, {**published.rows, **rows})
    _leave(connection, tables, receipt)
    return receipt


def read_receipts(connection: sa.Connection, tables: Tables, day: dt.date | None = None) -> Iterator[Receipt]:
    """The receipts of all days that the tables hold, or of ``day`` alone."""
    deliveries = tables.deliveries
    query = sa.select(deliveries.c.receipt)
    if sa.inspect(connection).has_table(deliveries.name, schema=deliveries.schema):
        of_day = query if day is None else query.where(deliveries.c.day == day)
        yield from map(Receipt.from_json, connection.scalars(of_day).all())


def _begin(connection: sa.Connection, tables: Tables) -> None:
    """See that one delivery is at work at a time, whoever else delivers from another data root; empty ``scratch``.

    A database in a file is locked; the transactions of one that is not known are serializable.
    """
    if connection.dialect.name == "postgresql":
        name = connection.dialect.identifier_preparer.format_table(tables.deliveries)
        connection.exec_driver_sql(f"LOCK TABLE {name} IN EXCLUSIVE MODE")
    for table in tables.scratch:
        table.create(connection, checkfirst=table.metadata is tables.metadata)
        connection.execute(table.delete())


def _put_in_as_first(connection: sa.Connection, tables: Tables, published: PublishedDay) -> Counter[str]:
    """Put the day into tables without a receipt, which are emptied: nothing in them is to be compared with.

    Returns how many rows of providers each table has.
    """
    for table in tables.lasting:
        connection.execute(table.delete())
    counts: Counter[str] = Counter()
    for frame in published.providers():
        of_tables = relational(frame, published.layout)
        counts.update({table: rows.height for table, rows in of_tables.items()})
        versions = _versions(of_tables)
        providers = of_tables.pop(PROVIDERS).with_columns(
            versions["version"], valid_from=pl.lit(published.day), outcome=pl.lit(_FOUND)
        )
        load(connection, tables.history, providers)
        for name, items in of_tables.items():
            load(connection, tables.list_history[name], items.join(versions, on="npi", maintain_order="left"))
    history.fill_newest(connection, tables)
    for frame in published.outcomes():
        others = frame.filter(pl.col("outcome") != _FOUND)
        of_others = others.select("npi", "outcome", version="outcome").with_columns(valid_from=pl.lit(published.day))
        load(connection, tables.history, of_others)
    return counts


def _put_in_among_others(
    connection: sa.Connection, tables: Tables, published: PublishedDay, receipts: Sequence[Receipt]
) -> Counter[str]:
    """Let history and plain tables say of the day what it says. Returns how many rows of providers each table has."""
    following = min((receipt.day for receipt in receipts if receipt.day > published.day), default=None)
    rows = _list_npis(connection, tables, published)
    history.note_affected(connection, tables, published.day)
    # Before anything is cut out: of a version that is known, the items of its lists are there already.
    known = _versions_of_affected(connection, tables)
    history.cut_out(connection, tables, published.day, following)
    _put_in(connection, tables, published, _periods_of_affected(connection, tables, published, following), known)
    history.join_neighbours(connection, tables, published.day, following)
    if any(receipt.is_of(published) for receipt in receipts):
        periods = pl.DataFrame(history.take_out_listed(connection, tables), schema=_PERIODS, orient="row")
        _put_in(connection, tables, published, periods, pl.DataFrame(schema=_VERSIONS))
    history.drop_unused_lists(connection, tables)
    history.refresh_newest(connection, tables)
    for table in tables.scratch:
        connection.execute(table.delete())
    return rows


def _list_npis(connection: sa.Connection, tables: Tables, published: PublishedDay) -> Counter[str]:
    """Fill ``listed`` with every NPI of the list; how many rows of providers each table has of the day."""
    counts: Counter[str] = Counter()
    for frame in published.providers():
        of_tables = relational(frame, published.layout)
        counts.update({table: rows.height for table, rows in of_tables.items()})
        load(connection, tables.listed, _versions(of_tables).with_columns(outcome=pl.lit(_FOUND)))
    for frame in published.outcomes():
        others = frame.filter(pl.col("outcome") != _FOUND)
        load(connection, tables.listed, others.select("npi", "outcome", version="outcome"))
    return counts


def _versions(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """``npi`` and ``version`` of providers by their rows in all tables, in their order."""
    whole = tables[PROVIDERS].select("npi", text=row_texts(tables[PROVIDERS]))
    # A table without items of theirs changes nothing: so one that is added later does not.
    items = pl.concat(
        rows.select("npi", items=pl.lit(f"{name}:") + row_texts(rows.drop("npi", "position")))
        for name, rows in sorted(tables.items())
        if name != PROVIDERS
    )
    of_npis = items.group_by("npi").agg("items").with_columns(pl.col("items").list.join(""))
    joined = whole.join(of_npis, on="npi", how="left", maintain_order="left")
    texts = joined.select(pl.concat_str("text", "items", ignore_nulls=True)).to_series()
    return whole.select("npi", version=pl.Series(map(version_of_text, texts.to_list()), dtype=pl.String))


def _versions_of_affected(connection: sa.Connection, tables: Tables) -> pl.DataFrame:
    """Each version that the history has of the affected NPIs."""
    known = tables.history
    is_affected = history.is_affected(tables, known)
    rows = connection.execute(sa.select(known.c.npi, known.c.version).where(is_affected)).all()
    return pl.DataFrame(list(rows), schema=_VERSIONS, orient="row")


def _periods_of_affected(
    connection: sa.Connection, tables: Tables, published: PublishedDay, following: dt.date | None
) -> pl.DataFrame:
    """What holds of the affected NPIs from the day up to ``following``; who is not listed is not among them."""
    listed = tables.listed
    columns = (listed.c.npi, listed.c.outcome, listed.c.version)
    rows = connection.execute(sa.select(*columns).where(history.is_affected(tables, listed))).all()
    listed_rows = pl.DataFrame(list(rows), schema=("npi", "outcome", "version"), orient="row")
    period = {"valid_from": pl.lit(published.day), "valid_to": pl.lit(following, dtype=pl.Date)}
    return listed_rows.with_columns(**period).select(pl.col(name).cast(dtype) for name, dtype in _PERIODS.items())


def _put_in(
    connection: sa.Connection, tables: Tables, published: PublishedDay, periods: pl.DataFrame, known: pl.DataFrame
) -> None:
    """Put versions of the day into the history for their ``periods``; of those ``known``, the lists are there."""
    load(connection, tables.history, periods.filter(pl.col("outcome") != _FOUND))
    for frame in published.providers():
        affected = frame.join(periods, on="npi", how="semi", maintain_order="left")
        if affected.is_empty():
            continue
        rows = relational(affected, published.layout)
        providers = rows.pop(PROVIDERS)
        load(connection, tables.history, providers.join(periods, on="npi", maintain_order="left"))
        of_frame = periods.select(*_VERSIONS).unique().join(providers, on="npi", how="semi")
        new = of_frame.join(known, on=[*_VERSIONS], how="anti")
        for name, items in rows.items():
            load(connection, tables.list_history[name], items.join(new, on="npi", maintain_order="left"))


def _replace_outcomes(connection: sa.Connection, tables: Tables, published: PublishedDay) -> None:
    connection.execute(tables.outcomes.delete())
    for frame in published.outcomes():
        load(connection, tables.outcomes, frame.with_columns(day=pl.lit(published.day)))


def _replace_changes(connection: sa.Connection, tables: Tables, published: PublishedDay) -> None:
    connection.execute(tables.changes.delete().where(tables.changes.c.day == published.day))
    compared_with = pl.lit(published.compared_with, dtype=pl.Date)
    for frame in published.changes():
        load(connection, tables.changes, frame.with_columns(day=pl.lit(published.day), compared_with=compared_with))


def _leave(connection: sa.Connection, tables: Tables, receipt: Receipt) -> None:
    deliveries = tables.deliveries
    connection.execute(deliveries.delete().where(deliveries.c.day == receipt.day))
    connection.execute(
        deliveries.insert().values(
            day=receipt.day,
            manifest_sha256=receipt.manifest_sha256,
            changes_sha256=receipt.changes_sha256,
            published_at=receipt.published_at,
            delivered_at=receipt.delivered_at,
            receipt=receipt.to_json().decode(),
        )
    )
