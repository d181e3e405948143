"""What an asset downstream gets when it names one of ours as an argument: the table of its days, as a LazyFrame.

Our own assets hand on files and no values; this reads them, and writes nothing. Not here: the reading (``scans``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import polars as pl

from npi_pipeline.orchestration.assets.conventions import one_line_failures
from npi_pipeline.scans import scan_changes, scan_outcomes, scan_providers

TABLES = "npi_tables"
"""The IO manager's key, in our own definitions and in those of a project downstream."""

_SCANS: Mapping[str, Callable[..., pl.LazyFrame]] = {
    "npi_records": scan_outcomes,
    "provider_changes": scan_changes,
    "providers": scan_providers,
}


class TableIOManager(dg.ConfigurableIOManager):
    """Gives ``npi_records``, ``providers`` and ``provider_changes`` to an asset downstream; it writes nothing.

    ``data_root`` is that of the pipeline: a folder or ``s3://bucket/prefix``. An argument annotated as
    ``pl.DataFrame`` is collected; any other is a LazyFrame.
    """

    data_root: str

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Accept nothing: what our assets make lies in their files."""
        if obj is not None:
            raise dg.Failure(f"{TABLES} only reads: give {context.asset_key.to_user_string()} an IO manager of its own")

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame | pl.DataFrame:
        """The table of the input's day; of several days those that are there. Raises a Failure with one line."""
        name = context.asset_key.path[-1]
        if name not in _SCANS:
            raise dg.Failure(
                f"{name} is no table, as are {', '.join(_SCANS)}: name it in deps and read its files yourself",
                allow_retries=False,
            )
        days = sorted(context.asset_partition_keys)
        with one_line_failures():
            frame = _SCANS[name](self.data_root, days if len(days) == 1 else (days[0], days[-1]))
            return frame.collect() if context.dagster_type.typing_type is pl.DataFrame else frame


@dg.io_manager(required_resource_keys={"day_storage"})
def table_io_manager(context: dg.InitResourceContext) -> TableIOManager:
    """The IO manager of our own definitions: it reads below the data root that the run's ``day_storage`` has."""
    return TableIOManager(data_root=context.resources.day_storage.data_root)
