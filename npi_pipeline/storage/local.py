"""The data root as a local folder: whole files by rename, each made durable before it has its name.

Not here: what the files are (``days``, ``manifest``), nor the other kind of root (``s3``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from npi_pipeline.storage.data_root import CHUNK_BYTES, HeldLock, LockedError, StorageError, StoredFile, checked_path

_UNFINISHED = ".unfinished"
# A write that was killed leaves its unfinished file; no write takes as long as this without touching it.
_ABANDONED_SECONDS = 24 * 3600


class LocalRoot:
    """Files below the folder ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        self._swept: set[Path] = set()

    def uri(self, path: str = "") -> str:
        """The absolute file path."""
        return str(self._at(path) if path else self.folder)

    def write(self, path: str, data: bytes) -> None:
        """See DataRoot."""
        with self._new_file(path) as file:
            file.write(data)

    def upload(self, path: str, source: Path) -> None:
        """See DataRoot."""
        with source.open("rb") as content, self._new_file(path) as file:
            shutil.copyfileobj(content, file, CHUNK_BYTES)

    def read(self, path: str) -> bytes:
        """See DataRoot."""
        with self._one_line_errors("read", path):
            return self._at(path).read_bytes()

    def chunks(self, path: str) -> Iterator[bytes]:
        """See DataRoot."""
        with self._one_line_errors("read", path), self._at(path).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def download(self, path: str, target: Path) -> None:
        """See DataRoot."""
        with self._one_line_errors("read", path):
            shutil.copyfile(self._at(path), target)

    def list(self, prefix: str) -> list[StoredFile]:
        """See DataRoot."""
        with self._one_line_errors("list", prefix):
            return sorted(self._files(self._at(prefix) if prefix else self.folder), key=lambda file: file.path)

    def folders(self, prefix: str) -> Sequence[str]:
        """See DataRoot."""
        with self._one_line_errors("list", prefix):
            try:
                entries = list(os.scandir(self._at(prefix)))
            except (FileNotFoundError, NotADirectoryError):
                return []
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))

    def delete(self, *paths: str) -> None:
        """See DataRoot."""
        for path in paths:
            with self._one_line_errors("delete", path):
                self._at(path).unlink(missing_ok=True)

    def replace_folder(self, folder: str, source: Path, last: str, held: HeldLock) -> None:
        """See DataRoot. Two renames: between them there is no folder at all."""
        target = self._at(folder)
        if not (source / last).is_file():
            raise ValueError(f"{source} has no {last}")
        staging = target.with_name(f".{target.name}.staging")
        replaced = target.with_name(f".{target.name}.replaced")
        with self._one_line_errors("write", folder):
            if replaced.exists() and not target.exists():
                replaced.rename(target)
            _remove_folders(staging, replaced)
            _make_folder(staging)
            for file in sorted(source.iterdir()):
                _move(file, staging / file.name)
            _sync_folder(staging)
            held.ensure_held()
            if target.exists():
                target.rename(replaced)
            staging.rename(target)
            _sync_folder(target.parent)
            _remove_folders(replaced)

    @contextlib.contextmanager
    def lock(self, path: str, holder: str) -> Iterator[HeldLock]:
        """See DataRoot. The kernel releases the lock when the process ends, however it ends."""
        import fcntl

        target = self._at(path)
        with self._one_line_errors("lock", path):
            _make_folder(target.parent)
            descriptor = os.open(target, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LockedError(*_holder_in(os.pread(descriptor, 4096, 0))) from error
            since = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"holder": holder, "since": since}).encode(), 0)
            yield _KernelLock()
        finally:
            os.close(descriptor)

    def _at(self, path: str) -> Path:
        return self.folder / checked_path(path)

    def _files(self, folder: Path) -> Iterator[StoredFile]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if entry.is_dir():
                yield from self._files(path)
                continue
            # Gone meanwhile: then it is simply not listed.
            with contextlib.suppress(FileNotFoundError):
                found = entry.stat()
                modified = dt.datetime.fromtimestamp(found.st_mtime, dt.timezone.utc)
                yield StoredFile(path.relative_to(self.folder).as_posix(), found.st_size, modified)

    @contextlib.contextmanager
    def _new_file(self, path: str) -> Iterator[BinaryIO]:
        target = self._at(path)
        unfinished = target.with_name(f".{target.name}.{secrets.token_hex(6)}{_UNFINISHED}")
        with self._one_line_errors("write", path):
            _make_folder(target.parent)
            self._sweep(target.parent)
            try:
                with unfinished.open("xb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(target)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
            _sync_folder(target.parent)

    def _sweep(self, folder: Path) -> None:
        """Once a folder, remove what killed writes left in it long ago."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        for abandoned in folder.glob(f".*{_UNFINISHED}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - abandoned.stat().st_mtime > _ABANDONED_SECONDS:
                    abandoned.unlink()

    @contextlib.contextmanager
    def _one_line_errors(self, doing: str, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(f"there is no {self.uri(path)}") from error
        except OSError as error:
            raise StorageError(
                f"cannot {doing} {self.uri(path)}: {error.strerror or error}; "
                "make room or grant access there, or set NPI_DATA_ROOT to another place"
            ) from error


class _KernelLock:
    def ensure_held(self) -> None:
        """The kernel takes a lock from nobody who lives."""


def _holder_in(content: bytes) -> tuple[str, str]:
    try:
        known = json.loads(content)
        return str(known["holder"]), str(known["since"])
    except (ValueError, KeyError, TypeError):
        # Between taking the lock and writing down who did.
        return "another process", "just now"


def _make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents, each durable before something is put into it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move(source: Path, target: Path) -> None:
    """Move a file durably, across file systems too."""
    shutil.move(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _remove_folders(*folders: Path) -> None:
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)
