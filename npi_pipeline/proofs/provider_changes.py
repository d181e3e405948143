"""What is claimed of a day's changes. Not here: how they are proven before they are kept (``changes.proof``)."""

from __future__ import annotations

import datetime as dt

from npi_pipeline.changes.kept_changes import read_kept_changes
from npi_pipeline.changes.proof import changes_match_the_lists
from npi_pipeline.findings import Finding
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.data_root import DataRoot

_EXAMPLES = 10


def joins_and_leaves_match_the_lists(root: DataRoot, day: dt.date, files: FileSettings) -> Finding:
    """Who joined, left or was deactivated by the day's changes is who did by the two days' files."""
    kept = read_kept_changes(root, day)
    return changes_match_the_lists(root, kept, root.chunks(kept.path), files)


def no_day_was_skipped(root: DataRoot, day: dt.date) -> Finding:
    """The day's changes are against the published day right before it: none was skipped as damaged or half anew."""
    kept = read_kept_changes(root, day)
    apart = f"the changes of {day} are against {kept.compared_with.day if kept.compared_with else 'no day'}"
    return Finding(
        holds=not kept.skipped,
        line="; ".join([apart, *kept.skipped[:_EXAMPLES]])
        + (f"; then the changes of {day} are found anew by themselves" if kept.skipped else ""),
        figures={"days_skipped": len(kept.skipped)},
    )
