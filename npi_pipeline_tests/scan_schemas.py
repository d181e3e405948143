"""The schemas of the scans, as docs/api.md shows them: ``python -m npi_pipeline_tests.scan_schemas``."""

from __future__ import annotations

import polars as pl

from npi_pipeline.scans import CHANGE_SCHEMA, OUTCOME_SCHEMA, provider_schema


def schema_lists() -> str:
    """A line of Markdown for each scan."""
    tables = {
        "scan_outcomes": OUTCOME_SCHEMA,
        "scan_changes": CHANGE_SCHEMA,
        "scan_providers` of `nppes": provider_schema(),
    }
    return "\n".join(
        f"- `{name}`: {', '.join(f'`{column}` {_short(dtype)}' for column, dtype in schema.items())}"
        for name, schema in tables.items()
    )


def _short(dtype: pl.DataType) -> str:
    if dtype == pl.List(pl.String()):
        return "List(String)"
    return "List(Struct)" if isinstance(dtype, pl.List) else str(dtype)


if __name__ == "__main__":
    print(schema_lists())
