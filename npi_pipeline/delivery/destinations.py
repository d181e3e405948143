"""Which sink a URL stands for. Not here: how several are written in a setting (``settings.deliveries``)."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import cast

from npi_pipeline.delivery.sink import CLAIMS, DeliveryError, Sink
from npi_pipeline.errors import to_install
from npi_pipeline.settings import SettingsError, SinkUrl

_SQL = "sql.sink"
# By scheme: where the sink is made, and the extra that brings its client.
_MADE_BY = {
    "postgresql": (_SQL, "deliver-postgresql"),
    "duckdb": (_SQL, "deliver-duckdb"),
    "sqlite": (_SQL, None),
    "parquet": ("parquet", None),
    "parquet+s3": ("parquet", None),
    "delta": ("delta", "deliver-delta"),
    "delta+s3": ("delta", "deliver-delta"),
    "kafka": ("kafka", "deliver-kafka"),
    "mongodb": ("mongodb", "deliver-mongodb"),
    "mongodb+srv": ("mongodb", "deliver-mongodb"),
}


def check_destinations(sinks: Iterable[SinkUrl]) -> None:
    """Raise SettingsError for a scheme that no sink knows."""
    for sink in sinks:
        _made_by(sink)


def claims_of(sink: SinkUrl) -> tuple[str, ...]:
    """Which of CLAIMS the sink proves."""
    return tuple(CLAIMS) if _made_by(sink)[0] == _SQL else tuple(CLAIMS)[:2]


def sink_of(sink: SinkUrl) -> Sink:
    """The sink, which is not reached yet. Raises SettingsError, and DeliveryError when its client is not installed."""
    module, extra = _made_by(sink)
    try:
        return cast("Sink", importlib.import_module(f"npi_pipeline.delivery.{module}").sink_at(sink))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("npi_pipeline"):
            raise
        remedy = to_install(extra) if extra else f"pip install the package that has {error.name}"
        raise DeliveryError(f"the sink {sink.name} needs {error.name}, which is not installed: {remedy}") from error


def _made_by(sink: SinkUrl) -> tuple[str, str | None]:
    """The module that makes the sink, and the extra that brings its client. Raises SettingsError."""
    known = _MADE_BY.get(sink.scheme)
    if known is None and not _is_other_database(sink.scheme):
        raise SettingsError(
            f"NPI_DELIVER_TO cannot be used: the sink {sink.name} has the scheme {sink.scheme}, and there are "
            f"{', '.join(_MADE_BY)}, and those of the databases whose SQLAlchemy dialect is installed"
        )
    return known or (_SQL, None)


def _is_other_database(scheme: str) -> bool:
    try:
        from npi_pipeline.delivery.sql.database import is_spoken
    except ModuleNotFoundError:
        return False
    return is_spoken(scheme)
