"""The days: one partition a UTC day. Not here: which days are asked for by themselves (``schedules``)."""

from __future__ import annotations

import datetime as dt

import dagster as dg


def daily_partitions(start_date: dt.date) -> dg.DailyPartitionsDefinition:
    """The days from ``start_date`` up to and including today: a list is published and processed on its day."""
    return dg.DailyPartitionsDefinition(start_date=start_date.isoformat(), timezone="UTC", end_offset=1)


def day_of(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> dt.date:
    """The one day that a step is about. Raises a Failure for a run over several: one that fails would fail them all."""
    if len(context.partition_keys) > 1:
        raise dg.Failure(
            f"this run is over {len(context.partition_keys)} days, and a run is one day's: launch them as a backfill, "
            "which makes a run for each",
            allow_retries=False,
        )
    return dt.date.fromisoformat(context.partition_key)
