"""From the bytes of the object to its text, in pieces of whole lines, each line ended by LF alone.

A piece is about a mebibyte, so that a list takes the memory of its bytes and its distinct NPIs, and not of its text.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator

from npi_pipeline.errors import PipelineError

MAX_LINE_LENGTH = 1 << 20
"""Characters. A line that is longer is no line of a list."""

_BLOCK_BYTES = 1 << 20
_REMEDY = "put a list with one NPI a line there, or correct NPI_LIST_KEY"
_NOT_TEXT = {
    b"\x1f\x8b": "gzip data",
    b"PK\x03\x04": "a zip or Excel file",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ": "xz data",
    b"\x28\xb5\x2f\xfd": "zstd data",
}
_MARKUP = {"<": "HTML or XML", "{": "JSON", "[": "JSON"}
# The mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_UTF_8 = "utf-8-sig"
_REPLACED = "\ufffd"


class ListUnreadableError(PipelineError):
    """The object is no NPI list, or it is not clear what its NPIs are. One line says why; ``remedy`` what to do."""

    def __init__(self, why: str, remedy: str = _REMEDY) -> None:
        super().__init__(why)
        self.remedy = remedy


def text_of(data: bytes) -> Iterator[str]:
    """The text in pieces, each of whole lines that end in LF. Raises ListUnreadableError.

    Bytes that are no UTF-8 are kept as marks: only ASCII can be an NPI. What is no UTF-16 or UTF-32 is refused.
    """
    for magic, kind in _NOT_TEXT.items():
        if data.startswith(magic):
            raise ListUnreadableError(f"is {kind}, not text")
    begun, characters, replaced, line = "", 0, 0, 1
    for text in _decoded(data):
        characters += len(text)
        replaced += text.count(_REPLACED)
        piece = begun + text
        _ensure_is_text(piece, line, is_binary=replaced > characters / 10)
        end = piece.rfind("\n") + 1
        # Every other line of the piece is shorter than the block that it came in.
        if (piece.find("\n") if end else len(piece)) > MAX_LINE_LENGTH:
            raise ListUnreadableError(f"has more than {MAX_LINE_LENGTH:,} characters in line {line}")
        if end:
            yield piece[:end]
            line += piece.count("\n")
        begun = piece[end:]
    if begun:
        yield begun + "\n"


def _decoded(data: bytes) -> Iterator[str]:
    encoding = _encoding_of(data)
    # A byte of Latin-1 is one character; one that came or went in UTF-16 makes others of all that follow.
    errors = "replace" if encoding == _UTF_8 else "strict"
    newlines = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(errors=errors), translate=True)
    view = memoryview(data)
    for start in range(0, len(data), _BLOCK_BYTES):
        block = view[start : start + _BLOCK_BYTES]
        try:
            yield newlines.decode(bytes(block), final=start + _BLOCK_BYTES >= len(data))
        except UnicodeDecodeError as error:
            raise ListUnreadableError(
                f"is damaged {encoding.upper()}: after {start + error.start:,} bytes, {error.reason}"
            ) from error


def _encoding_of(data: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return encoding
    # UTF-16 without a mark: of ASCII, every other byte is NUL.
    head = data[: 4096 - 4096 % 2]
    zeros = [head[first::2].count(0) / max(len(head) // 2, 1) for first in (0, 1)]
    mostly, hardly = 0.8, 0.2
    if zeros[1] > mostly and zeros[0] < hardly:
        return "utf-16-le"
    if zeros[0] > mostly and zeros[1] < hardly:
        return "utf-16-be"
    return _UTF_8


def _ensure_is_text(piece: str, line: int, *, is_binary: bool) -> None:
    if is_binary:
        raise ListUnreadableError("is binary, not text")
    nul = piece.find("\0")
    if nul >= 0:
        raise ListUnreadableError(f"is binary, not text: there is a NUL in line {line + piece.count(chr(10), 0, nul)}")
    start = piece.lstrip()[:1] if line == 1 else ""
    if start in _MARKUP:
        raise ListUnreadableError(f"is {_MARKUP[start]}, not a list with one NPI a line")
