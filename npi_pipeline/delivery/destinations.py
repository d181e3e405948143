"""Which sink a URL stands for. Not here: how several are written in a setting (``settings.deliveries``)."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import cast

from npi_pipeline.delivery.sink import CLAIMS, DeliveryError, Sink
from npi_pipeline.settings import SettingsError, SinkUrl

# By scheme: where the sink is made, and the extra that brings its client.
_MADE_BY = {
    "postgresql": ("sql.sink", "deliver-postgresql"),
    "duckdb": ("sql.sink", "deliver-duckdb"),
    "sqlite": ("sql.sink", None),
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
        if sink.scheme not in _MADE_BY:
            raise SettingsError(
                f"NPI_DELIVER_TO cannot be used: the sink {sink.name} has the scheme {sink.scheme}, and there are "
                f"{', '.join(_MADE_BY)}"
            )


def claims_of(sink: SinkUrl) -> tuple[str, ...]:
    """Which of CLAIMS the sink proves."""
    return tuple(CLAIMS) if _MADE_BY[sink.scheme][0].startswith("sql.") else tuple(CLAIMS)[:2]


def sink_of(sink: SinkUrl) -> Sink:
    """The sink, which is not reached yet. Raises SettingsError, and DeliveryError when its client is not installed."""
    check_destinations([sink])
    module, extra = _MADE_BY[sink.scheme]
    try:
        made_by = importlib.import_module(f"npi_pipeline.delivery.{module}")
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").startswith("npi_pipeline"):
            raise
        raise DeliveryError(
            f"the sink {sink.name} needs {error.name}, which is not installed: pip install 'npi-pipeline[{extra}]'"
        ) from error
    return cast("Sink", made_by.sink_at(sink))
