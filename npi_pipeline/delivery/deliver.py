"""Delivering one day to one sink: once per publication, one delivery at a time. Not here: the sinks."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import time
from collections.abc import Iterator

from npi_pipeline.days.lock import held_lock
from npi_pipeline.delivery.published_day import open_published_day
from npi_pipeline.delivery.sink import DeliveryError, Receipt, Sink
from npi_pipeline.errors import PipelineError
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.data_root import DataRoot, HeldLock, LockedError

# Longer than a delivery of a million NPIs takes.
WAIT_SECONDS = 600.0


@dataclasses.dataclass(frozen=True)
class Delivery:
    """What came of a delivery.

    ``is_unchanged``: the sink held this publication already, and was left as it is. ``without_column`` are fields, and
    lists with more items than columns, of which something is in ``unknown_fields``.
    """

    receipt: Receipt
    is_unchanged: bool
    seconds: float
    without_column: tuple[str, ...] = ()


def deliver(
    root: DataRoot,
    files: FileSettings,
    day: dt.date,
    sink: Sink,
    *,
    again: bool = False,
    wait_seconds: float = WAIT_SECONDS,
) -> Delivery:
    """Deliver the published ``day`` to ``sink``, unless it holds this publication already; ``again`` does it anyway.

    While another delivery to the sink is at work it is waited for, ``wait_seconds`` at most. Raises DeliveryError,
    StorageError and the errors of the day's files.
    """
    started = time.monotonic()
    with _only_delivery(root, sink, wait_seconds) as held:
        published = open_published_day(root, files, day)
        receipt = sink.receipt(day)
        if receipt and receipt.is_of(published) and not again:
            return Delivery(receipt, is_unchanged=True, seconds=time.monotonic() - started)

        def ensure_current() -> None:
            held.ensure_held()
            published.ensure_current()

        try:
            receipt = sink.deliver(published, ensure_current)
        except PipelineError:
            # What misses its files, because the day is made anew, is told as that.
            ensure_current()
            raise
        table = published.table.table
        return Delivery(
            receipt,
            is_unchanged=False,
            seconds=time.monotonic() - started,
            without_column=tuple(noticed.what for noticed in (*table.unknown_fields, *table.beyond_width)),
        )


@contextlib.contextmanager
def _only_delivery(root: DataRoot, sink: Sink, wait_seconds: float) -> Iterator[HeldLock]:
    try:
        with held_lock(root, f"locks/deliveries/{sink.name}", wait_seconds=wait_seconds) as held:
            yield held
    except LockedError as error:
        raise DeliveryError(
            f"another delivery to {sink.name} is at work, by {error.holder} since {error.since}: {error.remedy}",
            retryable=True,
        ) from error
