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
from npi_pipeline.storage.list_object import ListObject


def keep_list(root: DataRoot, day: dt.date, listed: ListObject) -> None:
    """Keep the object and where it came from; the latter is written last."""
    root.write(list_path(day), listed.body)
    root.write(list_source_path(day), json.dumps(source_of(listed), indent=2).encode())


def read_kept_list(root: DataRoot, day: dt.date) -> ListObject:
    """The list kept for ``day``. Raises FileNotFoundError when ``npi_list`` has not run for that day."""
    source = json.loads(root.read(list_source_path(day)))
    source["last_modified"] = dt.datetime.fromisoformat(source["last_modified"])
    return ListObject(body=root.read(list_path(day)), **source)


def source_of(listed: ListObject) -> dict[str, Any]:
    """Where the object came from, as JSON holds it."""
    source = {field.name: getattr(listed, field.name) for field in dataclasses.fields(listed) if field.name != "body"}
    return source | {"last_modified": listed.last_modified.isoformat()}
