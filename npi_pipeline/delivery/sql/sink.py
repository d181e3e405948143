"""A database as a sink: one transaction per delivery, proven from its own tables. See docs/deliveries.md.

Not here: the history's law (``history``), and how a database is reached (``database``).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import polars as pl
import sqlalchemy as sa

from npi_pipeline.delivery.published_day import PublishedDay
from npi_pipeline.delivery.row_digest import digest_of_texts, row_texts, version_of_text
from npi_pipeline.delivery.sink import Receipt, receipt_finding
from npi_pipeline.delivery.sql import history
from npi_pipeline.delivery.sql.database import Database
from npi_pipeline.delivery.sql.digests import rows_and_digests_on
from npi_pipeline.delivery.sql.loading import load
from npi_pipeline.delivery.sql.proofs import history_finding, rows_finding
from npi_pipeline.delivery.sql.relational import PROVIDERS, relational
from npi_pipeline.delivery.sql.tables import Tables, tables_in
from npi_pipeline.findings import Finding
from npi_pipeline.outcomes import Outcome
from npi_pipeline.settings import SinkUrl


def sink_at(sink: SinkUrl) -> SqlSink:
    """The database at the sink's URL, which is not reached yet. Raises SettingsError."""
    return SqlSink(Database(sink))


class SqlSink:
    """A database: its tables are made, and get the columns that they lack, with the first delivery."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tables = tables_in(database.schema)

    @property
    def name(self) -> str:
        """What it is called in the settings."""
        return self._database.name

    @property
    def place(self) -> str:
        """Host, port and database."""
        return self._database.place

    def receipts(self) -> Mapping[dt.date, Receipt]:
        """The receipts of all days that it holds. Raises DeliveryError."""
        deliveries = self._tables.deliveries
        with self._database.transaction() as connection:
            if not sa.inspect(connection).has_table(deliveries.name, schema=deliveries.schema):
                return {}
            texts = connection.scalars(sa.select(deliveries.c.receipt)).all()
        receipts = map(Receipt.from_json, texts)
        return {receipt.day: receipt for receipt in receipts}

    def deliver(self, published: PublishedDay, ensure_current: Callable[[], None]) -> Receipt:
        """Deliver the day, in one transaction. Raises DeliveryError."""
        tables, day = self._tables, published.day
        with self._database.transaction() as connection:
            _make_tables(connection, tables)
            following = _next_delivered(connection, tables, day)
            content = _Content()
            _list_npis(connection, tables, published, content)
            history.note_affected(connection, tables, day)
            # Before anything is cut out: of a version that is known, the list items are there already.
            known = _known_versions(connection, tables)
            history.cut_out(connection, tables, day, following)
            _put_in(connection, tables, published, following, known)
            history.join_neighbours(connection, tables, day, following)
            history.drop_unused_lists(connection, tables)
            history.refresh_newest(connection, tables)
            if following is None:
                _replace_outcomes(connection, tables, published)
            _replace_changes(connection, tables, published, content)
            receipt = Receipt.of(published, content.rows, content.digests())
            _leave(connection, tables, receipt)
            ensure_current()
        return receipt

    def findings(self, published: PublishedDay) -> Iterator[tuple[str, Finding]]:
        """All claims; counts and digests are computed in the database. Raises DeliveryError."""
        content = _content_of(published)
        receipts = self.receipts()
        receipt = receipts.get(published.day)
        yield "receipt_is_of_the_publication", receipt_finding(receipt, published, content.rows)
        if receipt is None:
            return
        with self._database.transaction() as connection:
            counts, digests = rows_and_digests_on(connection, self._tables, published.day)
            whole = history_finding(connection, self._tables, receipts)
        yield "rows_agree", rows_finding(published.day, content.rows, content.sums, counts, digests)
        yield "history_is_whole", whole


class _Content:
    """How many rows each table should have of the day, and their digest, as they pass."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.sums: Counter[str] = Counter()

    def add(self, table: str, texts: pl.Series) -> None:
        self.rows[table] += len(texts)
        self.sums[table] += digest_of_texts(texts)

    def digests(self) -> dict[str, str]:
        return {table: str(total) for table, total in self.sums.items()}


def _content_of(published: PublishedDay) -> _Content:
    content = _Content()
    for frame in published.providers():
        for table, rows in relational(frame, published.layout).items():
            content.add(table, row_texts(rows))
    for frame in published.outcomes():
        content.add("outcomes", row_texts(frame.select("npi", "outcome")))
    for frame in published.changes():
        content.add("changes", row_texts(frame))
    return content


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


def _list_npis(connection: sa.Connection, tables: Tables, published: PublishedDay, content: _Content) -> None:
    """Fill ``listed`` with every NPI of the list, and take note of what the day holds."""
    for frame in published.providers():
        load(connection, tables.listed, _versions(relational(frame, published.layout), content))
    found = Outcome.found.value
    for frame in published.outcomes():
        outcomes = frame.select("npi", "outcome")
        content.add("outcomes", row_texts(outcomes))
        load(connection, tables.listed, outcomes.filter(pl.col("outcome") != found).with_columns(version="outcome"))


def _versions(tables: Mapping[str, pl.DataFrame], content: _Content | None = None) -> pl.DataFrame:
    """``npi``, ``outcome`` and ``version`` of providers by their rows in all tables."""
    texts = {name: rows.select("npi", text=row_texts(rows)) for name, rows in tables.items()}
    if content:
        for name, rows in texts.items():
            content.add(name, rows["text"])
    whole = texts.pop(PROVIDERS)
    for name in sorted(texts):
        items = texts[name].group_by("npi").agg(items=pl.lit(f"{name}:") + pl.col("text").str.join(""))
        joined = whole.join(items, on="npi", how="left", maintain_order="left")
        # A table without items of theirs changes nothing: so one that is added later does not.
        whole = joined.select("npi", text=pl.concat_str("text", pl.col("items").fill_null("")))
    versions = pl.Series("version", list(map(version_of_text, whole["text"])), dtype=pl.String)
    return whole.select("npi", pl.lit(Outcome.found.value).alias("outcome"), versions)


def _known_versions(connection: sa.Connection, tables: Tables) -> pl.DataFrame:
    known = tables.history.c
    rows = connection.execute(
        sa.select(known.npi, known.version).where(known.npi.in_(sa.select(tables.affected.c.npi)))
    ).all()
    return pl.DataFrame([tuple(row) for row in rows], schema={"npi": pl.String, "version": pl.String}, orient="row")


def _put_in(
    connection: sa.Connection,
    tables: Tables,
    published: PublishedDay,
    following: dt.date | None,
    known: pl.DataFrame,
) -> None:
    """Put in what holds of the affected NPIs from the day up to ``following``."""
    npis = pl.DataFrame({"npi": connection.scalars(sa.select(tables.affected.c.npi)).all()}, schema={"npi": pl.String})
    period = {"valid_from": pl.lit(published.day), "valid_to": pl.lit(following, dtype=pl.Date)}
    for frame in published.providers():
        affected = frame.join(npis, on="npi", how="semi", maintain_order="left")
        if affected.is_empty():
            continue
        rows = relational(affected, published.layout)
        versions = _versions(rows)
        providers = rows.pop(PROVIDERS).join(versions, on="npi", maintain_order="left")
        load(connection, tables.history, providers.with_columns(**period))
        new = versions.join(known, on=["npi", "version"], how="anti").select("npi", "version")
        for name, items in rows.items():
            load(connection, tables.list_history[name], items.join(new, on="npi", maintain_order="left"))
    found = Outcome.found.value
    for frame in published.outcomes():
        others = frame.select("npi", "outcome", version="outcome").filter(pl.col("outcome") != found)
        affected = others.join(npis, on="npi", how="semi", maintain_order="left")
        load(connection, tables.history, affected.with_columns(**period))


def _replace_outcomes(connection: sa.Connection, tables: Tables, published: PublishedDay) -> None:
    connection.execute(tables.outcomes.delete())
    for frame in published.outcomes():
        load(connection, tables.outcomes, frame.with_columns(day=pl.lit(published.day)))


def _replace_changes(connection: sa.Connection, tables: Tables, published: PublishedDay, content: _Content) -> None:
    connection.execute(tables.changes.delete().where(tables.changes.c.day == published.day))
    other = published.kept_changes.compared_with
    compared_with = pl.lit(other.day if other else None, dtype=pl.Date)
    for frame in published.changes():
        content.add("changes", row_texts(frame))
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
