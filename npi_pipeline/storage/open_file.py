"""A file below a root, opened for reading at any place: of an object on S3, only what is read is fetched.

Not here: whole files (``data_root``), which have no such need.
"""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from npi_pipeline.storage.data_root import DataRoot, StorageError
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.storage.s3 import S3Root

# One request to S3 takes as long as a megabyte or two of its bytes.
_BUFFER_BYTES = 8 << 20


def open_file(root: DataRoot, path: str) -> BinaryIO:
    """The file at ``path``, as a seekable stream.

    Raises FileNotFoundError and StorageError, when it is opened and when it is read. An object that is written over
    meanwhile is a StorageError that is retryable; a local file gives no such sign.
    """
    if isinstance(root, S3Root):
        return cast("BinaryIO", io.BufferedReader(_Object(root, path), _BUFFER_BYTES))
    if isinstance(root, LocalRoot):
        return root.open(path)
    raise TypeError(f"no file of a {type(root).__name__} can be opened")


class _Object(io.RawIOBase):
    """An object of S3 as it is when this is made."""

    def __init__(self, root: S3Root, path: str) -> None:
        self._root, self._path = root, path
        self._size, self._tag = root.size_and_tag(path)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        content = self._root.read_range(self._path, self._position, end, self._tag)
        if len(content) != end - self._position:
            raise StorageError(f"{self._root.uri(self._path)} gave less than it has: run it again", retryable=True)
        buffer[: len(content)] = content
        self._position = end
        return len(content)
