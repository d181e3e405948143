"""The tables of a database that days are delivered to, as SQLAlchemy knows them. Not here: what fills them.

The newest day delivered is in the plain tables; ``<table>_history`` has every version of every provider.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from npi_pipeline.delivery.sql.relational import PROVIDERS, SqlColumn, list_tables, provider_columns
from npi_pipeline.registries import FORMATS
from npi_pipeline.schema.columns import ColumnType

_TYPES: dict[ColumnType, type[sa.types.TypeEngine[Any]]] = {
    ColumnType.string: sa.Text,
    ColumnType.integer: sa.BigInteger,
    ColumnType.number: sa.Double,
    ColumnType.boolean: sa.Boolean,
    ColumnType.date: sa.Date,
}
_NPI = "The NPI, as it stands in the list."
_POSITION = "Where the item stands among the provider's, from 0."
_VERSION = "Tells one content of a provider from any other: the same content has the same version."


@dataclasses.dataclass(frozen=True)
class Tables:
    """All tables of a delivery.

    ``listed`` and ``affected`` are temporary: the NPIs of the day that is delivered with their versions, and those of
    them that the history knows otherwise.
    """

    metadata: sa.MetaData
    deliveries: sa.Table
    outcomes: sa.Table
    changes: sa.Table
    providers: sa.Table
    lists: dict[str, sa.Table]
    history: sa.Table
    list_history: dict[str, sa.Table]
    listed: sa.Table
    affected: sa.Table

    @property
    def lasting(self) -> tuple[sa.Table, ...]:
        """All but the temporary ones."""
        return (
            self.deliveries,
            self.outcomes,
            self.changes,
            self.providers,
            *self.lists.values(),
            self.history,
            *self.list_history.values(),
        )


def tables_in(schema: str | None) -> Tables:
    """The tables in that schema of the database, or in its default one."""
    metadata = sa.MetaData(schema=schema)
    layout = FORMATS["nppes"].layout
    columns = provider_columns(layout)
    lists = list_tables(layout)

    def table(name: str, comment: str, *parts: sa.schema.SchemaItem) -> sa.Table:
        made = sa.Table(name, metadata, *parts, comment=comment)
        # DuckDB writes the index of a key anew with each checkpoint: a day with few changes would take twice as long.
        made.primary_key.ddl_if(callable_=_is_not_duckdb)
        return made

    return Tables(
        metadata=metadata,
        deliveries=table(
            "deliveries",
            "Which publication of which day is in these tables: one row per day delivered.",
            sa.Column("day", sa.Date, primary_key=True, comment="The day."),
            sa.Column("manifest_sha256", sa.String, nullable=False, comment="The SHA-256 of the day's manifest."),
            sa.Column("changes_sha256", sa.String, nullable=False, comment="The SHA-256 of the file of its changes."),
            _moment("published_at", "When the day was published (UTC)."),
            _moment("delivered_at", "When it was delivered (UTC)."),
            sa.Column(
                "receipt", sa.Text, nullable=False, comment="The receipt as JSON, with the rows of the day by table."
            ),
        ),
        outcomes=table(
            "outcomes",
            "What became of each NPI of the list, on the newest day delivered.",
            sa.Column("npi", sa.String, primary_key=True, comment=_NPI),
            sa.Column("day", sa.Date, nullable=False, comment="The newest day delivered."),
            sa.Column(
                "outcome", sa.String, nullable=False, comment="found, not_found, deactivated, invalid or failed."
            ),
            sa.Column("reason", sa.Text, comment="Why it is not found."),
            sa.Column("retryable", sa.Boolean, comment="Of a failed one: whether asking again may help."),
            sa.Column("status", sa.Integer, comment="The HTTP status of the last answer."),
            sa.Column("attempts", sa.Integer, comment="How often it was asked for."),
            _moment("fetched_at", "When the registry answered (UTC).", nullable=True),
        ),
        changes=table(
            "changes",
            "What changed from the complete day before, on every day delivered.",
            sa.Column("day", sa.Date, primary_key=True, comment="The day."),
            sa.Column("npi", sa.String, primary_key=True, comment=_NPI),
            sa.Column("change", sa.String, primary_key=True, comment="joined, left, outcome or field."),
            sa.Column(
                "field", sa.String, primary_key=True, comment="Which field changed: a column of the state files."
            ),
            sa.Column("old", sa.Text, comment="What it was."),
            sa.Column("new", sa.Text, comment="What it is."),
            sa.Column("compared_with", sa.Date, comment="The complete day before."),
        ),
        providers=table(
            PROVIDERS,
            "The providers found on the newest day delivered: one row per NPI.",
            sa.Column("npi", sa.String, primary_key=True, comment=_NPI),
            sa.Column(
                "valid_from", sa.Date, nullable=False, comment="Since which day delivered it has been like this."
            ),
            sa.Column("version", sa.String, nullable=False, comment=_VERSION),
            *_of(columns),
        ),
        lists={
            one.name: table(
                one.name,
                f"{one.description} On the newest day delivered.",
                sa.Column("npi", sa.String, primary_key=True, comment=_NPI),
                sa.Column("position", sa.Integer, primary_key=True, autoincrement=False, comment=_POSITION),
                *_of(one.columns),
            )
            for one in lists
        },
        history=table(
            f"{PROVIDERS}_history",
            "What was known of each NPI of the list from day to day: one row per version. As of a day: "
            "valid_from <= day and (valid_to is null or valid_to > day).",
            sa.Column("npi", sa.String, primary_key=True, comment=_NPI),
            sa.Column("valid_from", sa.Date, primary_key=True, comment="The first day delivered of which it is known."),
            sa.Column("valid_to", sa.Date, comment="The first day delivered on which it is otherwise; null: still so."),
            sa.Column(
                "outcome", sa.String, nullable=False, comment="found, not_found, deactivated, invalid or failed."
            ),
            sa.Column("version", sa.String, nullable=False, comment=_VERSION),
            *_of(columns),
        ),
        list_history={
            one.name: table(
                f"{one.name}_history",
                f"{one.description} Of every version of {PROVIDERS}_history.",
                sa.Column("npi", sa.String, primary_key=True, comment=_NPI),
                sa.Column("version", sa.String, primary_key=True, comment="The version of the provider."),
                sa.Column("position", sa.Integer, primary_key=True, autoincrement=False, comment=_POSITION),
                *_of(one.columns),
            )
            for one in lists
        },
        listed=_temporary("npi_listed", sa.Column("outcome", sa.String), sa.Column("version", sa.String)),
        affected=_temporary("npi_affected"),
    )


def _is_not_duckdb(*_of_the_ddl: object, dialect: sa.Dialect, **_others: object) -> bool:
    return dialect.name != "duckdb"


def _temporary(name: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(
        name, sa.MetaData(), sa.Column("npi", sa.String, primary_key=True), *columns, prefixes=["TEMPORARY"]
    )


def _moment(name: str, comment: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, comment=comment)


def _of(columns: Iterable[SqlColumn]) -> list[sa.Column[object]]:
    return [sa.Column(column.name, _TYPES[column.type], comment=column.description) for column in columns]
