"""Whether a sink holds the days that are published, by its receipts. Not here: proving it (``Sink.findings``)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from npi_pipeline.changes.kept_changes import ChangesError, Publication, read_kept_changes
from npi_pipeline.delivery.sink import DeliveryError, PublicationKey, Sink
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.manifest import ManifestError
from npi_pipeline.state_files.publish import read_manifest
from npi_pipeline.storage.data_root import DataRoot

# For S3's latency.
_THREADS = 8


class DeliveryState(str, enum.Enum):
    """What a sink holds of a published day: its publication, an earlier one, or nothing."""

    delivered = "delivered"
    outdated = "outdated"
    missing = "missing"


@dataclasses.dataclass(frozen=True)
class SinkStatus:
    """What a sink holds of the published days among those asked about; ``problem``: it cannot be told, and why."""

    name: str
    place: str
    days: dict[dt.date, DeliveryState]
    problem: str | None = None

    def told_of(self, day: dt.date) -> str | None:
        """The state of ``day`` in a word, or the problem; None for a day that is not complete."""
        state = self.days.get(day)
        return self.problem or (state.value if state else None)

    def days_in(self, state: DeliveryState) -> list[dt.date]:
        """The days in that state, oldest first."""
        return sorted(day for day, its in self.days.items() if its is state)


def publication_key(root: DataRoot, files: FileSettings, day: dt.date) -> PublicationKey | None:
    """What a receipt of the day as it is published now says: digests of manifest and changes; None if not complete."""
    try:
        publication = Publication.of(read_manifest(root, files.state_files_dir, day))
        changes = read_kept_changes(root, day)
    except (FileNotFoundError, ManifestError, ChangesError):
        return None
    if changes.publication != publication:
        return None
    return publication.manifest_sha256, changes.file.sha256


def publication_keys(root: DataRoot, files: FileSettings, days: Iterable[dt.date]) -> dict[dt.date, PublicationKey]:
    """``publication_key`` of each of ``days`` that is complete. Raises StorageError."""
    days = list(days)
    with ThreadPoolExecutor(_THREADS) as pool:
        keys = pool.map(lambda day: publication_key(root, files, day), days)
        return {day: key for day, key in zip(days, keys, strict=True) if key}


def status_of_sink(sink: Sink, published: dict[dt.date, PublicationKey]) -> SinkStatus:
    """What ``sink`` holds of the days ``published`` (see ``publication_keys``). Never raises DeliveryError."""
    try:
        receipts = sink.receipts()
    except DeliveryError as error:
        return SinkStatus(sink.name, sink.place, {}, problem=str(error))
    states = {}
    for day, key in published.items():
        receipt = receipts.get(day)
        if receipt is None:
            states[day] = DeliveryState.missing
        elif receipt.key == key:
            states[day] = DeliveryState.delivered
        else:
            states[day] = DeliveryState.outdated
    return SinkStatus(sink.name, sink.place, states)
