"""A delivery to Kafka that is killed at a chosen message. Few imports: it runs in a process of its own."""

from __future__ import annotations

import datetime as dt
import os
import signal
from pathlib import Path

from npi_pipeline.delivery.deliver import deliver
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.delivery.kafka import cluster
from npi_pipeline.settings import FileSettings, SinkUrl
from npi_pipeline.storage.local import LocalRoot


def deliver_and_die(folder: Path, day: dt.date, sink_url: SinkUrl, before: int | None, is_receipt_sent: bool) -> None:
    """Deliver, and die with all messages in the broker: before the ``before``-th, or around the receipt."""
    send = cluster.Transaction.send
    sent = 0

    def send_or_die(self: cluster.Transaction, topic: str, *message: object) -> None:
        nonlocal sent
        is_receipt = topic.endswith(".deliveries")
        if is_receipt and is_receipt_sent:
            send(self, topic, *message)  # type: ignore[arg-type]
        if sent == before or is_receipt:
            self.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        sent += 1
        send(self, topic, *message)  # type: ignore[arg-type]

    cluster.Transaction.send = send_or_die  # type: ignore[method-assign, assignment]
    deliver(LocalRoot(folder), FileSettings(), day, sink_of(sink_url))
