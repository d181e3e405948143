"""What the codes in dissemination files mean, in the words of the registry's API: one CSV a table, its source on top.

A code that is in no table has no name: the column of the name is null then, as the API has it for codes that it does
not know.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources

_COMMENT = "#"


@functools.cache
def code_table(name: str) -> dict[str, str | None]:
    """The first column of the table ``name`` to its second; nothing in the second is None."""
    text = (importlib.resources.files(__name__) / f"{name}.csv").read_text(encoding="utf-8")
    rows = csv.reader(line for line in text.splitlines() if not line.startswith(_COMMENT))
    next(rows)
    return {row[0]: row[1] or None for row in rows}


@functools.cache
def taxonomy_descriptions() -> dict[str, str | None]:
    """What the API calls each taxonomy code: what it has been seen to say goes before what the code set says."""
    return code_table("taxonomies") | code_table("taxonomies_of_api")
