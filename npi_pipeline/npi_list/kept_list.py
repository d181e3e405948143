"""The day's NPI list as it was read: the object verbatim, and beside it where it came from and its digest.

Everything later is proven against these bytes. Not here: reading the bucket (``source``), parsing
(``npi_list``), and the NPIs as they were parsed (``kept_npis``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from typing import Any

import msgspec

from npi_pipeline.days.paths import list_path, list_source_path
from npi_pipeline.npi_list.source import FoundList, ListObject
from npi_pipeline.storage.data_root import DataRoot, StorageError


class KeptListError(StorageError):
    """The kept list is damaged, or what is known of it. One line names the file and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptSource(FoundList):
    """Which object was kept as the list of a day.

    ``sha256`` of its bytes, in hex. ``column`` is NPI_LIST_COLUMN as it was when the list was read, so that its bytes
    mean the same whenever they are parsed.
    """

    sha256: str
    column: str


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(KeptSource)


def keep_list(root: DataRoot, day: dt.date, listed: ListObject, column: str = "") -> None:
    """Keep the object and where it came from; the latter is written last."""
    found = {field.name: getattr(listed, field.name) for field in dataclasses.fields(FoundList)}
    source = KeptSource(**found, sha256=listed.sha256, column=column)
    root.write(list_path(day), listed.body)
    root.write(list_source_path(day), json.dumps(source_of(source), indent=2).encode())


def read_kept_list(root: DataRoot, day: dt.date) -> ListObject:
    """The list kept for ``day``, its bytes compared with their digest.

    Raises FileNotFoundError when ``npi_list`` has not run for that day, KeptListError when it is damaged.
    """
    source = read_kept_source(root, day)
    body = root.read(list_path(day))
    if source.sha256 != hashlib.sha256(body).hexdigest():
        raise KeptListError(
            f"{root.uri(list_path(day))} is damaged: its {len(body):,} bytes are not those that were read from "
            f"{source.where} (SHA-256 differs); materialise npi_list of that day again"
        )
    return ListObject(**{field.name: getattr(source, field.name) for field in dataclasses.fields(FoundList)}, body=body)


def read_kept_source(root: DataRoot, day: dt.date) -> KeptSource:
    """Which object was kept as the list of ``day``. Raises as ``read_kept_list`` does."""
    content = root.read(list_source_path(day))
    try:
        return _DECODER.decode(content)
    except (ValueError, RecursionError) as error:
        raise KeptListError(
            f"{root.uri(list_source_path(day))} cannot be understood ({error}); materialise npi_list of that day again"
        ) from error


def source_of(source: KeptSource) -> dict[str, Any]:
    """Where the list came from, as JSON holds it."""
    return vars(source) | {"last_modified": source.last_modified.isoformat(), "selection": source.selection.value}
