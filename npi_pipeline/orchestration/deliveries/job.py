"""The job of deliveries: one day to one sink or several. Not here: when it is run by itself (``sensor``)."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from npi_pipeline.orchestration.deliveries.assets import asset_key
from npi_pipeline.settings import SinkUrl

JOB_NAME = "npi_deliveries"


def deliveries_job(sinks: Iterable[SinkUrl]) -> dg.UnresolvedAssetJobDefinition:
    """The assets of ``sinks`` and their checks."""
    return dg.define_asset_job(
        JOB_NAME,
        selection=dg.AssetSelection.assets(*(asset_key(sink.name) for sink in sinks)),
        description="Delivers a published day to the sinks of NPI_DELIVER_TO. A sensor runs it for each day that is "
        "published anew; run again, it does nothing that the sinks hold already.",
    )
