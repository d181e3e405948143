"""``dagster-daemon`` on a moved clock: ``python -m npi_pipeline_tests.moved_daemon SECONDS run ...``.

Dagster asks its own function for the time and moves it in its own tests in the same way (``freeze_time``); here it goes
on from the moment it was moved to. Moving the clock of the whole process (libfaketime) stops Python's waits.
Not here: a deployment around it (``deployment``).
"""

from __future__ import annotations

import datetime as dt
import sys
import time

import dagster._time as dagster_time
from dagster._daemon.cli import main

if __name__ == "__main__":
    moved_by = float(sys.argv.pop(1))

    def now() -> float:
        """Seconds since 1970 on the moved clock."""
        return time.time() + moved_by

    dagster_time._mockable_get_current_timestamp = now
    dagster_time._mockable_get_current_datetime = lambda: dt.datetime.fromtimestamp(now(), tz=dt.timezone.utc)
    main()
