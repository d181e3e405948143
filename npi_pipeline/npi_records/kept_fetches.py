"""How each fetch of a day went, kept beside the day's files: what the journal's rows do not tell.

Not here: what is counted (``http_fetch.progress``), and a fetch that was killed, which leaves nothing.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

import msgspec

from npi_pipeline import clock
from npi_pipeline.days.paths import fetches_folder
from npi_pipeline.errors import PipelineError
from npi_pipeline.http_fetch.progress import FetchReport
from npi_pipeline.storage.data_root import DataRoot, unique_name


class FetchesError(PipelineError):
    """What is kept of a fetch cannot be understood. One line says which, and the remedy."""


@dataclasses.dataclass(frozen=True)
class KeptFetch:
    """One fetch of a day: ``registry`` is whom it asked, ``ended_at`` when it ended, and ``report`` how it went."""

    registry: str
    ended_at: dt.datetime
    report: FetchReport

    @property
    def started_at(self) -> dt.datetime:
        """When it began."""
        return self.ended_at - dt.timedelta(seconds=self.report.seconds)


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(KeptFetch)


def keep_fetch(root: DataRoot, day: dt.date, registry: str, report: FetchReport) -> None:
    """Keep how a fetch of ``day`` went that has ended just now, when it asked for anything. Raises StorageError."""
    if report.attempts:
        kept = msgspec.json.encode(KeptFetch(registry, clock.utc_now(), report))
        root.write(f"{fetches_folder(day)}/{unique_name()}.json", msgspec.json.format(kept, indent=2) + b"\n")


def read_fetches(root: DataRoot, day: dt.date) -> tuple[KeptFetch, ...]:
    """The fetches of ``day``, in the order in which they ended. Raises FetchesError, StorageError."""
    return tuple(_read(root, file.path) for file in root.list(fetches_folder(day)))


def _read(root: DataRoot, path: str) -> KeptFetch:
    try:
        return _DECODER.decode(root.read(path))
    except (ValueError, RecursionError) as error:
        raise FetchesError(f"{root.uri(path)} cannot be understood ({error}): remove it") from error
