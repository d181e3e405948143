"""Which of Dagster's runs go on with another one, and which was the first of them.

Not here: a step's retries, which are within one run, and what going on means for the journal
(``npi_records.record_outcomes``).
"""

from __future__ import annotations

import dagster as dg

# Dagster's own retry of a run whose worker died, and "Re-execute from failure" in the UI. Anything else that has a
# parent is "Re-execute all": somebody wants it done anew.
_GOES_ON_TAGS = ("dagster/retry_number", "dagster/is_resume_retry")


def first_run_id(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The id of ``run``, or of the first of the runs that it goes on with, as far as they are known."""
    while run.parent_run_id is not None and any(tag in run.tags for tag in _GOES_ON_TAGS):
        parent = instance.get_run_by_id(run.parent_run_id)
        if parent is None:
            return run.parent_run_id
        run = parent
    return run.run_id
