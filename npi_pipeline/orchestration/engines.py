"""What runs the steps of a run that Dagster launches: one of Dagster's own executors, by a setting.

Not Dask: dagster-dask 0.29 cannot send the run of a partition to a scheduler (Dask looks into it, and a record of
Dagster's lets nobody), and submits all steps when the run begins: a plan that names more comes too late.
Not here: where the run itself is launched (the run launcher of ``dagster.yaml``), and the shards (``npi_records``).
"""

from __future__ import annotations

import importlib
import json
from typing import Any

import dagster as dg

from npi_pipeline.errors import to_install
from npi_pipeline.settings import Engine, EngineSettings, SettingsError

# Of an executor that comes with an extra of ours: its package and its name.
_EXTRAS = {
    Engine.celery: ("dagster_celery", "celery_executor"),
    Engine.k8s: ("dagster_k8s", "k8s_job_executor"),
}


def executor_of(engine: EngineSettings) -> dg.ExecutorDefinition:
    """The executor that the settings name, with its configuration: for every run, those of a backfill too.

    Raises SettingsError when its extra is not installed, or the configuration is not one of its own.
    """
    config: dict[str, Any] = json.loads(engine.executor_config or "{}")
    executor = _executor(engine)
    if engine.executor is Engine.multiprocess:
        # A process for each shard that is worked on; forked from one that has imported all.
        forkserver = {
            "forkserver": {"preload_modules": ["npi_pipeline.definitions", "npi_pipeline.orchestration.build"]}
        }
        config = {"max_concurrent": engine.at_once, "start_method": forkserver, **config}
    if not config:
        return executor
    configured: dg.ExecutorDefinition = executor.configured(config, name=executor.name)
    evaluation = configured.apply_config_mapping({"config": {}})
    if evaluation.errors:
        # Of a value no word: it may be a password.
        error = evaluation.errors[0]
        entry = getattr(error.error_data, "field_name", None)
        raise SettingsError(
            f"NPI_EXECUTOR_CONFIG cannot be used: {error.reason.name.lower().replace('_', ' ')}"
            f"{f' ({entry})' if entry else ''}; see the configuration of {executor.name} in Dagster's documentation"
        )
    return configured


def _executor(engine: EngineSettings) -> dg.ExecutorDefinition:
    if engine.executor is Engine.in_process:
        # One process for the day: a process a step costs two CPU seconds each and would win nothing.
        return dg.in_process_executor
    if engine.executor is Engine.multiprocess:
        return dg.multiprocess_executor
    package, name = _EXTRAS[engine.executor]
    try:
        executor: dg.ExecutorDefinition = getattr(importlib.import_module(package), name)
    except ImportError as error:
        extra = engine.executor.value
        raise SettingsError(
            f"NPI_EXECUTOR={extra} cannot be used: {error}; install the extra: {to_install(extra)}"
        ) from error
    return executor
