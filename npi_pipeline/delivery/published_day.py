"""What is delivered: a published day with its changes, and its rows, batch by batch.

Not here: how a sink keeps them (a module or folder for each), and what the rows are proven to be (``proofs``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
import polars as pl

from npi_pipeline.changes.kept_changes import KeptChanges, Publication, read_kept_changes
from npi_pipeline.changes.write_changes import COLUMNS as CHANGE_COLUMNS
from npi_pipeline.delivery.sink import DeliveryError, PublicationKey
from npi_pipeline.journal import SCHEMA, WITHOUT_BODY, CompactedJournal, read_compacted_journal, rows_of
from npi_pipeline.outcomes import Outcome
from npi_pipeline.providers.kept_table import KeptTable, parts_of, read_kept_table
from npi_pipeline.registries.registry import format_of
from npi_pipeline.schema.columns import TableLayout
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.csv_files import csv_rows
from npi_pipeline.state_files.csv_injection import unescape_formulas
from npi_pipeline.state_files.publish import read_manifest
from npi_pipeline.storage.data_root import DataRoot

# Rows of the changes at a time.
_BATCH = 20_000
CHANGE_SCHEMA = pl.Schema({column.name: pl.String() for column in CHANGE_COLUMNS})
OUTCOME_SCHEMA = pl.Schema({name: SCHEMA[name] for name in WITHOUT_BODY if name != "run"})


@dataclasses.dataclass(frozen=True)
class PublishedDay:
    """A complete day: its publication, its changes, and where its rows lie. Batches come in the order of their NPIs."""

    root: DataRoot
    files: FileSettings
    publication: Publication
    kept_changes: KeptChanges
    table: KeptTable
    journal: CompactedJournal

    @property
    def day(self) -> dt.date:
        """The day."""
        return self.publication.day

    @property
    def key(self) -> PublicationKey:
        """Which publication of the day it is, with which changes."""
        return self.publication.manifest_sha256, self.kept_changes.file.sha256

    @property
    def compared_with(self) -> dt.date | None:
        """The day that its changes are from; None when there was none before it."""
        other = self.kept_changes.compared_with
        return other.day if other else None

    @property
    def layout(self) -> TableLayout:
        """How the registry format of the day declares its records. Raises DeliveryError for one that is gone."""
        format_ = format_of(self.journal.registry)
        if format_ is None:
            raise DeliveryError(f"{self.day} was recorded in a registry format that this release does not know")
        return format_.layout

    @property
    def rows(self) -> dict[str, int]:
        """How many rows there are of each kind."""
        return {
            "providers": self.table.table.rows,
            "outcomes": self.journal.rows,
            "changes": self.kept_changes.file.rows,
        }

    def providers(self) -> Iterator[pl.DataFrame]:
        """The provider table (see docs/api.md for its columns): lists are lists of structs. Raises TableError."""
        return map(pl.read_parquet, parts_of(self.root, self.table))

    def outcomes(self) -> Iterator[pl.DataFrame]:
        """One row per NPI of the list: OUTCOME_SCHEMA. Raises JournalError, StorageError."""
        return rows_of(self.root, self.journal, OUTCOME_SCHEMA.names())

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The record of each found NPI as the registry gave it. Raises JournalError."""
        path = self.layout.record_path
        for frame in rows_of(self.root, self.journal, ("npi", "outcome", "body")):
            for npi, body in frame.filter(pl.col("outcome") == Outcome.found.value).select("npi", "body").iter_rows():
                record = msgspec.json.decode(body.removeprefix("\ufeff"))
                for key in path:
                    record = record[key]
                yield npi, record

    def changes(self) -> Iterator[pl.DataFrame]:
        """What changed from the complete day before: CHANGE_SCHEMA, cells as they were before they became a CSV.

        Raises DeliveryError when the file is damaged, StorageError.
        """
        digest = hashlib.sha256()
        for rows in _batches(csv_rows(_hashed(self.root.chunks(self.kept_changes.path), digest))):
            yield unescape_formulas(rows) if self.kept_changes.escape_formulas else rows
        if digest.hexdigest() != self.kept_changes.file.sha256:
            raise DeliveryError(
                f"{self.root.uri(self.kept_changes.path)} is damaged: materialise provider_changes for {self.day} again"
            )

    def ensure_current(self) -> None:
        """Raise DeliveryError when the day was published anew, or its changes found anew, since it was opened."""
        if _identity(open_published_day(self.root, self.files, self.day)) != _identity(self):
            raise DeliveryError(
                f"{self.day} was published anew while it was delivered: deliver it again", retryable=True
            )


def open_published_day(root: DataRoot, files: FileSettings, day: dt.date) -> PublishedDay:
    """The published ``day``, whose parts belong together.

    Raises DeliveryError when it is not complete or is being made anew, StorageError, and the errors of its files.
    """
    try:
        manifest = read_manifest(root, files.state_files_dir, day)
        changes = read_kept_changes(root, day)
        published = PublishedDay(
            root,
            files,
            Publication.of(manifest),
            changes,
            read_kept_table(root, day),
            read_compacted_journal(root, day),
        )
    except FileNotFoundError as error:
        raise DeliveryError(f"{day} is not complete ({error}): run the day first") from error
    if changes.publication != published.publication:
        raise DeliveryError(
            f"the changes of {day} are not those of its publication: materialise provider_changes for that day",
            retryable=True,
        )
    digests = {manifest.journal_digest, published.table.table.journal_digest, published.journal.digest}
    if len(digests) > 1:
        raise DeliveryError(
            f"{day} was recorded anew and is not published anew yet: run the day to its end", retryable=True
        )
    return published


def _hashed(chunks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _batches(rows: Iterator[bytes]) -> Iterator[pl.DataFrame]:
    """The rows of a CSV of changes, whose header comes first, some at a time."""
    next(rows, None)
    while batch := list(islice(rows, _BATCH)):
        yield pl.read_csv(b"\n".join([*batch, b""]), has_header=False, schema=CHANGE_SCHEMA)


def _identity(published: PublishedDay) -> tuple[PublicationKey, str]:
    return published.key, published.journal.digest
