"""One at a time: the lock that a run holds while it changes something of a day.

Not here: how each kind of root locks (``local``, ``s3_lease``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import time
from collections.abc import Iterator

from npi_pipeline.days.paths import lock_path
from npi_pipeline.errors import PipelineError
from npi_pipeline.storage.data_root import DataRoot, HeldLock, LockedError, StorageError

_TRY_AGAIN_SECONDS = 0.2


class DayLockedError(PipelineError):
    """Another run is at work on the day. One line names the day, who, since when, and the remedy."""


@contextlib.contextmanager
def day_lock(
    root: DataRoot,
    day: dt.date,
    what: str = "journal",
    *,
    holder: str | None = None,
    wait_seconds: float = 0.0,
) -> Iterator[HeldLock]:
    """Be the only one to change ``what`` of ``day``, on any machine that uses the root.

    ``holder`` says to others who it is, by default this process. While somebody else holds the lock it is tried again
    for ``wait_seconds``. Raises DayLockedError, also when the lock is lost on the way (see HeldLock), and StorageError.
    An error of whoever has lost the lock is told as that: what it misses has gone with another run's work.
    """
    try:
        with held_lock(root, lock_path(day, what), holder=holder, wait_seconds=wait_seconds) as held:
            yield held
    except LockedError as error:
        raise DayLockedError(
            f"the {what.replace('_', ' ')} of {day} is in the hands of {error.holder} since {error.since}: "
            f"{error.remedy}"
        ) from error


@contextlib.contextmanager
def held_lock(root: DataRoot, path: str, *, holder: str | None = None, wait_seconds: float = 0.0) -> Iterator[HeldLock]:
    """Hold the lock at ``path``; parameters and errors are those of ``day_lock``, but for LockedError."""
    holder = holder or f"process {os.getpid()} on {socket.gethostname()}"
    with contextlib.ExitStack() as stack:
        held = _taken(stack, root, path, holder, time.monotonic() + wait_seconds)
        try:
            yield held
        except Exception:
            with contextlib.suppress(StorageError):
                held.ensure_held()
            raise


def _taken(stack: contextlib.ExitStack, root: DataRoot, path: str, holder: str, until: float) -> HeldLock:
    """The lock, to be let go with ``stack``. Raises LockedError when it is still somebody else's at ``until``."""
    while True:
        try:
            return stack.enter_context(root.lock(path, holder))
        except LockedError:
            if time.monotonic() >= until:
                raise
        time.sleep(_TRY_AGAIN_SECONDS)
