"""What the rows of a day's files hold, told from the provider table part by part."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from npi_pipeline.providers.kept_table import parts_of, read_kept_table
from npi_pipeline.report.day_report import ColumnFilled, ContentsOfFiles, ListLength
from npi_pipeline.schema.json_paths import LEADING_COLUMNS, STATES, UNRECOGNISED_STATES
from npi_pipeline.storage.data_root import DataRoot

_ENTITY_TYPE = "enumeration_type"
_TAXONOMIES = "taxonomies"
_SHOWN_TAXONOMIES = 15
# Columns of a format without a declared schema are as many as its records have paths.
_SHOWN_COLUMNS = 100
_OF_ALL_ROWS = {*LEADING_COLUMNS, STATES, UNRECOGNISED_STATES}

Names: TypeAlias = "tuple[Any, ...]"


class _Tally:
    """What is counted, part after part."""

    def __init__(self) -> None:
        self.rows = 0
        self.filled: Counter[str] = Counter()
        self.items: Counter[str] = Counter()
        self.longest: dict[str, int] = {}
        self.entity_types: Counter[Names] = Counter()
        self.taxonomies: Counter[Names] = Counter()

    def add(self, part: Path) -> None:
        rows = pl.scan_parquet(part, glob=False, hive_partitioning=False)
        schema = rows.collect_schema()
        names = [name for name in schema if name not in _OF_ALL_ROWS]
        lists = [name for name in names if isinstance(schema[name], pl.List)]
        filled = rows.select(
            pl.len().alias("rows of the part"), *(_is_filled(name, schema[name]).sum().alias(name) for name in names)
        ).collect()
        counts = filled.row(0, named=True)
        self.rows += counts.pop("rows of the part")
        self.filled.update({name: count or 0 for name, count in counts.items()})
        if lists:
            self._add_lists(rows, lists)
        if schema.get(_ENTITY_TYPE) == pl.String:
            self.entity_types.update(_counts(rows.select(_ENTITY_TYPE).drop_nulls()))
        fields = getattr(getattr(schema.get(_TAXONOMIES), "inner", None), "fields", ())
        if {"code", "desc", "primary"} <= {field.name for field in fields}:
            self.taxonomies.update(_counts(_primary(rows)))

    def _add_lists(self, rows: pl.LazyFrame, lists: list[str]) -> None:
        lengths = rows.select(pl.col(lists).list.len())
        sums, most = pl.collect_all([lengths.sum(), lengths.max()])
        self.items.update({name: count or 0 for name, count in sums.row(0, named=True).items()})
        for name, length in most.row(0, named=True).items():
            self.longest[name] = max(self.longest.get(name, 0), length or 0)


def read_contents(root: DataRoot, day: dt.date) -> ContentsOfFiles:
    """What the rows of found providers of ``day`` hold.

    Raises FileNotFoundError when there is no provider table, TableError, StorageError.
    """
    kept = read_kept_table(root, day)
    tally = _Tally()
    for part in parts_of(root, kept):
        tally.add(part)
    providers = max(tally.rows, 1)
    columns = [ColumnFilled(name, tally.filled[name] / providers) for name in tally.filled if name not in tally.longest]
    lists = [
        ListLength(
            name,
            tally.filled[name] / providers,
            tally.items[name] / providers,
            longest,
            kept.table.widths.get(name, 0),
        )
        for name, longest in tally.longest.items()
    ]
    return ContentsOfFiles(
        providers=tally.rows,
        columns=tuple(columns[:_SHOWN_COLUMNS]),
        lists=tuple(lists),
        entity_types=tuple((name, npis) for (name,), npis in _commonest(tally.entity_types)),
        taxonomies=tuple((*names, npis) for names, npis in _commonest(tally.taxonomies)[:_SHOWN_TAXONOMIES]),
    )


def _is_filled(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.List):
        return column.list.len() > 0
    return column.is_not_null() & (column != "") if dtype == pl.String else column.is_not_null()


def _primary(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Code and description of each provider's primary taxonomy."""
    taxonomies = rows.select(_TAXONOMIES).explode(_TAXONOMIES).drop_nulls().unnest(_TAXONOMIES)
    return taxonomies.filter(pl.col("primary")).select(pl.col("code", "desc").fill_null(""))


def _counts(rows: pl.LazyFrame) -> dict[Names, int]:
    """How many rows are the same."""
    counted = rows.group_by(pl.all()).len().collect()
    return {tuple(row[:-1]): row[-1] for row in counted.iter_rows()}


def _commonest(counts: Counter[Names]) -> tuple[tuple[Names, int], ...]:
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
