"""A folder on this machine for what does not fit into memory while a file is prepared.

Of a process that is killed it stays, so that whoever prepares the same file here goes on where that one was.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.storage.data_root import StorageError

_PREFIX = "npi-bulk-"
# Longer than from one day's run to the next.
_KEPT_SECONDS = 2 * 86400.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@contextlib.contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """A folder that nobody else uses meanwhile: what a killed process left for the same ``purpose``, or a new one.

    It is removed at the end of the block, unless that is an interruption or a StorageError: then somebody goes on with
    it. What nobody has gone on with for two days is removed as well. Raises BulkFileError when it cannot be written to.
    """
    try:
        _remove_left()
        with contextlib.ExitStack() as stack:
            folder = _left(purpose, stack) or _new(purpose, stack)
            # As old as its last use.
            os.utime(folder)
            try:
                yield folder
            except StorageError:
                raise
            except Exception:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise BulkFileError(
            f"cannot write to {tempfile.gettempdir()} ({error.strerror or error}): make room there for three times the "
            "size of the zip, or set TMPDIR to another folder"
        ) from error


def _left(purpose: str, stack: contextlib.ExitStack) -> Path | None:
    """The folder of a process that was killed, locked until the end of ``stack``."""
    mine = (left for left in _folders(f"{_key(purpose)}-*") if left.stat().st_uid == os.geteuid())
    return next((left for left in mine if stack.enter_context(_locked(left))), None)


def _new(purpose: str, stack: contextlib.ExitStack) -> Path:
    """A folder that nobody finds before it is locked."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}new-"))
    stack.enter_context(_locked(folder))
    return folder.rename(folder.with_name(folder.name.replace("new", _key(purpose), 1)))


def _remove_left() -> None:
    for left in _folders("*"):
        with contextlib.suppress(OSError), _locked(left) as is_mine:
            if is_mine and time.time() - left.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _folders(pattern: str) -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"{_PREFIX}{pattern}"))


def _key(purpose: str) -> str:
    # Nothing is synced to disk, so what is from before the machine was started anew is not to be believed.
    boot = _BOOT_ID.read_text() if _BOOT_ID.exists() else os.urandom(16).hex()
    return hashlib.sha256(f"{purpose}\n{boot}".encode()).hexdigest()[:16]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the folder is there and nobody else has it; nobody else gets it until the end of the block."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        yield _take(descriptor) and folder.exists()
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
