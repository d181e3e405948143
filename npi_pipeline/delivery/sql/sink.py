"""A database as a sink: one transaction per delivery, proven from its own tables. See docs/deliveries.md.

Not here: the steps of a delivery (``deliver_day``), and how a database is reached (``database``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping

from npi_pipeline.delivery.published_day import PublishedDay
from npi_pipeline.delivery.sink import Receipt, receipt_finding
from npi_pipeline.delivery.sql.database import Database
from npi_pipeline.delivery.sql.deliver_day import deliver_day, make_tables, read_receipts
from npi_pipeline.delivery.sql.digests import rows_and_digests_on
from npi_pipeline.delivery.sql.proofs import content_of, history_finding, rows_finding
from npi_pipeline.delivery.sql.tables import tables_in
from npi_pipeline.delivery.sql.usable import ensure_usable
from npi_pipeline.findings import Finding
from npi_pipeline.settings import SinkUrl


def sink_at(sink: SinkUrl) -> SqlSink:
    """The database at the sink's URL, which is not reached yet. Raises SettingsError."""
    return SqlSink(Database(sink))


class SqlSink:
    """A database: its tables are made, and get the columns that they lack, with the first delivery."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tables = tables_in(database.schema, scratch_is_temporary=database.is_known)

    @property
    def name(self) -> str:
        """What it is called in the settings."""
        return self._database.name

    @property
    def place(self) -> str:
        """Host, port and database."""
        return self._database.place

    def receipts(self) -> Mapping[dt.date, Receipt]:
        """The receipts of all days that it holds. Raises DeliveryError."""
        return self._receipts()

    def receipt(self, day: dt.date) -> Receipt | None:
        """See Sink."""
        return self._receipts(day).get(day)

    def deliver(self, published: PublishedDay, ensure_current: Callable[[], None]) -> Receipt:
        """Deliver the day, in one transaction; the tables are made before that. Raises DeliveryError."""
        with self._database.transaction() as connection:
            make_tables(connection, self._tables)
        if not self._database.is_known and not self.receipts():
            ensure_usable(self._database, self._tables)
        with self._database.transaction() as connection:
            receipt = deliver_day(connection, self._tables, published)
            ensure_current()
        return receipt

    def findings(self, published: PublishedDay) -> Iterator[tuple[str, Finding]]:
        """All claims; counts and digests are computed in the database. Raises DeliveryError."""
        content = content_of(published)
        receipts = self.receipts()
        receipt = receipts.get(published.day)
        yield "receipt_is_of_the_publication", receipt_finding(receipt, published, content.rows)
        if receipt is None:
            return
        with self._database.transaction() as connection:
            counts, digests = rows_and_digests_on(connection, self._tables, published.day)
            whole = history_finding(connection, self._tables, receipts)
        yield "rows_agree", rows_finding(published.day, content.rows, content.sums, counts, digests)
        yield "history_is_whole", whole

    def _receipts(self, day: dt.date | None = None) -> dict[dt.date, Receipt]:
        if not self._database.is_there():
            return {}
        with self._database.transaction() as connection:
            return {receipt.day: receipt for receipt in read_receipts(connection, self._tables, day)}
