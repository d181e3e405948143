"""Removing Dagster's runs of long ago with all of their events, so that its storage does not grow for ever.

A run stays while what the UI shows of a day rests on it: it made the last materialisation of a partition, or was the
last that was to make one. Not here: what is removed of a day's own files (``npi_pipeline.retention``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import dagster as dg

from npi_pipeline.orchestration.dagster_internals import REPOSITORY_LABEL_TAG, SqliteEventLogStorage

_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_OF_A_DAY = (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
_AT_A_TIME = 500


def remove_old_runs(
    instance: dg.DagsterInstance,
    code_locations: Collection[str],
    is_ours: Callable[[dg.DagsterRun], bool],
    before: dt.datetime,
    kept_since: dt.date = dt.date.min,
    *,
    dry_run: bool = False,
) -> int:
    """Remove those of the runs of ``code_locations`` that are ours and ended ``before`` a moment; how many.

    With them go their events and logs. Of days before ``kept_since`` those go, too, by which the day counts as
    materialised: it is missing then.
    """
    needed = _runs_that_days_rest_on(instance, kept_since)
    ended = _ended_before(instance, code_locations, before)
    old = [run.run_id for run in ended if is_ours(run) and run.run_id not in needed]
    if not dry_run:
        for run_id in old:
            _remove(instance, run_id)
    return len(old)


def _ended_before(
    instance: dg.DagsterInstance, code_locations: Collection[str], before: dt.datetime
) -> Iterator[dg.DagsterRun]:
    """The runs that ended before a moment, the newest first."""
    of_ours = dg.RunsFilter(statuses=_ENDED, tags={REPOSITORY_LABEL_TAG: list(code_locations)}, created_before=before)
    cursor = None
    while records := instance.get_run_records(of_ours, limit=_AT_A_TIME, cursor=cursor):
        for record in records:
            if (record.end_time or record.create_timestamp.timestamp()) < before.timestamp():
                yield record.dagster_run
        cursor = records[-1].dagster_run.run_id


def _runs_that_days_rest_on(instance: dg.DagsterInstance, kept_since: dt.date) -> set[str]:
    """A few queries for each asset, however many days and runs there are."""
    storage, runs = instance.event_log_storage, set[str]()
    for asset, event_type in itertools.product(instance.get_asset_keys(), _OF_A_DAY):
        last = storage.get_latest_storage_id_by_partition(asset, event_type)
        events = [event for partition, event in last.items() if not _is_day_before(partition, kept_since)]
        for start in range(0, len(events), _AT_A_TIME):
            these = dg.EventRecordsFilter(event_type, asset, storage_ids=events[start : start + _AT_A_TIME])
            runs |= {record.run_id for record in storage.get_event_records(these)}
    return runs


def _is_day_before(partition: str, date: dt.date) -> bool:
    with contextlib.suppress(ValueError):
        return dt.date.fromisoformat(partition) < date
    return False


def _remove(instance: dg.DagsterInstance, run_id: str) -> None:
    """The run last of all: killed in between, the next call finds it again."""
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.delete_run(run_id)
    if isinstance(instance.event_log_storage, SqliteEventLogStorage):
        # It empties the file of the run's events, and leaves it as large as it was.
        events = Path(instance.event_log_storage.path_for_shard(run_id))
        for file in events.parent.glob(f"{events.name}*"):
            file.unlink(missing_ok=True)
