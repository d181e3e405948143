"""The rows of real dissemination files in ``data/registry/bulk`` (2024): 108 of the main file, some of two others."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from npi_pipeline.registries.nppes_bulk.child_files import child_items_of, with_child_items
from npi_pipeline.registries.nppes_bulk.columns import child_columns, main_columns
from npi_pipeline.registries.nppes_bulk.records import records_of

_BULK = Path(__file__).parents[2] / "data" / "registry" / "bulk"


def rows_of(name: str) -> pl.DataFrame:
    return pl.read_csv(_BULK / name, infer_schema=False)


def main_rows() -> pl.DataFrame:
    return rows_of("npidata_v1_330_108rows_2024.csv")


def child_rows(kind: str) -> pl.DataFrame:
    return rows_of(f"{kind}_pfile_sample.csv")


def child_items(kind: str, rows: pl.DataFrame) -> pl.DataFrame:
    return child_items_of(kind, rows, child_columns(kind, rows.columns, f"{kind}_pfile.csv"))


def records(rows: pl.DataFrame) -> pl.DataFrame:
    return records_of(rows, main_columns(rows.columns, "npidata_pfile.csv"))


def all_records() -> pl.DataFrame:
    items = {kind: child_items(kind, child_rows(kind)) for kind in ("othername", "pl")}
    return with_child_items(records(main_rows()), items)
