"""The steps of one delivery to a database, within its transaction. Not here: the transaction (``sink``)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping

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


def deliver_day(connection: sa.Connection, tables: Tables, published: PublishedDay) -> Receipt:
    """Make the tables hold the day, with its receipt. One that they hold already is put in anew, every row of it."""
    _make_tables(connection, tables)
    following = _next_delivered(connection, tables, published.day)
    rows = _list_npis(connection, tables, published)
    history.note_affected(connection, tables, published.day)
    # Before anything is cut out: of a version that is known, the items of its lists are there already.
    known = _versions_of_affected(connection, tables)
    history.cut_out(connection, tables, published.day, following)
    _put_in(connection, tables, published, _periods_of_affected(connection, tables, published, following), known)
    history.join_neighbours(connection, tables, published.day, following)
    if _is_held(connection, tables, published):
        periods = pl.DataFrame(history.take_out_listed(connection, tables), schema=_PERIODS, orient="row")
        _put_in(connection, tables, published, periods, pl.DataFrame(schema=_VERSIONS))
    history.drop_unused_lists(connection, tables)
    history.refresh_newest(connection, tables)
    if following is None:
        _replace_outcomes(connection, tables, published)
    _replace_changes(connection, tables, published)
    receipt = Receipt.of(published, {**published.rows, **rows})
    _leave(connection, tables, receipt)
    return receipt


def read_receipts(connection: sa.Connection, tables: Tables) -> Iterator[Receipt]:
    """The receipts of all days that the tables hold."""
    deliveries = tables.deliveries
    if sa.inspect(connection).has_table(deliveries.name, schema=deliveries.schema):
        yield from map(Receipt.from_json, connection.scalars(sa.select(deliveries.c.receipt)).all())


def _is_held(connection: sa.Connection, tables: Tables, published: PublishedDay) -> bool:
    return any(receipt.is_of(published) for receipt in read_receipts(connection, tables))


def _make_tables(connection: sa.Connection, tables: Tables) -> None:
    if tables.metadata.schema:
        connection.execute(sa.schema.CreateSchema(tables.metadata.schema, if_not_exists=True))
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
                connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {clause}")
    if connection.dialect.name == "postgresql":
        # One delivery at a time, whoever else delivers, from another data root; the others lock their file.
        name = connection.dialect.identifier_preparer.format_table(tables.deliveries)
        connection.exec_driver_sql(f"LOCK TABLE {name} IN EXCLUSIVE MODE")
    for temporary in (tables.listed, tables.affected):
        temporary.create(connection)


def _next_delivered(connection: sa.Connection, tables: Tables, day: dt.date) -> dt.date | None:
    """The first day after ``day`` that the database holds."""
    days = tables.deliveries.c.day
    return next(iter(connection.scalars(sa.select(days).where(days > day).order_by(days).limit(1)).all()), None)


def _list_npis(connection: sa.Connection, tables: Tables, published: PublishedDay) -> Counter[str]:
    """Fill ``listed`` with every NPI of the list; how many rows of providers each table has of the day."""
    counts: Counter[str] = Counter()
    for frame in published.providers():
        of_tables = relational(frame, published.layout)
        counts.update({table: rows.height for table, rows in of_tables.items()})
        load(connection, tables.listed, _versions(of_tables))
    for frame in published.outcomes():
        others = frame.filter(pl.col("outcome") != _FOUND)
        load(connection, tables.listed, others.select("npi", "outcome", version="outcome"))
    return counts


def _versions(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """``npi``, ``outcome`` and ``version`` of providers by their rows in all tables."""
    texts = {name: rows.select("npi", text=row_texts(rows)) for name, rows in tables.items()}
    whole = texts.pop(PROVIDERS)
    for name in sorted(texts):
        items = texts[name].group_by("npi").agg(items=pl.lit(f"{name}:") + pl.col("text").str.join(""))
        joined = whole.join(items, on="npi", how="left", maintain_order="left")
        # A table without items of theirs changes nothing: so one that is added later does not.
        whole = joined.select("npi", text=pl.concat_str("text", pl.col("items").fill_null("")))
    versions = pl.Series("version", list(map(version_of_text, whole["text"])), dtype=pl.String)
    return whole.select("npi", pl.lit(_FOUND).alias("outcome"), versions)


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
