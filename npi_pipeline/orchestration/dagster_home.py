"""The Dagster instance of the command line and of the demo, and what stands in the ``dagster.yaml`` of a new home.

Not here: the settings of an instance in production (``deploy/dagster.yaml`` of the project).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import yaml
from sqlalchemy.exc import DBAPIError

from npi_pipeline.errors import PipelineError
from npi_pipeline.orchestration.dagster_internals import PoolGranularity

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


# What the system and the databases say of it, in small letters, and what is to be done.
_REMEDIES = {
    ("readonly", "read-only", "permission denied", "not permitted"): "let this user write there, or set another one",
    ("full", "disk i/o", "no space", "quota", "too large"): "make room on its disk, or set another one",
    ("not a directory", "file exists"): "set it to a folder",
    ("locked",): "another process holds its database: run it again later, or keep it in PostgreSQL (deploy/)",
}
_MAX_CHARACTERS = 300


class HomeError(PipelineError):
    """DAGSTER_HOME cannot be used. One line names the folder, what is wrong and the remedy."""


def make_home(folder: Path, more: str = "") -> None:
    """Make ``folder`` a Dagster home with its storage in place; one that is there stays as it is.

    ``more`` is added to its ``dagster.yaml``. The storage is made here, since services that start at the same time on
    an empty one break it. It is made beside and moved there, so that none is there by half.
    """
    if folder.is_dir():
        return
    if folder.exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        unfinished.mkdir()
        (unfinished / "dagster.yaml").write_text(NEW_HOME + more)
        with dg.DagsterInstance.from_config(str(unfinished)):
            pass
        # One that was made there meanwhile is as good.
        with contextlib.suppress(FileExistsError):
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """The instance of DAGSTER_HOME, made if it is not there; without the variable, one that forgets.

    Raises HomeError when it cannot be opened, or while it is used when its storage refuses.
    """
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        with dg.DagsterInstance.ephemeral() as instance:
            yield instance
        return
    folder = Path(home).absolute()
    with contextlib.ExitStack() as opened:
        try:
            make_home(folder)
            instance = opened.enter_context(dg.DagsterInstance.from_config(str(folder)))
        except (OSError, DBAPIError, yaml.YAMLError, dg.DagsterError) as error:
            raise _home_error(folder, error) from error
        try:
            yield instance
        except DBAPIError as error:
            raise _home_error(folder, error) from error
        except OSError as error:
            if not _is_about(error, folder):
                raise
            raise _home_error(folder, error) from error


def _home_error(folder: Path, error: Exception) -> HomeError:
    line = " ".join(_words_of(error).split())[:_MAX_CHARACTERS]
    remedies = (remedy for signs, remedy in _REMEDIES.items() if any(sign in line.lower() for sign in signs))
    remedy = next(remedies, "see its dagster.yaml, and the storage that it names")
    return HomeError(f"DAGSTER_HOME={folder} cannot be used: {line}; {remedy}")


def _words_of(error: Exception) -> str:
    if isinstance(error, DBAPIError):
        # The database's own, and not what was asked of it.
        return str(error.orig)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror}: {os.fsdecode(error.filename)}"
    return str(error)


def _is_about(error: OSError, folder: Path) -> bool:
    return error.filename is not None and folder in Path(os.fsdecode(error.filename)).absolute().parents


def one_day_at_a_time(instance: dg.DagsterInstance, pool: str) -> bool:
    """Whether the runs that use ``pool`` are limited, and not the steps of each; one that forgets need not be."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return True
    return (
        is_limited(instance, pool)
        and instance.get_concurrency_config().pool_config.pool_granularity is PoolGranularity.RUN
    )


def is_limited(instance: dg.DagsterInstance, pool: str) -> bool:
    """Whether the instance sees to it that only so many steps of ``pool`` run at once; one that forgets need not."""
    return not instance.event_log_storage.supports_global_concurrency_limits or limit_of(instance, pool) is not None


def limit_of(instance: dg.DagsterInstance, pool: str) -> int | None:
    """How many steps of ``pool`` run at once; None for any number of them."""
    limits = {limit.name: limit.limit for limit in instance.event_log_storage.get_pool_limits()}
    return limits.get(pool, instance.get_concurrency_config().pool_config.default_pool_limit)
