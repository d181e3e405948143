"""The wall clock: the moment that is written down, read in one place.

It may be wrong, and it may jump: nothing that has to be right depends on it alone. Which of two outcomes is the newer
one, the journal's runs tell; how long something may take, ``time.monotonic`` does.
"""

from __future__ import annotations

import datetime as dt

MACHINES_APART = dt.timedelta(minutes=5)
"""What the clocks of two machines may differ by without being wrong."""


def utc_now() -> dt.datetime:
    """This moment, in UTC."""
    return dt.datetime.now(dt.timezone.utc)
