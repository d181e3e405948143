"""Delivering a day to Kafka, and proving from the topics that it is there.

A delivery is one transaction: who reads what is committed sees all of it or nothing, and its receipt is the last
message. It does not rest on that: what a delivery sends follows from what the topics hold, so that on a broker which
shows what was never committed, the next delivery puts it right all the same.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping

import msgspec

from npi_pipeline.delivery.kafka.address import Address, address_of
from npi_pipeline.delivery.kafka.cluster import Cluster, Offsets, Transaction
from npi_pipeline.delivery.kafka.messages import changes_of, headers_of, providers_of, version_of
from npi_pipeline.delivery.published_day import PublishedDay
from npi_pipeline.delivery.sink import Receipt, receipt_finding
from npi_pipeline.findings import Finding
from npi_pipeline.settings import SinkUrl

BEGINNING = "changes_from"
"""A header of a receipt: by partition, the offset in the topic of changes from which on those of the delivery lie."""
_OFFSETS = msgspec.json.Decoder(dict[int, int])
_KEPT = {"cleanup.policy": "delete", "retention.ms": "-1"}
_COMPACTED = {"cleanup.policy": "compact"}


def sink_at(sink: SinkUrl) -> KafkaSink:
    """The sink of a ``kafka://`` URL. Raises SettingsError."""
    return KafkaSink(sink.name, address_of(sink))


class KafkaSink:
    """Three topics: changes of all days, the providers of the newest day delivered, receipts."""

    def __init__(self, name: str, address: Address) -> None:
        self.name = name
        self.place = address.place
        self._topics = address.topics
        self._cluster = Cluster(address)

    def receipts(self) -> Mapping[dt.date, Receipt]:
        """See Sink."""
        return {day: receipt for day, (receipt, _) in self._receipts_and_beginnings().items()}

    def receipt(self, day: dt.date) -> Receipt | None:
        """See Sink. They are in one small topic."""
        return self.receipts().get(day)

    def deliver(self, published: PublishedDay, ensure_current: Callable[[], None]) -> Receipt:
        """See Sink."""
        topics = self._topics
        self._cluster.make_topics(
            {topics.changes: _KEPT, topics.providers: _COMPACTED, topics.deliveries: _COMPACTED},
            partitions={topics.deliveries: 1},
        )
        with self._cluster.transaction() as transaction:
            # Read once nobody else can write any more.
            if published.day >= max(self.receipts(), default=published.day):
                self._send_providers(published, transaction)
            headers = headers_of(published)
            beginning = self._cluster.ends(topics.changes)
            for npi, change in changes_of(published):
                transaction.send(topics.changes, npi, change, headers)
            transaction.flush()
            ensure_current()
            receipt = Receipt.of(published, _rows(published))
            of_receipt = [*headers, (BEGINNING, msgspec.json.encode(beginning))]
            transaction.send(topics.deliveries, str(receipt.day), receipt.to_json(), of_receipt)
        return receipt

    def findings(self, published: PublishedDay) -> Iterator[tuple[str, Finding]]:
        """See Sink."""
        receipts = self._receipts_and_beginnings()
        receipt, beginning = receipts.get(published.day, (None, {}))
        yield "receipt_is_of_the_publication", receipt_finding(receipt, published, _rows(published))
        is_newest = published.day == max(receipts, default=None)
        yield "rows_agree", self._rows_agree(published, beginning, is_newest=is_newest)

    def _receipts_and_beginnings(self) -> dict[dt.date, tuple[Receipt, Offsets]]:
        """By day, its receipt, and from where on its changes lie in their topic."""
        messages = {message.key(): message for message in self._cluster.messages(self._topics.deliveries)}
        found: dict[dt.date, tuple[Receipt, Offsets]] = {}
        for message in messages.values():
            if (content := message.value()) is not None:
                receipt = Receipt.from_json(content)
                said = dict(message.headers() or ()).get(BEGINNING)
                found[receipt.day] = (receipt, _OFFSETS.decode(said) if said else {})
        return found

    def _send_providers(self, published: PublishedDay, transaction: Transaction) -> None:
        """Send what the topic lacks of the day's providers, and a tombstone for each that is not found any more."""
        headers = headers_of(published)
        held = self._providers_held()
        for npi, provider in providers_of(published):
            if held.pop(npi, None) != version_of(provider):
                transaction.send(self._topics.providers, npi, provider, headers)
        for npi in held:
            transaction.send(self._topics.providers, npi, None, headers)

    def _providers_held(self) -> dict[str, bytes]:
        """By NPI, the version of its provider in the topic."""
        held: dict[str, bytes] = {}
        for message in self._cluster.messages(self._topics.providers):
            npi, value = (message.key() or b"").decode(), message.value()
            if value is None:
                held.pop(npi, None)
            else:
                held[npi] = version_of(value)
        return held

    def _rows_agree(self, published: PublishedDay, beginning: Offsets, *, is_newest: bool) -> Finding:
        lines = []
        if is_newest:
            held = self._providers_held()
            differing = sum(held.pop(npi, None) != version_of(provider) for npi, provider in providers_of(published))
            lines += [f"{differing:,} providers are not there as they are known"] * bool(differing)
            lines += [f"{len(held):,} providers are there who were not found"] * bool(held)
        changes = self._changes_held(published, beginning)
        lacking = sum(version_of(change) not in changes for _, change in changes_of(published))
        count = published.rows["changes"]
        lines += [f"{lacking:,} of {count:,} changes are not there"] * bool(lacking)
        lines += [f"{len(changes):,} changes are there, the day has {count:,}"] * (len(changes) > count - lacking)
        if lines:
            return Finding(holds=False, line=f"{'; '.join(lines)}: deliver {published.day} with --again")
        return Finding(
            holds=True,
            line=f"the topics hold the changes of {published.day}"
            + (", and its providers as they are known" if is_newest else "; their providers are of a later day"),
            figures=_rows(published) if is_newest else {"changes": count},
        )

    def _changes_held(self, published: PublishedDay, beginning: Offsets) -> set[bytes]:
        """The versions of the changes that count of the day: those of this publication, each once."""
        headers = set(headers_of(published))
        return {
            version_of(message.value() or b"")
            for message in self._cluster.messages(self._topics.changes, beginning)
            if headers <= set(message.headers() or ())
        }


def _rows(published: PublishedDay) -> dict[str, int]:
    """What a receipt counts: providers are those of the day, which the topic holds while no later day is there."""
    return {name: published.rows[name] for name in ("providers", "changes")}
