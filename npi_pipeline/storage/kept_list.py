"""The day's NPI list as it was read: the object verbatim, and beside it where it came from.

Everything later is proven against these bytes. Not here: reading the bucket (``list_object``), parsing
(``enrichment.npi_list``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.days import list_path, list_source_path
from npi_pipeline.storage.list_object import FoundList, HowChosen, ListObject


def keep_list(root: DataRoot, day: dt.date, listed: ListObject) -> None:
    """Keep the object and where it came from; the latter is written last."""
    root.write(list_path(day), listed.body)
    root.write(list_source_path(day), json.dumps(source_of(listed), indent=2).encode())


def read_kept_list(root: DataRoot, day: dt.date) -> ListObject:
    """The list kept for ``day``. Raises FileNotFoundError when ``npi_list`` has not run for that day."""
    return ListObject(**vars(read_kept_source(root, day)), body=root.read(list_path(day)))


def read_kept_source(root: DataRoot, day: dt.date) -> FoundList:
    """Which object was kept as the list of ``day``. Raises FileNotFoundError as ``read_kept_list`` does."""
    source = json.loads(root.read(list_source_path(day)))
    source["last_modified"] = dt.datetime.fromisoformat(source["last_modified"])
    if "chosen" in source:
        source["chosen"] = HowChosen(source["chosen"])
    return FoundList(**source)


def source_of(found: FoundList) -> dict[str, Any]:
    """Where the object came from, as JSON holds it."""
    source = {field.name: getattr(found, field.name) for field in dataclasses.fields(FoundList)}
    return source | {"last_modified": found.last_modified.isoformat(), "chosen": found.chosen.value}
