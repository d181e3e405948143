"""The Parquet lake: Hive's layout, and beside it a receipt for each day that names the day's files.

    providers/day=2026-11-24/state=CA/20261124T061500Z-5f0c9a1e-00000.parquet
    outcomes/day=2026-11-24/20261124T061500Z-5f0c9a1e-00000.parquet
    changes/day=2026-11-24/20261124T061500Z-5f0c9a1e-00000.parquet
    deliveries/2026-11-24.json

No file is ever written over: each delivery's files have its name. Writing the receipt is the commit, of all tables at
once and on the condition that it is the one that was read; what it does not name is removed after it. While there is
something to be removed, or could be, the receipt says so: a delivery that is killed is then done again.
Not here: the rows (``lake_tables``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
import polars as pl

from npi_pipeline.delivery.lake_address import as_error_of, open_lake
from npi_pipeline.delivery.lake_tables import STATE, TABLES, LakeTable, Reading, reading, same_rows, tables_of
from npi_pipeline.delivery.published_day import PublishedDay
from npi_pipeline.delivery.sink import DeliveryError, Receipt, receipt_finding
from npi_pipeline.findings import Finding
from npi_pipeline.providers.provider_table import NO_STATE
from npi_pipeline.settings import SinkUrl
from npi_pipeline.storage.data_root import DataRoot, StorageError, unique_name
from npi_pipeline.storage.s3 import in_threads

RECEIPTS = "deliveries"
# So much of a table waits in memory until a partition has enough for a file.
_WAITING_BYTES = 128 << 20

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class KeptDelivery:
    """The receipt of a day as it lies in the lake.

    ``files`` are the paths of the day's files by table, below the lake's root. ``is_finished`` is False while other
    files of the day may lie there.
    """

    receipt: Receipt
    files: Mapping[str, tuple[str, ...]]
    is_finished: bool

    def to_json(self) -> bytes:
        """The content of the file."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"))


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(KeptDelivery)


@dataclasses.dataclass(frozen=True)
class ParquetSink:
    """A lake of Parquet files below ``root``. See Sink."""

    name: str
    root: DataRoot

    @property
    def place(self) -> str:
        """See Sink."""
        return self.root.uri()

    def receipts(self) -> Mapping[dt.date, Receipt]:
        """See Sink. A day that may have files that its receipt does not name has none."""
        found: dict[dt.date, Receipt] = {}

        def read(path: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                receipt = _finished(self._understood(path, self.root.read(path)))
                if receipt:
                    found[receipt.day] = receipt

        with as_error_of(self.name):
            in_threads(read, [file.path for file in self.root.list(RECEIPTS)])
        return dict(sorted(found.items()))

    def receipt(self, day: dt.date) -> Receipt | None:
        """See Sink."""
        with as_error_of(self.name):
            return _finished(self._kept(day)[0])

    def deliver(self, published: PublishedDay, ensure_current: Callable[[], None]) -> Receipt:
        """See Sink. The files are made in a local folder first."""
        delivery = unique_name()
        with tempfile.TemporaryDirectory(prefix="npi-") as scratch:
            made = Path(scratch)
            rows = {
                table.name: _write(table, made / table.name / f"day={published.day}", delivery)
                for table in tables_of(published)
            }
            files = {
                table: {path.relative_to(made).as_posix(): path for path in sorted((made / table).rglob("*.parquet"))}
                for table in TABLES
            }
            with as_error_of(self.name):
                tag = self._unfinished(published.day)
            uploads = {path: local for paths in files.values() for path, local in paths.items()}
            with self._removed_when_it_fails(uploads):
                with as_error_of(self.name):
                    in_threads(lambda upload: self.root.upload(*upload), uploads.items())
                    # What lies there now is of deliveries that this one supersedes. What comes later is not known.
                    superseded = self._files_of(published.day) - uploads.keys()
                ensure_current()
        kept = KeptDelivery(
            Receipt.of(published, rows),
            {table: tuple(paths) for table, paths in files.items()},
            is_finished=not superseded,
        )
        with as_error_of(self.name):
            # When this fails nobody knows whether it is there: no file that it names is removed.
            tag = self._commit(kept, tag)
            if superseded:
                self.root.delete(*sorted(superseded))
                self._commit(dataclasses.replace(kept, is_finished=True), tag)
        return kept.receipt

    def findings(self, published: PublishedDay) -> Iterator[tuple[str, Finding]]:
        """See Sink."""
        tables = tables_of(published)
        of_day = {table.name: reading(table.batches()) for table in tables}
        with as_error_of(self.name):
            kept = self._kept(published.day)[0]
            rows = {table: read.rows for table, read in of_day.items()}
            yield "receipt_is_of_the_publication", receipt_finding(_finished(kept), published, rows)
            yield "rows_agree", self._rows_agree(published.day, kept, tables, of_day)

    def _rows_agree(
        self, day: dt.date, kept: KeptDelivery | None, tables: Iterable[LakeTable], of_day: dict[str, Reading]
    ) -> Finding:
        if kept is None:
            return Finding(holds=False, line=f"nothing of {day} was delivered: deliver the day")
        named = {path for paths in kept.files.values() for path in paths}
        there = self._files_of(day)
        for files, what in ((named - there, "is missing"), (there - named, "is of no delivery that was finished")):
            if files:
                line = f"{self.root.uri(min(files))} {what} ({len(files)} files): deliver {day} with --again"
                return Finding(holds=False, line=line)
        try:
            of_lake = {table.name: reading(self._frames(kept.files[table.name])) for table in tables}
        except pl.exceptions.PolarsError as error:
            return Finding(
                holds=False,
                line=f"a file of {day} cannot be read ({_first_line(error)}): deliver it with --again",
            )
        return same_rows(of_day, of_lake, day)

    def _frames(self, paths: Iterable[str]) -> Iterator[pl.DataFrame]:
        with tempfile.TemporaryDirectory(prefix="npi-") as scratch:
            local = Path(scratch) / "file.parquet"
            for path in paths:
                self.root.download(path, local)
                frame = pl.read_parquet(local, hive_partitioning=False)
                folder = path.split("/")[-2]
                state = folder.removeprefix(f"{STATE}=") if folder.startswith(f"{STATE}=") else None
                yield frame.with_columns(pl.lit(state).alias(STATE)) if state else frame

    def _files_of(self, day: dt.date) -> set[str]:
        return {file.path for table in TABLES for file in self.root.list(f"{table}/day={day}")}

    def _kept(self, day: dt.date) -> tuple[KeptDelivery | None, str | None]:
        """The receipt that is there, and its tag."""
        path = _receipt_path(day)
        try:
            content, tag = self.root.read_tagged(path)
        except FileNotFoundError:
            return None, None
        return self._understood(path, content), tag

    def _understood(self, path: str, content: bytes) -> KeptDelivery:
        try:
            return _DECODER.decode(content)
        except msgspec.DecodeError as error:
            raise DeliveryError(
                f"the sink {self.name}: {self.root.uri(path)} cannot be understood ({error}): remove it, and deliver "
                "its day"
            ) from error

    def _unfinished(self, day: dt.date) -> str | None:
        """Let the receipt that is there, if one is, say that files of another delivery may lie beside its own."""
        kept, tag = self._kept(day)
        if kept is None or not kept.is_finished:
            return tag
        return self._commit(dataclasses.replace(kept, is_finished=False), tag)

    def _commit(self, kept: KeptDelivery, tag: str | None) -> str:
        written = self.root.write_if(_receipt_path(kept.receipt.day), kept.to_json(), tag)
        if written is None:
            raise DeliveryError(
                f"the sink {self.name}: {kept.receipt.day} was delivered by another run at the same time: deliver it "
                "again",
                retryable=True,
            )
        return written

    @contextlib.contextmanager
    def _removed_when_it_fails(self, paths: Iterable[str]) -> Iterator[None]:
        """Who reads without the receipts does not see them longer than need be."""
        try:
            yield
        except BaseException:
            try:
                self.root.delete(*paths)
            except StorageError as error:
                logger.warning("files of a delivery that failed are left behind until the next one: %s", error)
            raise


def sink_at(sink: SinkUrl) -> ParquetSink:
    """The lake at a URL (see ``lake_address``); it is made by its first delivery. Raises SettingsError."""
    return ParquetSink(sink.name, open_lake(sink))


class _Partitions:
    """The files of a table: rows wait until one of its partitions has enough for a file."""

    def __init__(self, table: LakeTable, folder: Path, delivery: str) -> None:
        self._table, self._folder, self._delivery = table, folder, delivery
        self._waiting: dict[tuple[str, ...], list[pl.DataFrame]] = {}
        self._bytes: dict[tuple[str, ...], int] = {}
        self._files = 0
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        self.rows += frame.height
        by = self._table.partition_by
        parts = frame.partition_by(by, as_dict=True, include_key=False) if by else {(): frame}
        for values, rows in parts.items():
            self._waiting.setdefault(values, []).append(rows)
            self._bytes[values] = self._bytes.get(values, 0) + int(rows.estimated_size())
        while sum(self._bytes.values()) > _WAITING_BYTES:
            self._write(max(self._bytes, key=self._bytes.__getitem__))

    def close(self) -> None:
        if not self.rows:
            # Without any file a reader would not know the table's columns.
            nowhere = tuple(NO_STATE for _ in self._table.partition_by)
            self._waiting[nowhere] = [pl.DataFrame(schema=self._table.schema).drop(self._table.partition_by)]
        for values in sorted(self._waiting):
            self._write(values)

    def _write(self, values: tuple[str, ...]) -> None:
        folder = self._folder.joinpath(
            *(f"{column}={value}" for column, value in zip(self._table.partition_by, values, strict=True))
        )
        folder.mkdir(parents=True, exist_ok=True)
        rows = pl.concat(self._waiting.pop(values))
        self._bytes.pop(values, None)
        rows.write_parquet(folder / f"{self._delivery}-{self._files:05d}.parquet", compression_level=1)
        self._files += 1


def _write(table: LakeTable, folder: Path, delivery: str) -> int:
    """Write the rows of ``table`` below ``folder``, and say how many there are."""
    partitions = _Partitions(table, folder, delivery)
    for frame in table.batches():
        partitions.add(frame)
    partitions.close()
    return partitions.rows


def _finished(kept: KeptDelivery | None) -> Receipt | None:
    return kept.receipt if kept and kept.is_finished else None


def _receipt_path(day: dt.date) -> str:
    return f"{RECEIPTS}/{day}.json"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
