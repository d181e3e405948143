"""What is proven of a delivery in the database, from its tables. Not here: the first claim, which all sinks share."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl
import sqlalchemy as sa

from npi_pipeline.delivery.published_day import PublishedDay
from npi_pipeline.delivery.row_digest import digest_of_texts, row_texts
from npi_pipeline.delivery.sink import Receipt
from npi_pipeline.delivery.sql.history import holds_on
from npi_pipeline.delivery.sql.relational import relational
from npi_pipeline.delivery.sql.tables import Tables
from npi_pipeline.findings import Finding

_EXAMPLES = 5


class Content:
    """How many rows each table should have of a day, and their digest, as they pass."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.sums: Counter[str] = Counter()

    def add(self, table: str, rows: pl.DataFrame) -> None:
        """Take some of a table's rows."""
        self.rows[table] += rows.height
        self.sums[table] += digest_of_texts(row_texts(rows))


def content_of(published: PublishedDay) -> Content:
    """What the tables should hold of the day, from its files."""
    content = Content()
    # A kind without a row is counted, too.
    content.rows.update(dict.fromkeys(published.rows, 0))
    for frame in published.providers():
        for table, rows in relational(frame, published.layout).items():
            content.add(table, rows)
    for frame in published.outcomes():
        content.add("outcomes", frame.select("npi", "outcome"))
    for frame in published.changes():
        content.add("changes", frame)
    return content


def rows_finding(
    day: dt.date,
    rows: Mapping[str, int],
    digests: Mapping[str, int],
    counted: Mapping[str, int],
    computed: Mapping[str, int],
) -> Finding:
    """Whether the tables hold ``rows`` with ``digests`` as of ``day``: what was ``counted`` and ``computed`` there."""
    wrong = [
        f"{table} has {counted[table]:,} rows for {rows.get(table, 0):,}"
        if counted[table] != rows.get(table, 0)
        else f"{table} has {counted[table]:,} rows, but not the same"
        for table in counted
        if (counted[table], computed[table]) != (rows.get(table, 0), digests.get(table, 0))
    ]
    if wrong:
        return Finding(
            holds=False,
            line=f"as of {day}, {'; '.join(wrong)}: deliver the day with --again",
            figures=dict(counted),
        )
    return Finding(
        holds=True,
        line=f"as of {day}, all {len(counted)} tables hold the rows of the day, by counts and digests computed there",
        figures=dict(counted),
    )


def history_finding(connection: sa.Connection, tables: Tables, receipts: Mapping[dt.date, Receipt]) -> Finding:
    """Whether each NPI has one version on each day delivered on which it was listed: no overlap, no gap."""
    history = tables.history
    problems = [*_overlaps(connection, history), *_gaps(connection, history, receipts)]
    if problems:
        return Finding(
            holds=False, line=f"{'; '.join(problems[:_EXAMPLES])}: deliver these days with --again, the oldest first"
        )
    versions = connection.scalar(sa.select(sa.func.count()).select_from(history)) or 0
    return Finding(
        holds=True,
        line=f"{versions:,} versions over {len(receipts):,} days: no overlap, no gap",
        figures={"versions": versions, "days": len(receipts)},
    )


def _overlaps(connection: sa.Connection, history: sa.Table) -> Iterable[str]:
    """Versions of an NPI that do not follow one another, end before they begin, or go on as what they were."""

    def next_of(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
        return sa.func.lead(column).over(partition_by=history.c.npi, order_by=history.c.valid_from)

    rows = sa.select(
        history.c.npi,
        history.c.valid_from,
        history.c.valid_to,
        history.c.version,
        next_of(history.c.valid_from).label("next_from"),
        next_of(history.c.version).label("next_version"),
    ).subquery()
    row = rows.c
    begins_before_its_end = sa.and_(
        row.next_from.is_not(None), sa.or_(row.valid_to.is_(None), row.valid_to > row.next_from)
    )
    goes_on = sa.and_(row.next_from == row.valid_to, row.next_version == row.version)
    wrong = sa.or_(begins_before_its_end, row.valid_to <= row.valid_from, goes_on)
    for npi, valid_from in connection.execute(
        sa.select(row.npi, row.valid_from).where(wrong).order_by(row.npi, row.valid_from).limit(_EXAMPLES)
    ):
        yield f"the version of {npi} from {valid_from} does not end where the next begins"


def _gaps(connection: sa.Connection, history: sa.Table, receipts: Mapping[dt.date, Receipt]) -> Iterable[str]:
    """Days delivered on which not as many NPIs have a version as were listed, and versions of other days."""
    for day, receipt in sorted(receipts.items()):
        count = connection.scalar(sa.select(sa.func.count()).select_from(history).where(holds_on(history, day)))
        if count != receipt.rows["outcomes"]:
            yield f"{count:,} NPIs have a version on {day}, and {receipt.rows['outcomes']:,} were listed"
    for name in ("valid_from", "valid_to"):
        bound = history.c[name]
        strange = sa.select(bound).where(bound.is_not(None), bound.not_in(list(receipts))).distinct().limit(_EXAMPLES)
        for day in connection.scalars(strange):
            yield f"versions have {name} {day}, which was not delivered"
