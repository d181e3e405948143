"""A run of one day in this process, as the command line makes it. Not here: of which job, and what is told of it."""

from __future__ import annotations

import datetime as dt
import socket
import uuid
from collections.abc import Mapping, Sequence

import dagster as dg

from npi_pipeline.orchestration.dagster_internals import (
    MAX_RETRIES_TAG,
    REPOSITORY_LABEL_TAG,
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from npi_pipeline.orchestration.monitoring.failures import NOT_KNOWN, reasons
from npi_pipeline.orchestration.monitoring.orphaned_runs import HOST_TAG

# What workspace.yaml loads is called so.
_CODE_LOCATION = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("npi_pipeline.definitions"), "__repository__")
CODE_LOCATION = _CODE_LOCATION.get_label()
"""By this the UI counts a run among those of the job, as the value of its tag."""


def run_in_process(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    day: dt.date,
    *,
    log_level: str,
    assets: Sequence[dg.AssetKey] | None = None,
    ops: Mapping[str, object] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run ``job`` for ``day``, or those ``assets`` of it, with the configuration of ``ops``.

    Raises KeyboardInterrupt when it is broken off, however.
    """
    run_id = str(uuid.uuid4())
    tags = {
        HOST_TAG: socket.gethostname(),
        REPOSITORY_LABEL_TAG: CODE_LOCATION,
        # Whoever typed the command sees that it failed: the daemon is not to run it again.
        MAX_RETRIES_TAG: "0",
    }
    try:
        return job.execute_in_process(
            run_id=run_id,
            instance=instance,
            partition_key=day.isoformat(),
            asset_selection=assets,
            run_config={"ops": ops or {}, "loggers": {"terminal": {"config": {"log_level": log_level}}}},
            tags=tags,
            raise_on_error=False,
        )
    except dg.DagsterExecutionInterruptedError as interrupt:
        raise KeyboardInterrupt from interrupt
    finally:
        # By this the Timeline shows it, and the UI can run it again; a run that Dagster itself launches begins with it.
        if run := instance.get_run_by_id(run_id):
            instance.run_storage.replace_job_origin(run, RemoteJobOrigin(_CODE_LOCATION, job.name))


def problems_of(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    """Why the run failed, in lines for a person; none when it did not."""
    return tuple(reasons(result.all_events)) or (() if result.success else (NOT_KNOWN,))
