"""Which of Dagster's runs go on with another one, and when the first of them began.

Not here: a step's retries, which are within one run, and what going on means for the journal (``day.record_outcomes``).
"""

from __future__ import annotations

import datetime as dt

import dagster as dg

# Dagster's own retry of a run whose worker died, and "Re-execute from failure" in the UI. Anything else that has a
# parent is "Re-execute all": somebody wants it done anew.
_GOES_ON_TAGS = ("dagster/retry_number", "dagster/is_resume_retry")


def began_at(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dt.datetime:
    """When ``run`` started, or the first of the runs that it goes on with."""
    first = run
    while first.parent_run_id is not None and any(tag in first.tags for tag in _GOES_ON_TAGS):
        parent = instance.get_run_by_id(first.parent_run_id)
        if parent is None:
            break
        first = parent
    record = instance.get_run_record_by_id(first.run_id)
    if record is None:
        return dt.datetime.now(dt.timezone.utc)
    if record.start_time is None:
        return record.create_timestamp
    return dt.datetime.fromtimestamp(record.start_time, dt.timezone.utc)
