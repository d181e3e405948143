"""Where a published day is delivered to: sinks, and the receipts that they keep. See docs/deliveries.md."""
