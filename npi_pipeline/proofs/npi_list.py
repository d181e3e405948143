"""What is claimed of a day's NPI list."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import statistics
from collections.abc import Iterable, Iterator

from npi_pipeline.days.paths import NPI_LIST, days_with_folder, has_list
from npi_pipeline.findings import Finding
from npi_pipeline.npi_list.keep_npi_list import kept_list_size, kept_npi_list
from npi_pipeline.npi_list.kept_list import read_kept_list, read_kept_source
from npi_pipeline.npi_list.source import ListSelection, is_certain
from npi_pipeline.settings import CheckSettings
from npi_pipeline.storage.data_root import DataRoot, StorageError

_WHY_CERTAIN = {
    ListSelection.dated_key: "its key names the day",
    ListSelection.current: "it lay there when the day ended, or lies there today",
    ListSelection.version: "it lay there when the day ended, and was written over since",
    ListSelection.kept: "an earlier run kept it from before the day ended, the bucket has none so near to it any more",
    ListSelection.registry: "it is of the registry's files as of the day",
}
_PUT_AFTER = "it was put there after the day had ended; materialise npi_list of that day again"
_EXAMPLES_OF_A_REASON = 3
_RECENT_DAYS = 7


def list_is_of_its_day(root: DataRoot, day: dt.date) -> Finding:
    """The kept list has a key of its own, or is known to be what was there when the day ended."""
    source = read_kept_source(root, day)
    holds = is_certain(source, day)
    why = _WHY_CERTAIN[source.selection] if holds else source.ambiguity or _PUT_AFTER
    version = f"version {source.version_id} " if source.version_id else ""
    line = f"{source.where} {version}of {source.last_modified:%Y-%m-%d %H:%M:%S} UTC"
    return Finding(
        holds=holds,
        line=f"{line}: {why}",
        figures={"selection": source.selection.value, "last_modified": source.last_modified.isoformat()},
    )


def list_is_like_recent_days(root: DataRoot, day: dt.date, settings: CheckSettings) -> Finding:
    """The list's size is near the median of its recent days, and few of its NPIs are invalid."""
    npi_list = kept_npi_list(root, day)
    size = npi_list.distinct
    earlier = (other for other in reversed(days_with_folder(root, NPI_LIST)) if other < day and has_list(root, other))
    sizes = list(_sizes(root, itertools.islice(earlier, _RECENT_DAYS)))
    line, holds = f"{size:,} distinct NPIs; no earlier day to compare with", True
    figures: dict[str, int | float | str] = {"npis": size}
    if sizes:
        median = statistics.median(sizes)
        change = size / median - 1
        line = f"{size:,} distinct NPIs, {change:+.0%} against the median of {len(sizes)} recent days"
        holds = abs(change) <= settings.list_change_limit
        figures |= {"median_of_recent_days": median, "change": change}
    share = npi_list.invalid / size
    if share > settings.invalid_share_limit:
        holds = False
        line += (
            f"; {npi_list.invalid:,} of them are invalid ({share:.2%}, limit {settings.invalid_share_limit:.2%}), e.g. "
            f"{'; '.join(npi_list.examples_of_invalid(_EXAMPLES_OF_A_REASON))}; mend the list and materialise the day "
            "again, or raise NPI_INVALID_SHARE_LIMIT"
        )
    return Finding(holds=holds, line=line, figures={**figures, "invalid": npi_list.invalid, "invalid_share": share})


def _sizes(root: DataRoot, days: Iterable[dt.date]) -> Iterator[int]:
    """The sizes of these days' lists. One that is damaged is a finding of its own day."""
    for day in days:
        with contextlib.suppress(StorageError):
            yield kept_list_size(root, day)


def list_is_read_clearly(root: DataRoot, day: dt.date) -> Finding:
    """The kept list has the bytes that were read; it is clear which column the NPIs are in, and none stands outside."""
    read_kept_list(root, day)
    npi_list = kept_npi_list(root, day)
    line = f"the NPIs stand in {npi_list.column_name}"
    return Finding(
        holds=not npi_list.ambiguities,
        line="; ".join((line, *npi_list.ambiguities, *npi_list.remarks)),
        figures={"column": npi_list.column_name, "ambiguities": len(npi_list.ambiguities)},
    )
