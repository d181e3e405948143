"""The tables of a lake: the rows of a day as they go into one, and by which figures two readings of them are compared.

``providers`` has a row for each state in which a provider practises, as the state files have (``None`` for nowhere).
Columns are those of the scans (docs/api.md), but for signed integers and microseconds, which every lake has.
Not here: how they are laid down (``parquet``, ``delta``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import polars as pl

from npi_pipeline.delivery.published_day import CHANGE_SCHEMA, OUTCOME_SCHEMA, PublishedDay
from npi_pipeline.delivery.row_digest import digest_of_texts, row_texts
from npi_pipeline.findings import Finding
from npi_pipeline.providers.provider_table import NO_STATE
from npi_pipeline.scans import declared_schema, undeclared_schema
from npi_pipeline.schema.json_paths import STATES

DAY, STATE = "day", "state"
TABLES = ("providers", "outcomes", "changes")

_OUTCOMES = pl.Schema(
    OUTCOME_SCHEMA | {"status": pl.Int32(), "attempts": pl.Int32(), "fetched_at": pl.Datetime("us", "UTC")}
)
_CHANGES = pl.Schema(CHANGE_SCHEMA | {"compared_with": pl.Date()})


@dataclasses.dataclass(frozen=True)
class LakeTable:
    """A table of the day: its ``schema`` without the column ``day``, and its rows, batch by batch.

    ``partition_by`` are the columns of the schema whose values are folders of the lake, below that of the day.
    """

    name: str
    schema: pl.Schema
    partition_by: tuple[str, ...]
    batches: Callable[[], Iterator[pl.DataFrame]]


def tables_of(published: PublishedDay) -> tuple[LakeTable, ...]:
    """The tables of a day, in the order of TABLES. Raises DeliveryError when its registry format is gone."""
    layout = published.layout
    schema = declared_schema(layout) if layout.declared else undeclared_schema(published.table.table)
    other_day = pl.lit(published.compared_with, dtype=pl.Date())
    return (
        LakeTable(
            "providers",
            pl.Schema(schema | {STATE: pl.String()}),
            (STATE,),
            lambda: (_in_each_state(_with_all_columns(frame, schema)) for frame in published.providers()),
        ),
        LakeTable("outcomes", _OUTCOMES, (), lambda: (frame.cast(_OUTCOMES) for frame in published.outcomes())),
        LakeTable(
            "changes",
            _CHANGES,
            (),
            lambda: (frame.with_columns(compared_with=other_day) for frame in published.changes()),
        ),
    )


class Reading(NamedTuple):
    """How many rows were read, and their digest (see ``row_digest``)."""

    rows: int
    digest: int


def reading(frames: Iterable[pl.DataFrame]) -> Reading:
    """The figures of the rows of ``frames``."""
    rows = digest = 0
    for frame in frames:
        rows += frame.height
        digest += digest_of_texts(row_texts(frame.with_columns(_as_json(frame.schema))))
    return Reading(rows, digest)


def same_rows(of_day: dict[str, Reading], of_lake: dict[str, Reading], day: object) -> Finding:
    """Whether the tables of the lake were read as those of the day's own files were."""
    different = [
        f"{name} has {of_lake[name].rows:,} rows in the lake and {read.rows:,} in the day's files"
        + (", and they differ" if of_lake[name].rows == read.rows else "")
        for name, read in of_day.items()
        if of_lake[name] != read
    ]
    if different:
        return Finding(holds=False, line=f"of {day} {'; '.join(different)}: deliver it with --again")
    rows = {name: read.rows for name, read in of_day.items()}
    return Finding(
        holds=True,
        line=f"the lake has the rows of {day}: " + ", ".join(f"{name} {count:,}" for name, count in rows.items()),
        figures=rows,
    )


def _as_json(schema: pl.Schema) -> list[pl.Expr]:
    """The list columns as text."""
    return [
        pl.when(pl.col(name).is_not_null()).then(pl.struct(name).struct.json_encode()).alias(name)
        for name, dtype in schema.items()
        if dtype.is_nested()
    ]


def _with_all_columns(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """A part of an undeclared format has the columns that its records need alone."""
    there = frozenset(frame.columns)
    return frame.select(
        pl.col(name) if name in there else pl.lit(None, dtype=dtype).alias(name) for name, dtype in schema.items()
    )


def _in_each_state(frame: pl.DataFrame) -> pl.DataFrame:
    nowhere = pl.col(STATES).is_null() | (pl.col(STATES).list.len() == 0)
    states = pl.when(nowhere).then(pl.lit([NO_STATE])).otherwise(pl.col(STATES))
    return frame.with_columns(states.alias(STATE)).explode(STATE)
