"""Delivering a day to MongoDB, and proving from the collections that it is there.

Only what differs from what is there is written, the receipt last. A delivery is too large for a transaction: while one
is under way, readers see documents of both deliveries, each whole.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from pymongo import DeleteMany, MongoClient, ReadPreference, ReplaceOne, WriteConcern
from pymongo.database import Database
from pymongo.errors import ConfigurationError, ConnectionFailure, ExecutionTimeout, PyMongoError, WTimeoutError

from npi_pipeline.delivery.mongodb.documents import (
    Document,
    DocumentAndBytes,
    changes_of,
    outcomes_of,
    providers_of,
    version_of,
)
from npi_pipeline.delivery.published_day import PublishedDay
from npi_pipeline.delivery.sink import DeliveryError, Receipt, receipt_finding
from npi_pipeline.findings import Finding
from npi_pipeline.settings import SettingsError, SinkUrl

DEFAULT_DATABASE = "npi"
# Unless the URL says otherwise.
_OPTIONS = {"serverSelectionTimeoutMS": 10_000, "connectTimeoutMS": 10_000, "socketTimeoutMS": 60_000}
_WRITTEN_MILLISECONDS = 60_000
# Documents written at a time, or so many bytes of them.
_BATCH = 1_000
_BATCH_BYTES = 8 << 20

_DocumentsOf = Callable[[PublishedDay], Iterable[DocumentAndBytes]]
# The collections that hold the newest day alone.
_CURRENT: Mapping[str, _DocumentsOf] = {"providers": providers_of, "outcomes": outcomes_of}


def sink_at(sink: SinkUrl) -> MongoSink:
    """The sink of a ``mongodb://`` or ``mongodb+srv://`` URL. Raises SettingsError for a name of no database."""
    parts = urllib.parse.urlsplit(sink.url)
    database = urllib.parse.unquote(parts.path).strip("/") or DEFAULT_DATABASE
    if not parts.netloc.rpartition("@")[2] or set(database) & set('/\\. "$'):
        raise SettingsError(
            f"NPI_DELIVER_TO cannot be used: the URL of the sink {sink.name} must be like mongodb://host:27017/npi"
        )
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{database}"
    given = {name.lower() for name, _ in urllib.parse.parse_qsl(parts.query)}
    options: dict[str, Any] = {name: value for name, value in _OPTIONS.items() if name.lower() not in given}

    def connect() -> MongoClient[Document]:
        return MongoClient(sink.url, connect=False, **options)

    return MongoSink(sink.name, place, database, connect)


class MongoSink:
    """Four collections: providers and outcomes of the newest day delivered, changes of all days, receipts."""

    def __init__(self, name: str, place: str, database: str, connect: Callable[[], MongoClient[Document]]) -> None:
        self.name = name
        self.place = place
        self._database = database
        self._connect = connect

    def receipts(self) -> Mapping[dt.date, Receipt]:
        """See Sink."""
        with self._connected() as database:
            return _receipts(database)

    def receipt(self, day: dt.date) -> Receipt | None:
        """See Sink."""
        with self._connected() as database:
            return _receipts(database, {"_id": str(day)}).get(day)

    def deliver(self, published: PublishedDay, ensure_current: Callable[[], None]) -> Receipt:
        """See Sink."""
        with self._connected() as database:
            receipts = _receipts(database)
            held = receipts.get(published.day)
            # Delivered again, also those are written that seem to be there: what they hold may have been changed.
            is_again = held is not None and held.is_of(published)
            if published.day >= max(receipts, default=published.day):
                for name, documents_of in _CURRENT.items():
                    _replace(database, name, {}, documents_of(published), write_all=is_again)
            database["changes"].create_index([("day", 1), ("npi", 1)])
            database["changes"].create_index([("npi", 1), ("day", 1)])
            of_day = {"day": str(published.day)}
            came_with = ("publication", "changes")
            _replace(database, "changes", of_day, changes_of(published), came_with, write_all=is_again)
            ensure_current()
            receipt = Receipt.of(published, published.rows)
            content = {"_id": str(receipt.day), **msgspec.json.decode(receipt.to_json())}
            database["deliveries"].replace_one({"_id": content["_id"]}, content, upsert=True)
        return receipt

    def findings(self, published: PublishedDay) -> Iterator[tuple[str, Finding]]:
        """See Sink."""
        with self._connected() as database:
            receipts = _receipts(database)
            yield (
                "receipt_is_of_the_publication",
                receipt_finding(receipts.get(published.day), published, published.rows),
            )
            yield "rows_agree", _rows_agree(database, published, is_newest=published.day == max(receipts, default=None))

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Database[Document]]:
        """The database: what is written is there when most of its servers have it. Errors become one line."""
        try:
            client = self._connect()
        except (ConfigurationError, ValueError) as error:
            raise SettingsError(f"NPI_DELIVER_TO cannot be used: {self.place}: {_one_line(error)}") from None
        try:
            yield client.get_database(
                self._database,
                read_preference=ReadPreference.PRIMARY,
                write_concern=WriteConcern("majority", wtimeout=_WRITTEN_MILLISECONDS),
            )
        except (ConnectionFailure, ExecutionTimeout, WTimeoutError) as error:
            raise DeliveryError(
                f"{self.place} is not reached ({_one_line(error)}): start it, or mend NPI_DELIVER_TO", retryable=True
            ) from None
        except PyMongoError as error:
            raise DeliveryError(f"{self.place}: {_one_line(error)}") from None
        finally:
            client.close()


def _receipts(database: Database[Document], of: Document | None = None) -> dict[dt.date, Receipt]:
    contents = ({**content, "_id": None} for content in database["deliveries"].find(of or {}))
    receipts = [Receipt.from_json(msgspec.json.encode(content)) for content in contents]
    return {receipt.day: receipt for receipt in receipts}


def _replace(
    database: Database[Document],
    collection: str,
    of: Mapping[str, Any],
    documents: Iterable[DocumentAndBytes],
    came_with: Sequence[str] = (),
    *,
    write_all: bool,
) -> None:
    """Make those ``documents`` be all that match ``of``.

    One that has this version and ``came_with`` is left alone, unless ``write_all`` says otherwise.
    """
    told_by = ("version", *came_with)
    found = database[collection].find(of, dict.fromkeys(told_by, 1))
    held = {document["_id"]: tuple(document.get(name) for name in told_by) for document in found}
    writes: list[ReplaceOne[Document] | DeleteMany] = []
    size = 0
    for document, bytes_ in documents:
        is_there = held.pop(document["_id"], None) == tuple(document[name] for name in told_by)
        if is_there and not write_all:
            continue
        writes.append(ReplaceOne({"_id": document["_id"]}, document, upsert=True))
        size += bytes_
        if len(writes) >= _BATCH or size >= _BATCH_BYTES:
            database[collection].bulk_write(writes, ordered=False)
            writes, size = [], 0
    gone = list(held)
    writes += [DeleteMany({"_id": {"$in": gone[start : start + _BATCH]}}) for start in range(0, len(gone), _BATCH)]
    if writes:
        database[collection].bulk_write(writes, ordered=False)


def _rows_agree(database: Database[Document], published: PublishedDay, *, is_newest: bool) -> Finding:
    of_day = {
        "day": str(published.day),
        "publication": published.publication.manifest_sha256,
        "changes": published.kept_changes.file.sha256,
    }
    lines = _differences(database, "changes", of_day, changes_of(published))
    if is_newest:
        for name, documents_of in _CURRENT.items():
            lines += _differences(database, name, {}, documents_of(published))
    if lines:
        return Finding(holds=False, line=f"{'; '.join(lines)}: deliver {published.day} with --again")
    rows = published.rows
    return Finding(
        holds=True,
        line=f"the collections hold the changes of {published.day}"
        + (", and its providers and outcomes" if is_newest else "; their providers and outcomes are of a later day"),
        figures=rows if is_newest else {"changes": rows["changes"]},
    )


def _differences(
    database: Database[Document], collection: str, of: Mapping[str, Any], documents: Iterable[DocumentAndBytes]
) -> list[str]:
    """A line for each way in which what matches ``of`` is not those ``documents``."""
    held = {document["_id"]: version_of(document) for document in database[collection].find(of)}
    differing = sum(held.pop(document["_id"], None) != document["version"] for document, _ in documents)
    lines = [f"{differing:,} of the {collection} are not there as they are known"] * bool(differing)
    return lines + [f"{len(held):,} {collection} are there that the day does not have"] * bool(held)


def _one_line(error: Exception) -> str:
    """What the client says; it may go on with a description of all its servers."""
    return " ".join(str(error).split(", Timeout: ")[0].split())[:500]
