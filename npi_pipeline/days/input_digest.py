"""What a product of a day was made from: where that is the same, and its bytes are whole, it need not be made again.

The digest is of what a product was made from and of what is kept of it beside its files (``table.json``, the manifest,
``changes.json``), so that damage to the latter shows too.
Not here: how each product is proven to be whole (the step that makes it), and what the steps make.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.resources

# What is made of the same answers depends on these.
_CODE = tuple(f"npi_pipeline.{room}" for room in ("schema", "registries", "providers", "state_files", "changes"))
_LIBRARIES = ("polars", "msgspec")


def input_digest(*inputs: object) -> str:
    """A digest of ``inputs`` and of the code: whatever is made of them is the same where it is the same.

    The inputs are told apart by their ``repr``, which must not depend on the process.
    """
    return hashlib.sha256(repr((code_version(), *inputs)).encode()).hexdigest()


@functools.cache
def code_version() -> str:
    """Tells the code that makes tables and files from any other; a version's number would not during development."""
    digest = hashlib.sha256()
    for package in _CODE:
        sources = (source for source in importlib.resources.files(package).iterdir() if source.name.endswith(".py"))
        for source in sorted(sources, key=lambda source: source.name):
            digest.update(source.read_bytes())
    digest.update(repr([importlib.metadata.version(name) for name in _LIBRARIES]).encode())
    return digest.hexdigest()
