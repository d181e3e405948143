"""The distinct NPIs of a kept list as they were parsed from it, so that a list is not parsed at every step.

Two files beside the list: the NPIs as Parquet, and what they are of: the digest of the list's bytes, the version of the
parser, NPI_LIST_COLUMN, and the digest of the Parquet. Whatever of it does not agree counts as not there, and the list
is parsed again. Not here: the list itself (``kept_list``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from npi_pipeline.days.paths import npis_path, parsed_path
from npi_pipeline.npi_list import PARSER_VERSION, NpiList
from npi_pipeline.npi_list.kept_list import KeptSource
from npi_pipeline.storage.data_root import DataRoot

_OTHERS = tuple(field.name for field in dataclasses.fields(NpiList) if field.name != "npis")


def keep_npis(root: DataRoot, day: dt.date, parsed: NpiList, list_sha256: str, column: str) -> None:
    """Keep what was parsed from the list with this digest, read with this NPI_LIST_COLUMN."""
    buffer = io.BytesIO()
    parsed.npis.write_parquet(buffer)
    content = buffer.getvalue()
    known = _what_it_is_of(list_sha256, column) | {
        "npis_sha256": hashlib.sha256(content).hexdigest(),
        "npis": parsed.npis.height,
        **{name: getattr(parsed, name) for name in _OTHERS},
    }
    root.write(npis_path(day), content)
    root.write(parsed_path(day), json.dumps(known, indent=2).encode())


def read_kept_npis(root: DataRoot, day: dt.date, source: KeptSource) -> NpiList | None:
    """What was parsed from the list of ``source``; None when it has to be parsed again."""
    known = _read_parsed(root, day, source)
    if known is None:
        return None
    try:
        content = root.read(npis_path(day))
    except FileNotFoundError:
        return None
    if hashlib.sha256(content).hexdigest() != known["npis_sha256"]:
        return None
    others: dict[str, Any] = {
        name: tuple(value) if isinstance(value := known[name], list) else value for name in _OTHERS
    }
    return NpiList(npis=pl.read_parquet(io.BytesIO(content)), **others)


def read_kept_size(root: DataRoot, day: dt.date, source: KeptSource) -> int | None:
    """How many distinct NPIs the list of ``source`` has; None when that is not known without parsing it."""
    known = _read_parsed(root, day, source)
    return None if known is None else int(known["npis"])


def _what_it_is_of(list_sha256: str | None, column: str) -> dict[str, Any]:
    return {"list_sha256": list_sha256, "parser_version": PARSER_VERSION, "column_setting": column}


def _read_parsed(root: DataRoot, day: dt.date, source: KeptSource) -> Mapping[str, Any] | None:
    try:
        known = json.loads(root.read(parsed_path(day)))
    except (FileNotFoundError, ValueError):
        return None
    wanted = _what_it_is_of(source.sha256, source.column)
    names = {"npis_sha256", "npis", *_OTHERS}
    is_whole = isinstance(known, dict) and names <= known.keys() and source.sha256 is not None
    return known if is_whole and all(known.get(name) == value for name, value in wanted.items()) else None
