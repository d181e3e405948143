"""What a sink is, and the receipt that it keeps. Not here: the sinks, and when a day is delivered (``deliver``)."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from npi_pipeline import clock
from npi_pipeline.errors import PipelineError
from npi_pipeline.findings import Finding

if TYPE_CHECKING:
    from npi_pipeline.delivery.published_day import PublishedDay


PublicationKey: TypeAlias = tuple[str, str]
"""The SHA-256 of a day's manifest and that of its changes: what is delivered is the same where both are."""


class DeliveryError(PipelineError):
    """A day that cannot be delivered. One line names the day or the sink, and the remedy; never a URL's password.

    Retryable when the sink, or the day, may be ready later without anyone's doing.
    """


@dataclasses.dataclass(frozen=True)
class Receipt:
    """A sink's own record of what it holds of a day: which publication with which changes, and how much of it.

    ``rows`` are by table (or topic, or collection) of the sink.
    """

    day: dt.date
    manifest_sha256: str
    changes_sha256: str
    published_at: dt.datetime
    delivered_at: dt.datetime
    rows: Mapping[str, int]

    @classmethod
    def of(cls, published: PublishedDay, rows: Mapping[str, int]) -> Receipt:
        """The receipt of a delivery that ends now."""
        return cls(
            published.day,
            *published.key,
            published.publication.published_at,
            clock.utc_now().replace(microsecond=0),
            dict(rows),
        )

    @property
    def key(self) -> PublicationKey:
        """Which publication of its day it is of, with which changes."""
        return self.manifest_sha256, self.changes_sha256

    def is_of(self, published: PublishedDay) -> bool:
        """Whether it is of this very publication, with these changes."""
        return (self.day, self.key) == (published.day, published.key)

    def to_json(self) -> bytes:
        """The receipt as JSON, for sinks that keep documents."""
        return msgspec.json.encode(self, order="sorted")

    @classmethod
    def from_json(cls, data: bytes | str) -> Receipt:
        """The inverse of ``to_json``. Raises DeliveryError."""
        try:
            return _DECODER.decode(data)
        except msgspec.DecodeError as error:
            raise DeliveryError(f"a receipt cannot be understood ({error}): deliver its day with --again") from error


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(Receipt)


class Sink(Protocol):
    """Where days are delivered to.

    No sink depends on the order of deliveries: what it says of the newest day is of the newest day that it has a
    receipt of, whichever was delivered last. One delivery at a time reaches a sink (``deliver`` sees to that).
    Every method raises DeliveryError, retryable when the sink is not reached.
    """

    @property
    def name(self) -> str:
        """What it is called in the settings, the UI and the command line."""

    @property
    def place(self) -> str:
        """Where it is, for a person: without a user, a password or a query."""

    def receipts(self) -> Mapping[dt.date, Receipt]:
        """The receipts of all days that it holds; none of a sink that was never delivered to."""

    def receipt(self, day: dt.date) -> Receipt | None:
        """That of ``day`` alone: without reading all of them, where the sink can tell."""

    def deliver(self, published: PublishedDay, ensure_current: Callable[[], None]) -> Receipt:
        """Make the sink hold this publication of the day, in the place of what it held of it, and leave the receipt.

        ``ensure_current`` raises when the delivery must not be finished: it is called right before the commit, or the
        receipt. Killed at any point, the receipt is not there, or the day is whole; the next delivery puts right what
        was begun.
        """

    def findings(self, published: PublishedDay) -> Iterable[tuple[str, Finding]]:
        """What is proven of the day in the sink, from the sink: claims of CLAIMS by name, as many as it can tell."""


CLAIMS = {
    "receipt_is_of_the_publication": "The sink's receipt is of the publication that is there, with its counts.",
    "rows_agree": "The sink holds the rows of the day: their counts, and where it can compute one, their digest.",
    "history_is_whole": "The history has one version per NPI and day: no overlap, no gap, over all days delivered.",
}
"""What can be claimed of a delivery. Each sink proves the first two; the third, one that keeps the history."""


def receipt_finding(receipt: Receipt | None, published: PublishedDay, rows: Mapping[str, int]) -> Finding:
    """The first claim: ``rows`` are those that the sink should have, by its own tables."""
    if receipt is None:
        return Finding(holds=False, line=f"there is no receipt of {published.day}: deliver the day")
    if not receipt.is_of(published):
        return Finding(
            holds=False,
            line=f"the receipt of {published.day} is of the publication of {receipt.published_at}, and "
            f"{published.publication.published_at} is there: deliver the day",
        )
    if dict(receipt.rows) != dict(rows):
        return Finding(
            holds=False,
            line=f"the receipt of {published.day} counts {dict(receipt.rows)}, the day has {dict(rows)}: deliver it "
            "with --again",
        )
    return Finding(
        holds=True,
        line=f"the receipt of {published.day} is of the publication of {receipt.published_at}, delivered at "
        f"{receipt.delivered_at}",
        figures=dict(rows),
    )
