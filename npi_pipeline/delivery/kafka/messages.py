"""What is sent: providers and changes as JSON values with their keys. Not here: their JSON Schema (``json_schemas``).

A provider's value says nothing of the day, so that the same provider has the same bytes on every day; what belongs to
the delivery is in the headers.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from itertools import chain

import msgspec
import polars as pl

from npi_pipeline.delivery.published_day import PublishedDay
from npi_pipeline.schema.columns import TableLayout, column_name
from npi_pipeline.schema.json_paths import STATES, UNKNOWN_FIELDS, UNRECOGNISED_STATES

# Rows made into JSON at a time: a provider has some 3 KB, of one in a thousand records more.
_ROWS = 1_000
_DIGEST_BYTES = 16

KeyAndValue = tuple[str, bytes]
"""An NPI, and the JSON of what is said about it."""


def version_of(value: bytes) -> bytes:
    """What tells one value from another, 16 bytes long."""
    return hashlib.blake2b(value, digest_size=_DIGEST_BYTES).digest()


def headers_of(published: PublishedDay) -> list[tuple[str, bytes]]:
    """What every message says of the delivery that it came with."""
    return [
        ("day", str(published.day).encode()),
        ("publication", published.publication.manifest_sha256.encode()),
        ("changes", published.kept_changes.file.sha256.encode()),
    ]


def providers_of(published: PublishedDay) -> Iterator[KeyAndValue]:
    """Each found provider of the day, in the order of the NPIs.

    Of a declared format with the names and types of the provider table, nested; else the record as it was given.
    """
    if not published.layout.declared:
        return _records_of(published)
    nested = _nested(published.layout)
    return chain.from_iterable(
        zip(rows["npi"].to_list(), _lines(rows.select(nested)), strict=True)
        for frame in published.providers()
        for rows in frame.iter_slices(_ROWS)
    )


def changes_of(published: PublishedDay) -> Iterator[KeyAndValue]:
    """Each change of the day. ``id`` is the same in every delivery of the day, and no two changes of it share one."""
    compared_with = published.compared_with
    day = pl.lit(str(published.day))
    nested = (
        pl.format("{}/{}/{}", day, "npi", "field").alias("id"),
        day.alias("day"),
        "npi", "change", "field", "old", "new",
        pl.lit(str(compared_with) if compared_with else None, pl.String).alias("compared_with"),
    )  # fmt: skip
    return chain.from_iterable(
        zip(rows["npi"].to_list(), _lines(rows.select(nested)), strict=True) for rows in published.changes()
    )


def _nested(layout: TableLayout) -> list[pl.Expr]:
    """The columns of the provider table as one row per message: objects within, lists never null."""
    columns = [pl.col("npi")]
    for part in layout.objects_of_columns():
        fields = [pl.col(column_name(part.name, field)).alias(field.name) for field in part.fields]
        columns += [pl.struct(fields).alias(part.name)] if part.name else fields
    lists = [part.name for part in layout.lists_of_columns()]
    columns += [pl.col(name).fill_null([]) for name in (*lists, STATES, UNRECOGNISED_STATES)]
    return [*columns, pl.col(UNKNOWN_FIELDS)]


def _records_of(published: PublishedDay) -> Iterator[KeyAndValue]:
    practices = chain.from_iterable(
        frame.select("npi", STATES, UNRECOGNISED_STATES).iter_rows() for frame in published.providers()
    )
    encode = msgspec.json.Encoder(order="sorted").encode
    for (npi, states, unrecognised), (of_npi, record) in zip(practices, published.records(), strict=True):
        assert npi == of_npi, "the table and the journal are of one publication"  # noqa: S101
        yield (
            npi,
            encode({"npi": npi, "record": record, STATES: states or [], UNRECOGNISED_STATES: unrecognised or []}),
        )


def _lines(rows: pl.DataFrame) -> list[bytes]:
    """Each row as JSON."""
    content = io.BytesIO()
    rows.write_ndjson(content)
    return content.getvalue().split(b"\n")[: rows.height]
