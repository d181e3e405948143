"""What is claimed of a day's provider table."""

from __future__ import annotations

import dataclasses
import datetime as dt

import polars as pl

from npi_pipeline.findings import Finding, Npis, joined, same_npis
from npi_pipeline.journal import compacted_parts
from npi_pipeline.outcomes import Outcome
from npi_pipeline.providers.kept_table import provider_parts, read_provider_table
from npi_pipeline.schema.columns import MAX_COLUMNS
from npi_pipeline.schema.json_paths import UNKNOWN_FIELDS, UNRECOGNISED_STATES
from npi_pipeline.storage.data_root import DataRoot

_EXAMPLES = 10
_SHOWN_CHARACTERS = 200
_NO_ROWS = pl.DataFrame(schema={"npi": pl.String, UNKNOWN_FIELDS: pl.String, UNRECOGNISED_STATES: pl.List(pl.String)})
_IS_NOTICED = pl.col(UNKNOWN_FIELDS).is_not_null() | pl.col(UNRECOGNISED_STATES).is_not_null()


@dataclasses.dataclass(frozen=True)
class TableRows:
    """What the claims about rows are proven from: ``npis`` of all rows, and the rows in which something is noticed."""

    npis: Npis
    noticed: pl.DataFrame


def read_rows(root: DataRoot, day: dt.date) -> TableRows:
    """The rows of the table, in one pass over it."""
    noticed = [_NO_ROWS]
    npis: list[Npis] = []
    # Shortened at once: such a cell may be as long as an answer.
    cells = pl.col(UNKNOWN_FIELDS).str.head(_SHOWN_CHARACTERS)
    for part in provider_parts(root, day):
        rows = pl.read_parquet(part, columns=_NO_ROWS.columns).select(_NO_ROWS.columns)
        npis.append(Npis.of([rows["npi"]]))
        noticed.append(rows.filter(_IS_NOTICED).with_columns(cells))
    return TableRows(joined(npis), pl.concat(noticed))


def one_row_per_found_npi(root: DataRoot, day: dt.date, reading: TableRows | None = None) -> Finding:
    """The NPIs that the journal has as found and the NPIs of the provider table are the same set, none twice."""
    is_found = pl.col("outcome") == Outcome.found.value
    found = Npis.of(part.filter(is_found)["npi"] for part in compacted_parts(root, day, ("npi", "outcome")))
    rows = reading or read_rows(root, day)
    return same_npis("the found NPIs of the journal", found, "the provider table", rows.npis)


def no_unknown_fields(root: DataRoot, day: dt.date, reading: TableRows | None = None) -> Finding:
    """No record holds a field without a column, or more items than its list has columns for."""
    rows = (reading or read_rows(root, day)).noticed.drop_nulls(UNKNOWN_FIELDS)
    if rows.is_empty():
        return Finding(holds=True, line="every field has its column", figures={"records": 0})
    examples = "; ".join(f"{npi}: {fields}" for npi, fields, _ in rows.head(3).iter_rows())
    too_long = read_provider_table(root, day).beyond_width
    lists = "; ".join(
        f"{noticed.what} is longer than its columns in {noticed.records:,} of them ({', '.join(noticed.examples)})"
        for noticed in too_long[:3]
    )
    remedy = f"; {lists}: give it more with NPI_LIST_WIDTHS, or leave it there" if lists else ""
    return Finding(
        holds=False,
        line=f"{rows.height:,} records hold fields without a column, kept in `{UNKNOWN_FIELDS}`: {examples}{remedy}",
        figures={"records": rows.height, "lists_beyond_their_width": len(too_long)},
    )


def states_are_recognised(root: DataRoot, day: dt.date, reading: TableRows | None = None) -> Finding:
    """Every practice address has a state that is recognised."""
    rows = (reading or read_rows(root, day)).noticed
    texts = rows.explode(UNRECOGNISED_STATES).drop_nulls(UNRECOGNISED_STATES)
    counts = texts[UNRECOGNISED_STATES].value_counts(sort=True).head(_EXAMPLES)
    shown = ", ".join(f"{text!r} ({count:,})" for text, count in counts.iter_rows())
    npis = texts["npi"].unique(maintain_order=True)
    if npis.is_empty():
        return Finding(holds=True, line="every state is recognised", figures={"npis": 0})
    return Finding(
        holds=False,
        line=f"{npis.len():,} {'NPI' if npis.len() == 1 else 'NPIs'} with an unrecognised state: {shown}",
        figures={"npis": npis.len(), "examples": ", ".join(npis.head(_EXAMPLES))},
    )


def databases_take_the_columns(root: DataRoot, day: dt.date) -> Finding:
    """The header is no wider than MAX_COLUMNS, which only NPI_LIST_WIDTHS can make it."""
    table = read_provider_table(root, day)
    columns = len(table.columns)
    holds = columns <= MAX_COLUMNS
    line = f"{columns:,} columns, of {MAX_COLUMNS:,} that PostgreSQL takes (SQLite 2,000, Excel 16,384)"
    if not holds:
        widest = sorted(table.widths.items(), key=lambda item: -item[1])[:3]
        line += (
            f"; the widest lists: {', '.join(f'{name}={width}' for name, width in widest)}; give them less in "
            f"NPI_LIST_WIDTHS (further items are kept in `{UNKNOWN_FIELDS}`) and run the day again"
        )
    return Finding(holds=holds, line=line, figures={"columns": columns})
