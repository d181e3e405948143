"""A folder on this machine for what does not fit into memory while a file is prepared."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError

_PREFIX = "npi-bulk-"
# Between making a folder and locking it.
_YOUNG_SECONDS = 60.0


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for what does not fit into memory; those of processes that were killed are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY)
            try:
                if time.time() - left.stat().st_mtime > _YOUNG_SECONDS:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(descriptor)
    try:
        with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield Path(folder)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise BulkFileError(
            f"cannot write to {tempfile.gettempdir()} ({error.strerror or error}): make room there for three times the "
            "size of the zip, or set TMPDIR to another folder"
        ) from error
