"""Reaching a database: from a URL to an engine whose transactions hold, and its errors on one line without a password.

Not here: what is done in it (``sink``).
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from npi_pipeline.delivery.row_digest import digest_of_text
from npi_pipeline.delivery.sink import DeliveryError
from npi_pipeline.settings import SettingsError, SinkUrl

CONNECT_SECONDS = 10
# A database that vanishes without a word is given up after this long.
SILENT_SECONDS = 60
KNOWN = frozenset({"postgresql", "duckdb", "sqlite"})
"""Databases whose own ways are used where they have some; to any other, days are delivered by plain SQL alone."""
_DRIVERS = {"postgresql": "postgresql+psycopg"}
_SERIALIZABLE = "SERIALIZABLE"
_MAX_LINE = 300
_IN_A_FILE = frozenset({"duckdb", "sqlite"})


class Database:
    """One database, and the schema in it (the URL's ``schema``) that is delivered to.

    Raises SettingsError, and ModuleNotFoundError when its client is not installed.
    """

    def __init__(self, sink: SinkUrl) -> None:
        try:
            url = sa.make_url(sink.url)
        except (sa.exc.ArgumentError, ValueError):
            # Not chained: the error names the URL.
            raise SettingsError(
                f"NPI_DELIVER_TO cannot be used: the URL of the sink {sink.name} cannot be read; write / ? # @ : in a "
                "name or password as %2F %3F %23 %40 %3A"
            ) from None
        schema = url.query.get("schema")
        self.schema = schema if isinstance(schema, str) and schema else None
        self.kind = url.get_backend_name()
        self.name = sink.name
        self.place = f"{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}".removeprefix("/")
        if self.kind in _IN_A_FILE and url.database:
            # Of a path SQLAlchemy leaves it as it is.
            url = url.set(database=urllib.parse.unquote(url.database))
        url = url.difference_update_query(["schema"]).set(drivername=_DRIVERS.get(sink.scheme, sink.scheme))
        try:
            self._engine = sa.create_engine(url, poolclass=NullPool, **_options(url))
        except sa.exc.NoSuchModuleError:
            raise ModuleNotFoundError(name=f"SQLAlchemy's dialect {url.drivername}") from None
        if self.kind == "sqlite":
            _make_transactions_whole(self._engine)

    @property
    def is_known(self) -> bool:
        """Whether it is one of KNOWN."""
        return self.kind in KNOWN

    def is_there(self) -> bool:
        """False for a database in a file that is not there: to connect would make it."""
        file = self._engine.url.database
        return self.kind not in _IN_A_FILE or not file or Path(file).exists()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection whose work is committed at the end, or not at all. Raises DeliveryError."""
        with self._told_on_one_line(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _told_on_one_line(self) -> Iterator[None]:
        try:
            yield
        except DeliveryError:
            raise
        except sa.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise self._error(cause, retryable=isinstance(error, _PASSING)) from error
        except Exception as error:
            # Of a client, before SQLAlchemy takes it for its own: as DuckDB says that a file is open elsewhere.
            if type(error).__module__.partition(".")[0] not in {
                "_duckdb",
                self._engine.dialect.loaded_dbapi.__name__.partition(".")[0],
            }:
                raise
            raise self._error(error, retryable=True) from error

    def _error(self, cause: BaseException, *, retryable: bool) -> DeliveryError:
        said = " ".join(str(cause).split())[:_MAX_LINE]
        return DeliveryError(
            f"the sink {self.name} ({self.kind} at {self.place}) says: {type(cause).__name__}: {said}; see that "
            "database, and NPI_DELIVER_TO",
            retryable=retryable,
        )


_PASSING = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError)
_CLIENTS = frozenset({"_duckdb", "duckdb", "psycopg", "sqlite3"})


def is_spoken(scheme: str) -> bool:
    """Whether SQLAlchemy has a dialect for URLs of that scheme, as it is installed, and no asynchronous one."""
    try:
        return not sa.URL.create(scheme).get_dialect().is_async
    except (sa.exc.NoSuchModuleError, sa.exc.ArgumentError):
        return False


def _options(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() not in KNOWN:
        return {"isolation_level": _SERIALIZABLE} if _can_be_serializable(url) else {}
    if url.drivername != _DRIVERS["postgresql"]:
        return {}
    return {
        "connect_args": {
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "npi_pipeline",
            "keepalives_idle": SILENT_SECONDS // 2,
            "tcp_user_timeout": SILENT_SECONDS * 1000,
            # The texts of dates are a part of digests.
            "options": "-c datestyle=ISO,YMD",
        }
    }


def _can_be_serializable(url: sa.URL) -> bool:
    """Whether of two deliveries at once, from different data roots, one can be made to wait, or be refused."""
    try:
        # Which there are, no dialect asks the connection.
        return _SERIALIZABLE in url.get_dialect()().get_isolation_level_values(None)  # type: ignore[arg-type]
    except NotImplementedError:
        return False


def _make_transactions_whole(engine: sa.Engine) -> None:
    """Let SQLite's transactions hold its DDL too, and be the only one from their beginning; and give it the digest."""

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.create_function("npi_row_digest", 1, digest_of_text, deterministic=True)

    @sa.event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
