"""Comparing what is read from dissemination files with what the API answers, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from npi_pipeline.providers.declared import read_declared
from npi_pipeline.registries.nppes_api import NPPES
from npi_pipeline.registries.nppes_bulk.records import CAPITALS_IN_BULK, DASHES_IN_API, NOT_IN_BULK
from npi_pipeline.registries.nppes_bulk.store_schema import LISTS


def read(bodies: Sequence[str]) -> pl.DataFrame:
    """The records of answers."""
    return read_declared(bodies, NPPES.layout, {}).frame


def as_in_bulk(of_api: pl.DataFrame) -> pl.DataFrame:
    """What the API tells, without that of which it is said that the files do not have it like that."""

    def field(name: str, values: pl.Expr) -> pl.Expr:
        if name in NOT_IN_BULK:
            return pl.when(pl.lit(value=False)).then(values)
        if name in DASHES_IN_API:
            return pl.when(values != "--").then(values)
        return values.str.to_uppercase() if name in CAPITALS_IN_BULK else values

    def of_list(name: str) -> pl.Expr:
        inner = LISTS[name].inner.fields
        fields = [field(f"{name}[*].{f.name}", pl.element().struct.field(f.name)).alias(f.name) for f in inner]
        return pl.col(name).list.eval(pl.struct(fields)).alias(name)

    return of_api.select(
        of_list(name) if name in LISTS else field(name, pl.col(name)).alias(name) for name in of_api.columns
    )


def differing(one: pl.DataFrame, other: pl.DataFrame) -> list[tuple[str, object, object]]:
    """The first cell of each column that is not the same."""
    assert one.columns == other.columns
    return [
        (name, *next((a, b) for a, b in zip(one[name].to_list(), other[name].to_list(), strict=True) if a != b))
        for name in one.columns
        if not one[name].equals(other[name])
    ]
