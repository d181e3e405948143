"""The documents of a day: providers nested as the registry gave them, outcomes and changes.

A document is told apart by its ``_id``, and ``version`` says what it holds, but for when it came. Not here: which of
them are written (``sink``).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import bson
import msgspec

from npi_pipeline.delivery.published_day import PublishedDay
from npi_pipeline.delivery.sink import DeliveryError
from npi_pipeline.schema.json_paths import NUL, STATES, UNRECOGNISED_STATES

Document = dict[str, Any]
DocumentAndBytes = tuple[Document, int]
"""A document, and how many bytes it takes, more or less."""

# What a server takes, less room for what surrounds the content.
_MAX_BYTES = (16 << 20) - 4_096
_CAME_WITH = frozenset({"_id", "day", "publication", "changes", "version"})
# A query takes a dot for a way into a document, and a dollar sign for an operator.
_IN_KEYS = str.maketrans({".": "\N{FULLWIDTH FULL STOP}", "$": "\N{FULLWIDTH DOLLAR SIGN}", NUL: "\N{SYMBOL FOR NULL}"})
_DIGEST_BYTES = 16


def providers_of(published: PublishedDay) -> Iterator[DocumentAndBytes]:
    """Each found provider of the day. Raises DeliveryError for one that no document can hold."""
    practices = chain.from_iterable(
        frame.select("npi", STATES, UNRECOGNISED_STATES).iter_rows() for frame in published.providers()
    )
    for (npi, states, unrecognised), (_, record) in zip(practices, published.records(), strict=True):
        practice = {STATES: states or [], UNRECOGNISED_STATES: unrecognised or []}
        yield _document(published, npi, *_provider(npi, practice, record))


def outcomes_of(published: PublishedDay) -> Iterator[DocumentAndBytes]:
    """The outcome of each NPI of the day's list."""
    for rows in published.outcomes():
        for content in rows.iter_rows(named=True):
            yield _document(published, content.pop("npi"), content, bson.encode(content))


def changes_of(published: PublishedDay) -> Iterator[DocumentAndBytes]:
    """Each change of the day; its ``_id`` is the same whenever the day is delivered."""
    other = str(published.compared_with) if published.compared_with else None
    for rows in published.changes():
        for row in rows.iter_rows(named=True):
            content = {**row, "compared_with": other}
            identity = f"{published.day}/{row['npi']}/{row['field']}"
            yield _document(published, identity, content, bson.encode(content))


def version_of(document: Mapping[str, Any]) -> str:
    """The version of a document as it is there, found from what it holds."""
    return _version(bson.encode({name: value for name, value in document.items() if name not in _CAME_WITH}))


def _document(published: PublishedDay, identity: str, content: Document, encoded: bytes) -> DocumentAndBytes:
    document = {
        "_id": identity,
        "day": str(published.day),
        "publication": published.publication.manifest_sha256,
        "changes": published.kept_changes.file.sha256,
        "version": _version(encoded),
        **content,
    }
    return document, len(encoded)


def _version(encoded: bytes) -> str:
    return hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).hexdigest()


def _provider(npi: str, practice: Document, record: Any) -> tuple[Document, bytes]:
    """The content of a provider's document, and the same encoded.

    A record that no document holds (a number of more than 64 bits, more than 16 MB) is there as its JSON text.
    """
    with contextlib.suppress(OverflowError, _TwoKeysAreOneError):
        content = {**practice, "record": _with_plain_keys(record)}
        encoded = bson.encode(content)
        if len(encoded) <= _MAX_BYTES:
            return content, encoded
    content = {**practice, "record": None, "record_json": msgspec.json.encode(record).decode()}
    encoded = bson.encode(content)
    if len(encoded) > _MAX_BYTES:
        raise DeliveryError(
            f"the record of {npi} has {len(encoded):,} bytes, more than MongoDB takes: lower "
            "NPI_MAX_BODY_BYTES and run the day with NPI_FETCH_MODE=all"
        )
    return content, encoded


class _TwoKeysAreOneError(Exception):
    """Two keys of an object would become the same."""


def _with_plain_keys(value: Any) -> Any:
    """``value`` with keys that any query can name; a copy."""
    if isinstance(value, list):
        return [_with_plain_keys(item) if isinstance(item, (dict, list)) else item for item in value]
    if not isinstance(value, dict):
        return value
    plain = {
        key.translate(_IN_KEYS): _with_plain_keys(below) if isinstance(below, (dict, list)) else below
        for key, below in value.items()
    }
    if len(plain) != len(value):
        raise _TwoKeysAreOneError
    return plain
