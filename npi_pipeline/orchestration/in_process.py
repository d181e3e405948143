"""A run of one day in this process, as the command line makes it. Not here: of which job, and what is told of it."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Mapping, Sequence

import dagster as dg

from npi_pipeline.orchestration.dagster_internals import REPOSITORY_LABEL_TAG
from npi_pipeline.orchestration.monitoring.failures import NOT_KNOWN, reasons
from npi_pipeline.orchestration.monitoring.orphaned_runs import HOST_TAG

# By this the UI counts a run among those of the job and of the code location: what workspace.yaml loads is called so.
_CODE_LOCATION = "__repository__@npi_pipeline.definitions"


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
    try:
        return job.execute_in_process(
            instance=instance,
            partition_key=day.isoformat(),
            asset_selection=assets,
            run_config={"ops": ops or {}, "loggers": {"terminal": {"config": {"log_level": log_level}}}},
            tags={HOST_TAG: socket.gethostname(), REPOSITORY_LABEL_TAG: _CODE_LOCATION},
            raise_on_error=False,
        )
    except dg.DagsterExecutionInterruptedError as interrupt:
        raise KeyboardInterrupt from interrupt


def problems_of(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    """Why the run failed, in lines for a person; none when it did not."""
    return tuple(reasons(result.all_events)) or (() if result.success else (NOT_KNOWN,))
