"""What the assets have in common: group, owners, retry policy, and how failures and small tables are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

GROUP = "npi"
OWNERS = ["team:provider-data"]

# For a crash or a registry that is down; what an HTTP repetition can mend is repeated inside the fetch.
NETWORK_RETRIES = dg.RetryPolicy(max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL)


def permanent_failure(message: str, **metadata: Any) -> dg.Failure:
    """A failure that no repetition mends: the step's retry policy leaves it alone."""
    return dg.Failure(description=message, metadata=metadata, allow_retries=False)


def table(frame: pl.DataFrame) -> dg.TableMetadataValue:
    """A small frame as a table in the UI."""
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in frame.iter_rows(named=True)
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, _type(dtype)) for name, dtype in frame.schema.items()]),
    )


def counts_table(counts: Mapping[str, int], name: str) -> dg.TableMetadataValue:
    """Counts as a table in the UI, largest first; ``name`` is what is counted."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return table(pl.DataFrame({name: [key for key, _ in ordered], "count": [count for _, count in ordered]}))


def _type(dtype: pl.DataType) -> str:
    return "int" if dtype.is_integer() else "float" if dtype.is_float() else "string"


def _cell(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
