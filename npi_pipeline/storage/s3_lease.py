"""A lock on S3: an object written on condition, renewed while its holder lives, and free when it no longer is.

S3 answers a conditional PUT atomically, so of two that take a lease one gets it. Age is told by S3's clock alone.
Not here: what is locked (``days.lock``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import secrets
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from npi_pipeline.storage.data_root import HeldLock, LockedError, StorageError

if TYPE_CHECKING:
    from npi_pipeline.storage.s3 import S3Root

LEASE_SECONDS = 15.0
# Three renewals may fail before the lease runs out.
RENEW_SECONDS = 3.0
LOOK_SECONDS = 0.5
RELEASE_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class _Found:
    etag: str
    age_seconds: float
    content: dict[str, Any]

    @property
    def is_free(self) -> bool:
        return bool(self.content.get("released")) or self.age_seconds > LEASE_SECONDS

    def as_error(self) -> LockedError:
        return LockedError(str(self.content.get("holder", "another run")), str(self.content.get("since", "just now")))


@contextlib.contextmanager
def held_lease(root: S3Root, path: str, holder: str) -> Iterator[HeldLock]:
    """Hold the lease at ``path``, renewing it in a thread. Raises LockedError, StorageError."""
    lease = _Lease(root, path, holder)
    lease.take()
    keeping = threading.Thread(target=lease.keep, name=f"lease {path}", daemon=True)
    keeping.start()
    try:
        yield lease
    finally:
        lease.stopped.set()
        # An S3 that does not answer holds up nobody: then the lease runs out by itself.
        keeping.join(RELEASE_SECONDS)


class _Lease:
    def __init__(self, root: S3Root, path: str, holder: str) -> None:
        self._root = root
        self._path = path
        self._writing = threading.Lock()
        self._etag = ""
        self._lost_to: LockedError | None = None
        self._content: dict[str, Any] = {
            "holder": holder,
            "since": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            "token": secrets.token_hex(8),
            "renewals": 0,
            "released": False,
        }
        self.stopped = threading.Event()

    def take(self) -> None:
        """Take the lease. A holder that does not renew it is dead; one that does is a LockedError."""
        if self._put(None):
            return
        first = found = self._found()
        while not found.is_free:
            if found.etag != first.etag:
                raise found.as_error()
            time.sleep(LOOK_SECONDS)
            found = self._found()
        if not self._put(found.etag):
            raise self._found().as_error()

    def ensure_held(self) -> None:
        """Renew the lease now. Raises LockedError when it was lost."""
        self._renew()
        if self._lost_to:
            raise self._lost_to

    def keep(self) -> None:
        """Renew the lease until it is to be released; S3's not answering is left to the next time."""
        while not self.stopped.wait(RENEW_SECONDS) and not self._lost_to:
            with contextlib.suppress(StorageError):
                self._renew()
        with contextlib.suppress(StorageError):
            self._release()

    def _renew(self) -> None:
        with self._writing:
            if self._lost_to:
                return
            self._content["renewals"] += 1
            if not self._put(self._etag):
                self._lost_to = self._found().as_error()

    def _release(self) -> None:
        with self._writing:
            if not self._lost_to:
                self._content["released"] = True
                self._put(self._etag)

    def _put(self, etag: str | None) -> bool:
        """Write the lease if it is still what ``etag`` says (None: if there is none); False when it is not."""
        written = self._root.write_if(self._path, json.dumps(self._content).encode(), etag)
        self._etag = written or self._etag
        return written is not None

    def _found(self) -> _Found:
        try:
            content, etag, age_seconds = self._root.read_with_age(self._path)
            return _Found(etag, age_seconds, json.loads(content))
        except (FileNotFoundError, ValueError) as error:
            # Nobody but us writes there, and nobody removes it.
            raise StorageError(f"the lock {self._root.uri(self._path)} was tampered with: remove it") from error
