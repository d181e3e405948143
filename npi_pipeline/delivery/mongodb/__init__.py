"""MongoDB as a sink: collections of providers, outcomes, changes and receipts.

Not here: what a reader finds in them (docs/deliveries.md).
"""

from __future__ import annotations

from npi_pipeline.delivery.mongodb.sink import sink_at

__all__ = ["sink_at"]
