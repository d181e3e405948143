"""Lists that came late: after the day's run found none, or in the place of the one that it found.

Not here: reading the list (``npi_list.keep_npi_list``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator

from npi_pipeline.npi_list.kept_list import KeptListError, read_kept_source
from npi_pipeline.npi_list.source import FoundList, ListSelection, ListUnavailableError, is_certain
from npi_pipeline.orchestration.monitoring.recent_days import RecentDay
from npi_pipeline.storage.data_root import DataRoot

# Today's list may be written over until midnight, and this morning be found to have been until then. What is older has
# been looked at often enough: a look is a request.
_DAYS_WRITTEN_OVER = 2


def late_lists_of(
    root: DataRoot, recent: Iterable[RecentDay], find: Callable[[dt.date], FoundList]
) -> Iterator[tuple[dt.date, FoundList]]:
    """Those of ``recent``, newest first, that are to be run for their list, with the list that is there now.

    A key without a date is written over from day to day, and a day's list is what lay there when it ended: a day that
    was run in the morning is run again when another list was put later on. A dated key's list is kept as it was read.
    ``find`` looks in the bucket and raises ListUnavailableError; it is asked for such days alone. One that may pass is
    let through: whether a list came is not known then.
    """
    for age, day in enumerate(recent):
        kept = _kept_source(root, day.day)
        if not (_wants_a_list(day) if kept is None else _may_be_written_over(day, kept, age)):
            continue
        try:
            found = find(day.day)
        except ListUnavailableError as error:
            if error.retryable:
                raise
            continue
        if kept is None or _is_another(found, kept, day.day):
            yield day.day, found


def _wants_a_list(day: RecentDay) -> bool:
    return day.is_due and day.runs.last_failed


def _may_be_written_over(day: RecentDay, kept: FoundList, age: int) -> bool:
    return age < _DAYS_WRITTEN_OVER and kept.selection is not ListSelection.dated_key and not day.runs.in_flight


def _is_another(found: FoundList, kept: FoundList, day: dt.date) -> bool:
    same_object = (found.bucket, found.key) == (kept.bucket, kept.key)
    return same_object and found.etag != kept.etag and is_certain(found, day)


def _kept_source(root: DataRoot, day: dt.date) -> FoundList | None:
    try:
        return read_kept_source(root, day)
    except (FileNotFoundError, KeptListError):
        return None
