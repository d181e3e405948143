"""Which runs of a day belong together: one that asks for NPIs afresh, and those that go on with it.

A moment would not do: the clock that wrote the rows may have been another one, or have jumped since.
Not here: what such a run asks for (``npi_records.record_outcomes``).
"""

from __future__ import annotations

import datetime as dt
import json

from npi_pipeline.days.paths import journal_folder
from npi_pipeline.storage.data_root import DataRoot

_NAME = "refetch.json"


def first_run_of_refetch(root: DataRoot, day: dt.date, registry: str, asking: str, run: int) -> int:
    """The number of the first run of ``asking``, which is ``run`` when the journal of ``day`` does not know it yet.

    The journal knows one asking at a time: another one takes its place. A file that cannot be understood is as good as
    none: then everything is asked for once more. The caller holds the day's lock. Raises StorageError.
    """
    path = f"{journal_folder(day)}/{_NAME}"
    known = {"asking": asking, "registry": registry}
    try:
        content = json.loads(root.read(path))
        if {name: content[name] for name in known} == known:
            return int(content["first_run"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    root.write(path, (json.dumps({**known, "first_run": run}, indent=2) + "\n").encode())
    return run
