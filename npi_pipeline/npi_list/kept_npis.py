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

import msgspec
import polars as pl

from npi_pipeline.days.paths import npis_path, parsed_path
from npi_pipeline.npi_list import PARSER_VERSION, SCHEMA, ListLayout, NpiList
from npi_pipeline.npi_list.cells import as_text
from npi_pipeline.npi_list.kept_list import KeptSource
from npi_pipeline.npi_list.parser import VALID
from npi_pipeline.storage.data_root import DataRoot


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Parsed:
    """What the kept NPIs are of, how many they are, and how their list was read."""

    list_sha256: str
    column_setting: str
    parser_version: int
    npis_sha256: str
    npis: int
    layout: ListLayout


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(_Parsed)


def keep_npis(root: DataRoot, day: dt.date, parsed: NpiList, list_sha256: str, column: str) -> None:
    """Keep what was parsed from the list with this digest, read with this NPI_LIST_COLUMN."""
    buffer = io.BytesIO()
    # As text for whoever reads the file, which is never in memory as a whole.
    valid = parsed.valid.lazy().with_columns(as_text(pl.col("npi")), reason=pl.lit(None, pl.String)).select(*SCHEMA)
    pl.concat([valid, parsed.rejected.lazy()]).sink_parquet(buffer)
    content = buffer.getvalue()
    known = _Parsed(
        list_sha256=list_sha256,
        column_setting=column,
        parser_version=PARSER_VERSION,
        npis_sha256=hashlib.sha256(content).hexdigest(),
        npis=parsed.distinct,
        layout=ListLayout(**{field.name: getattr(parsed, field.name) for field in dataclasses.fields(ListLayout)}),
    )
    root.write(npis_path(day), content)
    root.write(parsed_path(day), msgspec.json.format(msgspec.json.encode(known), indent=2))


def read_kept_npis(root: DataRoot, day: dt.date, source: KeptSource) -> NpiList | None:
    """What was parsed from the list of ``source``; None when it has to be parsed again."""
    known = _read_parsed(root, day, source)
    if known is None:
        return None
    try:
        content = root.read(npis_path(day))
    except FileNotFoundError:
        return None
    if hashlib.sha256(content).hexdigest() != known.npis_sha256:
        return None
    npis, is_valid = pl.scan_parquet(io.BytesIO(content)), pl.col("reason").is_null()
    valid = npis.filter(is_valid).select(pl.col(name).cast(dtype) for name, dtype in VALID.items())
    return NpiList(
        valid=valid.collect(engine="streaming"),
        rejected=npis.filter(~is_valid).collect(engine="streaming"),
        **vars(known.layout),
    )


def read_kept_size(root: DataRoot, day: dt.date, source: KeptSource) -> int | None:
    """How many distinct NPIs the list of ``source`` has; None when that is not known without parsing it."""
    known = _read_parsed(root, day, source)
    return None if known is None else known.npis


def _read_parsed(root: DataRoot, day: dt.date, source: KeptSource) -> _Parsed | None:
    try:
        known = _DECODER.decode(root.read(parsed_path(day)))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    is_of_list = (known.list_sha256, known.column_setting) == (source.sha256, source.column)
    return known if is_of_list and known.parser_version == PARSER_VERSION else None
