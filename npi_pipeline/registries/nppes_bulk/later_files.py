"""Dissemination files that came after a day was made whose registry they tell of.

CMS puts a week's file there a day or two after the week has ended: the days between were looked up in an older
registry. Not here: what a day was looked up in (``day_snapshot``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
from collections.abc import Iterable

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.contents import dated
from npi_pipeline.registries.nppes_bulk.day_snapshot import snapshot_files, snapshot_of_day
from npi_pipeline.registries.nppes_bulk.files import dissemination_files, files_of_day, open_bulk_files
from npi_pipeline.storage.data_root import DataRoot


def days_of_an_older_registry(root: DataRoot, files: str, days: Iterable[dt.date]) -> dict[dt.date, str]:
    """Those of ``days`` that would be looked up in a newer registry now, each with what is to be told of it.

    Of a zip no more is read than its table of contents. A day of which it cannot be told, since a file is damaged or
    gone, is left out: whoever runs it is told. ``files`` is NPI_BULK_FILES. Raises SettingsError, StorageError.
    """
    bulk = open_bulk_files(files)
    found = dissemination_files(bulk.list(""))
    looked_into = functools.cache(functools.partial(dated, bulk))
    made = snapshot_files(root)
    older = {}
    for day in days:
        if day not in made:
            continue
        with contextlib.suppress(BulkFileError):
            used = snapshot_of_day(root, day)
            known = {(file.kind, file.date, file.size) for file in used.files}
            chosen = files_of_day(found, day, looked_into, place=bulk.uri())
            came = [file.name for file in chosen.files if (file.kind, file.date, file.size) not in known]
            if came:
                older[day] = (
                    f"was made from the registry as of {used.as_of}, and since then {came[-1]} came: run the day again"
                )
    return older
