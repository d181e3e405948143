"""One small interface to the data root, which is a local folder or an ``s3://bucket/prefix``.

Not here: what a day's files are called (``days.paths``) and how a set of files is published
(``state_files.publish``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from npi_pipeline import clock
from npi_pipeline.errors import PipelineError

CHUNK_BYTES = 1 << 20
DATA_ROOT = "NPI_DATA_ROOT"
"""The setting that names a root, unless it is another's."""

# A name that begins with a dot is the root's own business (unfinished files): never a caller's, never listed.
_SAFE_PATH = re.compile(r"[^/\\.\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*(/[^/\\.\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*)*")

_UNIQUE_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}", re.ASCII)


class StorageError(PipelineError):
    """The data root cannot be read or written. Retryable when S3 is not reached, or answers 5xx."""


class LockedError(PipelineError):
    """Somebody else holds a lock. ``holder`` and ``since`` say who and since when, as far as it is known."""

    remedy = "wait until that run ends, or end it, then run again"

    def __init__(self, holder: str, since: str) -> None:
        super().__init__(f"held by {holder} since {since}: {self.remedy}")
        self.holder = holder
        self.since = since


class HeldLock(Protocol):
    """A lock while it is held."""

    def ensure_held(self) -> None:
        """Raise LockedError when somebody else could have taken it meanwhile. Ask before what cannot be undone."""


@dataclasses.dataclass(frozen=True, slots=True)
class StoredFile:
    """A file below the data root: its path relative to the root with ``/``, its size in bytes, and when it was written.

    ``modified`` is by the clock of whoever keeps the files, which is not this machine's on S3.
    """

    path: str
    size: int
    modified: dt.datetime


class DataRoot(Protocol):
    """Files below one root. Paths are relative, with ``/``; others are refused with ValueError.

    A file is either whole or not there. Every method may be called from several threads and raises StorageError
    when the root cannot be reached.
    """

    def uri(self, path: str = "") -> str:
        """Where ``path`` lies, for a person: an absolute file path or an ``s3://`` address."""

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file durably and atomically; a reader sees the old content or the new."""

    def upload(self, path: str, source: Path) -> None:
        """As ``write``, from a local file, without holding it in memory."""

    def read(self, path: str) -> bytes:
        """The content of a file. Raises FileNotFoundError."""

    def chunks(self, path: str) -> Iterator[bytes]:
        """The content of a file in pieces of at most CHUNK_BYTES. Raises FileNotFoundError."""

    def download(self, path: str, target: Path) -> None:
        """Copy a file to a local one, without holding it in memory. Raises FileNotFoundError."""

    def list(self, prefix: str) -> list[StoredFile]:
        """Every file below the folder ``prefix``, sorted by path; empty when there is none."""

    def folders(self, prefix: str) -> Sequence[str]:
        """The names of the folders right below the folder ``prefix``, sorted. Their files are not looked at.

        A local folder counts without a file in it too.
        """

    def delete(self, *paths: str) -> None:
        """Remove files; no error for one that is not there."""

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        """The content of a file, and the tag that tells it from any other content. Raises FileNotFoundError."""

    def write_if(self, path: str, data: bytes, tag: str | None) -> str | None:
        """As ``write``, if the file is still the one of ``tag`` (None: if there is none): its new tag, else None.

        Of two that write with the same ``tag`` one does, even when one of them was paused for long: this is the fence
        against whoever lost a lock and does not know it yet. No content may be written twice in the life of a file.
        """

    def replace_folder(
        self, folder: str, source: Path, index: str, content: Callable[[str], bytes], held: HeldLock
    ) -> str:
        """Make the files of the local folder ``source`` (it has no subfolders) and an index the content of ``folder``.

        The files get the subfolder of ``folder`` that is returned, a new one each time, or lie in ``folder`` itself
        ("") where a folder can be replaced whole. ``index`` is the name of the file that says what there is, and
        ``content`` gives its content for that subfolder. Writing the index is the commit, and it is conditional: a
        reader that goes by it sees the old files or the new, never some of each and never none; killed or refused at
        any point, one of the two. What was there before is removed after the commit, and nothing else is.

        ``held`` is the lock that keeps others from the folder, taken before anything was read that the files are made
        of: LockedError when it was lost. The files of ``source`` may be moved away.
        """

    def lock(self, path: str, holder: str) -> AbstractContextManager[HeldLock]:
        """Hold ``path`` as a lock; a process that dies loses it. Raises LockedError when somebody else holds it."""


def unique_name() -> str:
    """A name that nobody else has, sorted by when it was given."""
    return f"{clock.utc_now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def is_unique_name(name: str) -> bool:
    """Whether ``unique_name`` gives such names."""
    return _UNIQUE_NAME.fullmatch(name) is not None


def size_of(root: DataRoot, folder: str) -> int:
    """Bytes of all files below ``folder``."""
    return sum(file.size for file in root.list(folder))


def checked_path(path: str) -> str:
    """``path``, when it is one that stays below a root. Raises ValueError."""
    if not _SAFE_PATH.fullmatch(path):
        raise ValueError(f"{path!r} is no path below the data root: it must be relative, with no empty or dotted names")
    return path
