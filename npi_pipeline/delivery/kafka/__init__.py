"""Kafka as a sink: a topic of changes, a compacted one of current providers, and a compacted one of receipts.

Not here: what the messages look like to who reads them (docs/deliveries.md, docs/schemas).
"""

from __future__ import annotations

from npi_pipeline.delivery.kafka.sink import sink_at

__all__ = ["sink_at"]
