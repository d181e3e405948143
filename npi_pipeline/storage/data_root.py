"""One small interface to the data root, which is a local folder or an ``s3://bucket/prefix``.

Not here: what a day's files are called (``days``) and how a set of files is published (``publish``).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol


@dataclasses.dataclass(frozen=True, slots=True)
class StoredFile:
    """A file below the data root: its path relative to the root with ``/``, and its size in bytes."""

    path: str
    size: int


class DataRoot(Protocol):
    """Files below one root. Paths are relative, with ``/``. A file is either whole or not there."""

    def uri(self, path: str = "") -> str:
        """Where ``path`` lies, for a person: an absolute file path or an ``s3://`` address."""

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file durably and atomically; a reader sees the old content or the new."""

    def upload(self, path: str, source: Path) -> None:
        """As ``write``, from a local file, without holding it in memory."""

    def read(self, path: str) -> bytes:
        """The content of a file. Raises FileNotFoundError."""

    def download(self, path: str, target: Path) -> None:
        """Copy a file to a local one, without holding it in memory. Raises FileNotFoundError."""

    def list(self, prefix: str) -> list[StoredFile]:
        """Every file below the folder ``prefix``, sorted by path; empty when there is none."""

    def delete(self, path: str) -> None:
        """Remove a file; no error when it is not there."""
