"""Which deliveries are due: days that are published otherwise than they were delivered last, by Dagster's own record.

The sink is not asked: it may be down. Not here: what a sink really holds (``delivery.delivery_status``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import dagster as dg

from npi_pipeline.delivery.sink import PublicationKey
from npi_pipeline.orchestration.deliveries.assets import PUBLICATION, as_metadata, asset_key
from npi_pipeline.orchestration.deliveries.job import JOB_NAME
from npi_pipeline.orchestration.monitoring.day_runs import IN_FLIGHT, PARTITION_TAG

FIRST_WAIT = dt.timedelta(minutes=15)
LONGEST_WAIT = dt.timedelta(hours=4)


def due_deliveries(
    instance: dg.DagsterInstance, name: str, published: Mapping[dt.date, PublicationKey], now: dt.datetime
) -> list[dt.date]:
    """The days of ``published`` (with the digests of manifest and changes) that the sink called ``name`` lacks.

    While deliveries fail, one day alone is due (the newest), after a wait that doubles from FIRST_WAIT to LONGEST_WAIT
    with each failure in a row: the sink is down, and it is caught up when it is back. Newest first.
    """
    runs = _runs(instance, name, published)
    at_work = {run.tags[PARTITION_TAG] for run in runs if run.status in IN_FLIGHT}
    delivered = _delivered(instance, name, published)
    due = sorted(
        (
            day
            for day, key in published.items()
            if delivered.get(day) != as_metadata(key) and day.isoformat() not in at_work
        ),
        reverse=True,
    )
    failures = _failures_in_a_row(instance, runs)
    if not failures or not due:
        return due
    wait = min(FIRST_WAIT * 2 ** (len(failures) - 1), LONGEST_WAIT)
    return due[:1] if not at_work and now >= failures[0] + wait else []


def _runs(instance: dg.DagsterInstance, name: str, days: Mapping[dt.date, object]) -> Sequence[dg.DagsterRun]:
    """The runs that were to deliver some of ``days`` to the sink, newest first."""
    if not days:
        return []
    tags = {PARTITION_TAG: [day.isoformat() for day in days]}
    runs = instance.get_runs(dg.RunsFilter(tags=tags))
    return [run for run in runs if _is_of(run, name)]


def _is_of(run: dg.DagsterRun, name: str) -> bool:
    if run.asset_selection:
        return asset_key(name) in run.asset_selection
    return run.job_name == JOB_NAME


def _delivered(instance: dg.DagsterInstance, name: str, days: Mapping[dt.date, object]) -> dict[dt.date, str]:
    """Which publication of each of ``days`` was delivered last."""
    partitions = [day.isoformat() for day in days]
    if not partitions:
        return {}
    filter_ = dg.AssetRecordsFilter(asset_key=asset_key(name), asset_partitions=partitions)
    delivered: dict[dt.date, str] = {}
    # The newest comes first.
    for record in instance.fetch_materializations(filter_, limit=len(partitions) * 20).records:
        materialization = record.asset_materialization
        if materialization is None or record.partition_key is None:
            continue
        day = dt.date.fromisoformat(record.partition_key)
        said = materialization.metadata.get(PUBLICATION)
        if day not in delivered and said is not None:
            delivered[day] = str(said.value)
    return delivered


def _failures_in_a_row(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun]) -> list[dt.datetime]:
    """When the newest runs that ended failed, newest first, up to the first that did not."""
    failures = []
    for run in runs:
        if run.status is dg.DagsterRunStatus.FAILURE:
            record = instance.get_run_record_by_id(run.run_id)
            ended = record.end_time if record else None
            failures.append(dt.datetime.fromtimestamp(ended or 0, dt.timezone.utc))
        elif run.status in {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED}:
            break
    return failures
