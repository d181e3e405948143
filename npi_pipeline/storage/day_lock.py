"""One at a time: the lock that a run holds while it changes something of a day.

Not here: how each kind of root locks (``local``, ``s3_lease``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
from collections.abc import Iterator

from npi_pipeline.storage.data_root import DataRoot, HeldLock, LockedError
from npi_pipeline.storage.days import lock_path


class DayLockedError(Exception):
    """Another run is at work on the day. One line names the day, who, since when, and the remedy."""


@contextlib.contextmanager
def day_lock(root: DataRoot, day: dt.date, what: str = "journal", *, holder: str | None = None) -> Iterator[HeldLock]:
    """Be the only one to change ``what`` of ``day``, on any machine that uses the root.

    ``holder`` says to others who it is, by default this process. Raises DayLockedError, also when the lock is lost
    on the way (see HeldLock), and StorageError.
    """
    try:
        with root.lock(lock_path(day, what), holder or f"process {os.getpid()} on {socket.gethostname()}") as held:
            yield held
    except LockedError as error:
        raise DayLockedError(
            f"the {what.replace('_', ' ')} of {day} is in the hands of {error.holder} since {error.since}: "
            "wait until that run ends, or end it, then run again"
        ) from error
