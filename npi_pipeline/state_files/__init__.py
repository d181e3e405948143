"""The state files of a day: one CSV per state, ``None`` and ``Failed``, the manifest, and publishing them."""
