"""A delivery to a database that is killed at a chosen statement. Few imports: it runs in a process of its own."""

from __future__ import annotations

import datetime as dt
import os
import signal
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from npi_pipeline.delivery.deliver import deliver
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.delivery.sql import loading
from npi_pipeline.settings import FileSettings, SinkUrl
from npi_pipeline.storage.local import LocalRoot

COMMIT = 10_000
"""Stands for the moment right before the commit."""


def deliver_and_die(folder: Path, day: dt.date, sink_url: SinkUrl, before: int) -> None:
    """Deliver, and die before the ``before``-th statement or load of rows, or right before the COMMIT."""
    _die_at(before)
    deliver(LocalRoot(folder), FileSettings(), day, sink_of(sink_url))


def count_moments(folder: Path, day: dt.date, sink_url: SinkUrl) -> int:
    """Deliver; how many moments there were to die at."""
    done = _die_at(None)
    deliver(LocalRoot(folder), FileSettings(), day, sink_of(sink_url))
    return done()


def _die_at(before: int | None) -> Callable[[], int]:
    moments = 0

    def moment(*_arguments: object) -> None:
        nonlocal moments
        if moments == before:
            os.kill(os.getpid(), signal.SIGKILL)
        moments += 1

    def commit(_connection: sa.Connection) -> None:
        if before == COMMIT:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(sa.Engine, "before_cursor_execute", moment)
    sa.event.listen(sa.Engine, "commit", commit)
    for name, load in loading.LOADERS.items():
        loading.LOADERS[name] = _before(moment, load)
    return lambda: moments


def _before(moment: Callable[..., None], load: loading.Load) -> loading.Load:
    def loaded(*arguments: object) -> None:
        moment()
        load(*arguments)  # type: ignore[arg-type]

    return loaded
