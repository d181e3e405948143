"""Undoing what ``Content-Encoding`` says was done to a body (RFC 9110, 8.4): gzip and deflate, also several times.

By hand, because urllib3 bounds what a small answer may swell to only since its latest releases, passes over codings
that it does not know, and takes what is cut short for whole.

Not here: the characters of the text (``registries.bodies``).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

TOO_LARGE = "the answer is larger than NPI_MAX_BODY_BYTES"
TOO_MANY_CODINGS = "the answer has too many content codings"

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = zlib.MAX_WBITS | 16
_RAW_DEFLATE = -zlib.MAX_WBITS
# urllib3 refuses more, also when it is not asked to decode. Even two are a mistake in themselves.
_MAX_CODINGS = 5
# Each member costs a copy of the rest.
_MAX_MEMBERS = 1000
# All but the first two are no codings, but are sent by servers that mean the charset, or nothing.
_NOTHING_DONE = frozenset({"", "identity", "none", "binary", "utf-8", "utf8"})
_MAX_NAME_LENGTH = 40
# What a large body swells to comes in pieces of this size.
_PIECE_BYTES = 64 << 10


class BodyError(Exception):
    """The body of an answer cannot be used; the message says why, as the reason of a verdict does."""


def decoded(
    body: bytes | bytearray, content_encoding: str, limit: int, take: Callable[[int], None] = lambda _: None
) -> bytes | bytearray:
    """The body without its codings, none of which may swell it to more than ``limit`` bytes. Raises BodyError.

    ``take`` is told of every piece that it swells by, in bytes, and may hold it up or raise.
    """
    names = (name.strip() for name in content_encoding.lower().split(","))
    codings = [name for name in names if name not in _NOTHING_DONE]
    if len(codings) > _MAX_CODINGS:
        raise BodyError(TOO_MANY_CODINGS)
    for coding in reversed(codings):
        if coding in {"gzip", "x-gzip"}:
            body = _gunzip(body, limit, take)
        elif coding == "deflate":
            body = _inflate(body, limit, take)
        else:
            raise BodyError(f"the answer has a content coding that was not asked for, {coding[:_MAX_NAME_LENGTH]!r}")
    # No JSON begins so: a proxy compressed once more what was compressed, or the head forgot to say it.
    return _gunzip(body, limit, take) if body.startswith(_GZIP_MAGIC) else body


def _gunzip(body: bytes | bytearray, limit: int, take: Callable[[int], None]) -> bytearray:
    """All members of a gzip body (RFC 1952), one after the other; what follows them and is none does not count."""
    whole = bytearray()
    for _ in range(_MAX_MEMBERS):
        body = _decompress(whole, body, _GZIP, limit, take)
        if not body.startswith(_GZIP_MAGIC):
            return whole
    raise BodyError("the answer cannot be decompressed: it is in too many pieces")


def _inflate(body: bytes | bytearray, limit: int, take: Callable[[int], None]) -> bytearray:
    """A deflate body: in zlib's format, as RFC 9110 says, or without, as some servers have it."""
    # Of raw deflate, no first byte that an encoder writes looks like zlib's.
    is_zlib = body[:1] and body[0] & 0x0F == zlib.DEFLATED
    whole = bytearray()
    _decompress(whole, body, zlib.MAX_WBITS if is_zlib else _RAW_DEFLATE, limit, take)
    return whole


def _decompress(
    whole: bytearray, body: bytes | bytearray, wbits: int, limit: int, take: Callable[[int], None]
) -> bytes:
    """Append what one compressed stream holds to ``whole``, up to ``limit`` bytes in all; what follows the stream."""
    decompressor = zlib.decompressobj(wbits)
    try:
        while piece := decompressor.decompress(body, _PIECE_BYTES):
            whole += piece
            if len(whole) > limit:
                raise BodyError(TOO_LARGE)
            take(len(piece))
            body = decompressor.unconsumed_tail
    except zlib.error as error:
        raise BodyError("the answer cannot be decompressed") from error
    if not decompressor.eof:
        raise BodyError("the answer cannot be decompressed: it is cut short")
    return decompressor.unused_data
