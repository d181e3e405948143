"""The Dagster instance of the command line and of the demo, and what stands in the ``dagster.yaml`` of a new home.

Not here: the settings of an instance in production (``deploy/dagster.yaml`` of the project).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

# SQLite takes two runs at a time. One of them fetches (the pool), the other flattens and publishes.
NEW_HOME = """\
telemetry:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
  pools:
    default_limit: 1
    granularity: op
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 30
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
"""


def make_home(folder: Path, more: str = "") -> None:
    """Make ``folder`` a Dagster home with its storage in place; one that is there stays as it is.

    ``more`` is added to its ``dagster.yaml``. The storage is made here, since services that start at the same time on
    an empty one break it.
    """
    if folder.exists():
        return
    folder.mkdir(parents=True)
    (folder / "dagster.yaml").write_text(NEW_HOME + more)
    with dg.DagsterInstance.from_config(str(folder)):
        pass


@contextlib.contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """The instance of DAGSTER_HOME, made if it is not there; without the variable, one that forgets."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        with dg.DagsterInstance.ephemeral() as instance:
            yield instance
        return
    folder = Path(home).absolute()
    make_home(folder)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


def is_limited(instance: dg.DagsterInstance, pool: str) -> bool:
    """Whether the instance sees to it that only so many steps of ``pool`` run at once; one that forgets need not."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return True
    if instance.get_concurrency_config().pool_config.default_pool_limit is not None:
        return True
    return any(limit.name == pool for limit in storage.get_pool_limits())
