"""Asking an instance for a backfill, as the UI does. Not here: the daemon that carries it out (``deployment``)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import dagster as dg
from dagster._core.execution.backfill import PartitionBackfill


def add_asset_backfill(instance: dg.DagsterInstance, definitions: dg.Definitions, days: Sequence[str]) -> str:
    """Ask for all assets of ``days``; the backfill's id."""
    graph = definitions.resolve_asset_graph()
    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id=uuid.uuid4().hex[:8],
        asset_graph=graph,
        partition_names=list(days),
        asset_selection=list(graph.materializable_asset_keys),
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id
