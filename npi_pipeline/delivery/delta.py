"""The Delta lake: tables ``providers``, ``outcomes`` and ``changes``, and ``deliveries`` with a receipt for each day.

A day is replaced in each table by one commit; the receipt comes last, and names the versions of the tables that it is
of. While the day is replaced its receipt of before says so: a delivery that is killed is then done again.
Not here: the rows (``lake_tables``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import polars as pl
from arro3.core import RecordBatch, RecordBatchReader, Table
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from npi_pipeline.delivery.lake_address import as_error_of, open_lake
from npi_pipeline.delivery.lake_tables import DAY, TABLES, LakeTable, reading, same_rows, tables_of
from npi_pipeline.delivery.published_day import PublishedDay
from npi_pipeline.delivery.sink import DeliveryError, Receipt, receipt_finding
from npi_pipeline.findings import Finding
from npi_pipeline.settings import SinkUrl
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.engines import object_store_options, polars_options
from npi_pipeline.storage.s3_errors import on_one_line

RECEIPTS = "deliveries"
RECEIPT_SCHEMA = pl.Schema(
    {
        "day": pl.Date(),
        "is_finished": pl.Boolean(),
        "published_at": pl.Datetime("us", "UTC"),
        "delivered_at": pl.Datetime("us", "UTC"),
        **{f"{table}_version": pl.Int64() for table in TABLES},
        "receipt": pl.String(),
    }
)
# A writer holds so many rows of each partition in memory.
_ROW_GROUP = 2_000
_ROWS_AT_A_TIME = 20_000
# Some ten seconds of refusals are survived; then botocore is asked why, which has more patience.
_PATIENCE = {"max_retries": "6"}

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class DeltaSink:
    """A lake of Delta tables below ``root``. See Sink."""

    name: str
    root: DataRoot

    @property
    def place(self) -> str:
        """See Sink."""
        return self.root.uri()

    def receipts(self) -> Mapping[dt.date, Receipt]:
        """See Sink. A day that is being replaced, or whose delivery was killed meanwhile, has none."""
        kept = self._kept(self._table(RECEIPTS)).filter("is_finished").sort(DAY)
        return {receipt.day: receipt for receipt in map(Receipt.from_json, kept["receipt"])}

    def receipt(self, day: dt.date) -> Receipt | None:
        """See Sink. They are in one small table."""
        return self.receipts().get(day)

    def deliver(self, published: PublishedDay, ensure_current: Callable[[], None]) -> Receipt:
        """See Sink. ``ensure_current`` is called before each commit."""
        day = published.day
        receipts = self._table(RECEIPTS)
        kept = self._kept(receipts)
        if not kept.filter(pl.col(DAY) == day, "is_finished").is_empty():
            kept = kept.with_columns(is_finished=pl.col("is_finished") & (pl.col(DAY) != day))
            receipts = self._keep(receipts, kept)
        replaced = {table.name: self._replace(table, day, ensure_current) for table in tables_of(published)}
        ensure_current()
        receipt = Receipt.of(published, {name: rows for name, (_, rows) in replaced.items()})
        new = {
            "day": day,
            "is_finished": True,
            "published_at": receipt.published_at,
            "delivered_at": receipt.delivered_at,
            **{f"{name}_version": table.version() for name, (table, _) in replaced.items()},
            "receipt": receipt.to_json().decode(),
        }
        others = kept.filter(pl.col(DAY) != day)
        receipts = self._keep(receipts, pl.concat([others, pl.DataFrame([new], schema=RECEIPT_SCHEMA)]))
        self._remove_old_files([receipts, *(table for table, _ in replaced.values())])
        return receipt

    def findings(self, published: PublishedDay) -> Iterator[tuple[str, Finding]]:
        """See Sink."""
        of_day = {table.name: reading(table.batches()) for table in tables_of(published)}
        receipt = self.receipt(published.day)
        rows = {table: read.rows for table, read in of_day.items()}
        yield "receipt_is_of_the_publication", receipt_finding(receipt, published, rows)
        of_lake = {table: reading(self._rows(table, published.day)) for table in TABLES}
        yield "rows_agree", same_rows(of_day, of_lake, published.day)

    def _replace(self, table: LakeTable, day: dt.date, ensure_current: Callable[[], None]) -> tuple[DeltaTable, int]:
        """Let the day's rows be those of ``table``, in one commit: the table in the lake, and how many they are."""
        batches = _Batches(table, day, ensure_current)
        try:
            written = self._write(
                table.name,
                self._table(table.name),
                batches.reader(),
                partition_by=[DAY, *table.partition_by],
                predicate=f"{DAY} = '{day}'",
                schema_mode="merge",
                writer_properties=WriterProperties(compression="ZSTD", max_row_group_size=_ROW_GROUP),
            )
        except DeliveryError:
            if batches.error is None:
                raise
            # It comes back as text.
            raise batches.error from None
        return written, batches.rows

    def _kept(self, table: DeltaTable | None) -> pl.DataFrame:
        """The receipts as they lie in the lake: RECEIPT_SCHEMA."""
        if table is None:
            return pl.DataFrame(schema=RECEIPT_SCHEMA)
        with self._told():
            return self._scan(table).collect()

    def _keep(self, table: DeltaTable | None, kept: pl.DataFrame) -> DeltaTable:
        """Let the receipts be ``kept``: refused when they are not those that were read from ``table`` any more."""
        return self._write(RECEIPTS, table, kept.sort(DAY))

    def _rows(self, name: str, day: dt.date) -> Iterator[pl.DataFrame]:
        table = self._table(name)
        if table is None:
            return
        with self._told():
            rows = self._scan(table).filter(pl.col(DAY) == day).drop(DAY)
            yield from rows.collect_batches(chunk_size=_ROWS_AT_A_TIME)

    def _scan(self, table: DeltaTable) -> pl.LazyFrame:
        # Not of the DeltaTable itself: polars refuses deltalake's way of writing its patience.
        return pl.scan_delta(table.table_uri, version=table.version(), **polars_options(self.root))

    def _table(self, name: str) -> DeltaTable | None:
        options = self._options()
        with self._told(), contextlib.suppress(TableNotFoundError):
            return DeltaTable(self.root.uri(name), storage_options=options)
        return None

    def _write(self, name: str, table: DeltaTable | None, rows: Any, **how: Any) -> DeltaTable:
        """Write to the table ``name``, which was read as ``table``, or is made; it is then at the version of this."""
        uri, options = self.root.uri(name), self._options()
        with self._told():
            write_deltalake(table or uri, rows, mode="overwrite", storage_options=options, **how)
            return table or DeltaTable(uri, storage_options=options)

    def _remove_old_files(self, tables: Iterable[DeltaTable]) -> None:
        """Remove what no version of the last seven days has: also what deliveries that were killed left behind."""
        try:
            for table in tables:
                with self._told():
                    # Removing is noted in the table's log: only when there is something to be removed.
                    if table.vacuum(dry_run=True, full=True):
                        table.vacuum(dry_run=False, full=True)
        except DeliveryError as error:
            logger.warning("files that nobody reads any more are left behind: %s", error)

    def _options(self) -> dict[str, str]:
        with as_error_of(self.name):
            options = object_store_options(self.root)
        return options | _PATIENCE if options else {}

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tell in one line what deltalake, or polars in its place, could not do."""
        try:
            yield
        except TableNotFoundError:
            raise
        except (DeltaError, OSError, pl.exceptions.PolarsError) as error:
            # botocore tells S3's reasons better, and whether they may pass.
            with as_error_of(self.name):
                self.root.folders(RECEIPTS)
            raise DeliveryError(
                f"the sink {self.name}: {on_one_line(str(error))}; see that {self.place} can be read and written",
                retryable=True,
            ) from error


def sink_at(sink: SinkUrl) -> DeltaSink:
    """The lake at a URL (see ``lake_address``); it is made by its first delivery. Raises SettingsError."""
    return DeltaSink(sink.name, open_lake(sink))


class _Batches:
    """The rows of a table as a stream of Arrow's, whose end is right before the commit.

    ``rows`` counts them; ``error`` is what went wrong on the way.
    """

    def __init__(self, table: LakeTable, day: dt.date, ensure_current: Callable[[], None]) -> None:
        self._table, self._day, self._ensure_current = table, day, ensure_current
        self.rows = 0
        self.error: BaseException | None = None

    def reader(self) -> RecordBatchReader:
        nothing = pl.DataFrame(schema=self._table.schema | {DAY: pl.Date()})
        return RecordBatchReader.from_batches(Table.from_arrow(nothing).schema, self._batches())

    def _batches(self) -> Iterator[RecordBatch]:
        try:
            for frame in self._table.batches():
                self.rows += frame.height
                yield from Table.from_arrow(frame.with_columns(pl.lit(self._day).alias(DAY))).to_batches()
            self._ensure_current()
        except BaseException as error:
            self.error = error
            raise
