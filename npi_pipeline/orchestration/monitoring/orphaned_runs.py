"""Runs whose process is gone though Dagster takes them for running: killed with its code server, or by a restart.

Dagster notices when a run's process dies and its code server lives. When both die (the machine restarts, a container
is replaced), 1.13's default launcher never looks again: the run counts as running for ever, and keeps its place in the
queue and its slot of the pool. What can be known for certain is told here: the process that a run was started in, by
its number and the time it began, is there no more.
Not here: launchers that watch their workers themselves (Kubernetes, Docker), which need no help.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Collection, Iterator

import dagster as dg
import psutil

from npi_pipeline.orchestration.daily_job import is_daily_run
from npi_pipeline.orchestration.monitoring.audit import AUDIT_JOB_NAME

HOST_TAG = "npi/host"
"""On a run that the command line runs in its own process: the host that this process is on."""

LOST = "its process is gone: it was killed, or the machine was restarted; outcomes so far are kept"

_GRPC_TAG = ".dagster/grpc_info"
_UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
# The clock of the event and the clock of the process's beginning differ by less than this.
_CLOCK_SECONDS = 2.0


def orphaned_runs(instance: dg.DagsterInstance, *, is_code_server: bool = False) -> Iterator[dg.DagsterRun]:
    """The pipeline's runs that count as running, on this host, and have no process any more.

    Who ``is_code_server`` tells it also of the runs that were launched by the name of its host: a container that was
    replaced has that of the one before. Others do not: a second container may have that name, too, and sees no process
    of the first.
    """
    if not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return
    hosts = ["localhost", *([socket.gethostname()] if is_code_server else [])]
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        is_ours = is_daily_run(run) or run.job_name == AUDIT_JOB_NAME
        if is_ours and _is_of_one(hosts, run) and _is_process_gone(instance, run):
            yield run


def fail_orphaned_runs(instance: dg.DagsterInstance, *, is_code_server: bool = False) -> list[dg.DagsterRun]:
    """End the ``orphaned_runs`` and give back what they hold of pools, so that nothing waits for them; which they are.

    They have failed, but for those that somebody had terminated: these are cancelled.
    The daemon would give it back a while after a run has ended, and without a daemon nobody would.
    """
    lost = list(orphaned_runs(instance, is_code_server=is_code_server))
    for run in lost:
        # Its slots first: a run that has ended is not looked at again.
        if instance.event_log_storage.supports_global_concurrency_limits:
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        # What failed is run again (run_retries); what somebody terminated is to stay ended.
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, LOST)
        else:
            instance.report_run_failed(run, LOST)
    return lost


def _is_of_one(hosts: Collection[str], run: dg.DagsterRun) -> bool:
    """Whether the run is a process of this host: of its command line, or a child of a code server of ``hosts``."""
    host = run.tags.get(HOST_TAG)
    if host is not None:
        return host == socket.gethostname()
    launched_by: dict[str, object] = json.loads(run.tags.get(_GRPC_TAG, "{}"))
    return launched_by.get("host") in hosts


def _is_process_gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    started = _process_of(instance, run)
    if started is None:
        return False
    pid, at = started
    try:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE or process.create_time() > at + _CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[int, float] | None:
    """The process that the run was last said to be in, and when that was said."""
    records = instance.get_records_for_run(
        run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT, ascending=False
    ).records
    for record in records:
        event = record.event_log_entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event is not None else None
        if pid is not None:
            return int(str(pid.value)), record.event_log_entry.timestamp
    return None
