"""The tables of a database that days are delivered to, as SQLAlchemy knows them. Not here: what fills them.

The newest day delivered is in the plain tables; ``<table>_history`` has every version of every provider.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from npi_pipeline.delivery.sql.database import KNOWN
from npi_pipeline.delivery.sql.relational import PROVIDERS, SqlColumn, list_tables, provider_columns
from npi_pipeline.registries import FORMATS
from npi_pipeline.schema.columns import ColumnType

_MYSQL = ("mysql", "mariadb")


def _key(characters: int) -> sa.types.TypeEngine[str]:
    """A text in a key, which has a longest length where the database wants one."""
    return sa.Unicode(characters).with_variant(sa.String(), *KNOWN)


# As long as it comes, in any language: MySQL's own TEXT ends after 64 KB, and its moments have no microseconds.
_TEXT = sa.UnicodeText().with_variant(mysql.LONGTEXT(), *_MYSQL)
_MOMENT = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), *_MYSQL)
_NPI_TEXT, _FIELD_TEXT, _WORD, _SHA256 = _key(255), _key(400), _key(16), _key(64)
_TYPES: dict[ColumnType, sa.types.TypeEngine[Any]] = {
    ColumnType.string: _TEXT,
    ColumnType.integer: sa.BigInteger(),
    ColumnType.number: sa.Double(),
    ColumnType.boolean: sa.Boolean(),
    ColumnType.date: sa.Date(),
}
# MySQL takes texts for the same that differ in case or accents, unless it is told otherwise.
_OPTIONS: dict[str, Any] = {
    f"{name}_{option}": value
    for name in _MYSQL
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
_NPI = "The NPI, as it stands in the list."
_POSITION = "Where the item stands among the provider's, from 0."
_VERSION = "Tells one content of a provider from any other: the same content has the same version."


@dataclasses.dataclass(frozen=True)
class Tables:
    """All tables of a delivery.

    ``scratch`` ones hold something for the length of a delivery alone: ``listed`` the NPIs of the day with their
    versions, ``affected`` those of them that the history knows otherwise, ``neighbours`` versions before or after it.
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
    neighbours: sa.Table

    @property
    def scratch(self) -> tuple[sa.Table, ...]:
        """Those that are empty between deliveries; where the database is known, they are temporary."""
        return self.listed, self.affected, self.neighbours

    @property
    def lasting(self) -> tuple[sa.Table, ...]:
        """All but the scratch ones."""
        return (
            self.deliveries,
            self.outcomes,
            self.changes,
            self.providers,
            *self.lists.values(),
            self.history,
            *self.list_history.values(),
        )


def tables_in(schema: str | None, *, scratch_is_temporary: bool = True) -> Tables:
    """The tables in that schema of the database, or in its default one."""
    metadata = sa.MetaData(schema=schema)
    layout = FORMATS["nppes"].layout
    columns = provider_columns(layout)
    lists = list_tables(layout)

    def table(name: str, comment: str, *parts: sa.schema.SchemaItem) -> sa.Table:
        made: sa.Table = sa.Table(name, metadata, *parts, comment=comment, **_OPTIONS)
        # DuckDB writes the index of a key anew with each checkpoint: a day with few changes would take twice as long.
        made.primary_key.ddl_if(callable_=_is_not_duckdb)
        return made

    def scratch(name: str, *parts: sa.schema.SchemaItem) -> sa.Table:
        npi = sa.Column("npi", _NPI_TEXT, primary_key=True)
        if scratch_is_temporary:
            return sa.Table(name, sa.MetaData(), npi, *parts, prefixes=["TEMPORARY"])
        return table(name, "Empty between deliveries.", npi, *parts)

    return Tables(
        metadata=metadata,
        deliveries=table(
            "deliveries",
            "Which publication of which day is in these tables: one row per day delivered.",
            sa.Column("day", sa.Date, primary_key=True, comment="The day."),
            sa.Column("manifest_sha256", _SHA256, nullable=False, comment="The SHA-256 of the day's manifest."),
            sa.Column("changes_sha256", _SHA256, nullable=False, comment="The SHA-256 of the file of its changes."),
            _moment("published_at", "When the day was published (UTC)."),
            _moment("delivered_at", "When it was delivered (UTC)."),
            sa.Column(
                "receipt", _TEXT, nullable=False, comment="The receipt as JSON, with the rows of the day by table."
            ),
        ),
        outcomes=table(
            "outcomes",
            "What became of each NPI of the list, on the newest day delivered.",
            sa.Column("npi", _NPI_TEXT, primary_key=True, comment=_NPI),
            sa.Column("day", sa.Date, nullable=False, comment="The newest day delivered."),
            sa.Column("outcome", _WORD, nullable=False, comment="found, not_found, deactivated, invalid or failed."),
            sa.Column("reason", _TEXT, comment="Why it is not found."),
            sa.Column("retryable", sa.Boolean, comment="Of a failed one: whether asking again may help."),
            sa.Column("status", sa.Integer, comment="The HTTP status of the last answer."),
            sa.Column("attempts", sa.Integer, comment="How often it was asked for."),
            _moment("fetched_at", "When the registry answered (UTC).", nullable=True),
        ),
        changes=table(
            "changes",
            "What changed from the complete day before, on every day delivered.",
            sa.Column("day", sa.Date, primary_key=True, comment="The day."),
            sa.Column("npi", _NPI_TEXT, primary_key=True, comment=_NPI),
            sa.Column("change", _WORD, primary_key=True, comment="joined, left, outcome or field."),
            sa.Column(
                "field", _FIELD_TEXT, primary_key=True, comment="Which field changed: a column of the state files."
            ),
            sa.Column("old", _TEXT, comment="What it was."),
            sa.Column("new", _TEXT, comment="What it is."),
            sa.Column("compared_with", sa.Date, comment="The complete day before."),
        ),
        providers=table(
            PROVIDERS,
            "The providers found on the newest day delivered: one row per NPI.",
            sa.Column("npi", _NPI_TEXT, primary_key=True, comment=_NPI),
            sa.Column(
                "valid_from", sa.Date, nullable=False, comment="Since which day delivered it has been like this."
            ),
            sa.Column("version", _WORD, nullable=False, comment=_VERSION),
            *_of(columns),
        ),
        lists={
            one.name: table(
                one.name,
                f"{one.description} On the newest day delivered.",
                sa.Column("npi", _NPI_TEXT, primary_key=True, comment=_NPI),
                sa.Column("position", sa.Integer, primary_key=True, autoincrement=False, comment=_POSITION),
                *_of(one.columns),
            )
            for one in lists
        },
        history=table(
            f"{PROVIDERS}_history",
            "What was known of each NPI of the list from day to day: one row per version. As of a day: "
            "valid_from <= day and (valid_to is null or valid_to > day).",
            sa.Column("npi", _NPI_TEXT, primary_key=True, comment=_NPI),
            sa.Column("valid_from", sa.Date, primary_key=True, comment="The first day delivered of which it is known."),
            sa.Column("valid_to", sa.Date, comment="The first day delivered on which it is otherwise; null: still so."),
            sa.Column("outcome", _WORD, nullable=False, comment="found, not_found, deactivated, invalid or failed."),
            sa.Column("version", _WORD, nullable=False, comment=_VERSION),
            *_of(columns),
        ),
        list_history={
            one.name: table(
                f"{one.name}_history",
                f"{one.description} Of every version of {PROVIDERS}_history.",
                sa.Column("npi", _NPI_TEXT, primary_key=True, comment=_NPI),
                sa.Column("version", _WORD, primary_key=True, comment="The version of the provider."),
                sa.Column("position", sa.Integer, primary_key=True, autoincrement=False, comment=_POSITION),
                *_of(one.columns),
            )
            for one in lists
        },
        listed=scratch("npi_listed", sa.Column("outcome", _WORD), sa.Column("version", _WORD)),
        affected=scratch("npi_affected"),
        neighbours=scratch(
            "npi_neighbours", sa.Column("version", _WORD, primary_key=True), sa.Column("valid_to", sa.Date)
        ),
    )


def _is_not_duckdb(*_of_the_ddl: object, dialect: sa.Dialect, **_others: object) -> bool:
    return dialect.name != "duckdb"


def _moment(name: str, comment: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, _MOMENT, nullable=nullable, comment=comment)


def _of(columns: Iterable[SqlColumn]) -> list[sa.Column[object]]:
    return [sa.Column(column.name, _TYPES[column.type], comment=column.description) for column in columns]
