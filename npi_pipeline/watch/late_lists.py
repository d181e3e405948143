"""Lists that came late: days whose run found no list, and whose list is there by now.

Not here: reading the list (``day.keep_npi_list``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator

from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.days import has_list
from npi_pipeline.storage.list_object import FoundList, ListUnavailableError
from npi_pipeline.watch.recent_days import RecentDay


def lists_that_came(
    root: DataRoot, recent: Iterable[RecentDay], find: Callable[[dt.date], FoundList]
) -> Iterator[tuple[dt.date, FoundList]]:
    """The days of ``recent`` that failed for want of a list, with the list that is there now.

    ``find`` looks in the bucket and raises ListUnavailableError; it is asked for such days alone.
    """
    for day in recent:
        if day.is_due and day.runs.last_failed and not has_list(root, day.day):
            try:
                yield day.day, find(day.day)
            except ListUnavailableError:
                continue
