"""Processes that are killed by SIGKILL at a chosen moment: right before their n-th change to a file or send to S3.

The moments are told by the interpreter, so they lie inside the code under test, between any two calls to the system.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from types import FrameType, ModuleType
from typing import Any

_SYSTEM_CALLS = {"open", "close", "fsync", "ftruncate", "pwrite", "sendfile"} | {
    "mkdir", "rmdir", "rename", "replace", "remove", "unlink", "link"
}  # fmt: skip
_FILE_CALLS = {"write", "flush", "close", "__exit__", "send", "sendall"}

# Forked from a process that has only imported: polars' threads would not survive a fork of this one.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    ["__main__", "pytest", "hypothesis", "boto3", "npi_pipeline.journal", "npi_pipeline.testing.s3"]
)


def was_killed_before(change: int, do: Callable[..., object], *arguments: Any) -> bool:
    """Run ``do`` in a process of its own that is killed before its ``change``-th change (from 0).

    False when it came to its end before that. Any other end fails the test.
    """
    with running(_killed_before, change, do, *arguments) as process:
        process.join(60)
    assert process.exitcode in {0, -signal.SIGKILL}, f"the process ended with {process.exitcode}"
    return process.exitcode != 0


@contextlib.contextmanager
def running(do: Callable[..., object], *arguments: Any) -> Iterator[BaseProcess]:
    """Run ``do`` in a process of its own; killed at the end of the block, if not before."""
    process = _processes.Process(target=_with_environment, args=(dict(os.environ), do, arguments))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _with_environment(environment: dict[str, str], do: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    do(*arguments)


def _killed_before(change: int, do: Callable[..., object], *arguments: Any) -> None:
    left = change

    def watch(_frame: FrameType, event: str, function: Any) -> None:
        nonlocal left
        if event != "c_call" or not _is_change(function):
            return
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        do(*arguments)
    finally:
        sys.setprofile(None)


def _is_change(function: Any) -> bool:
    owner = function.__self__
    if isinstance(owner, ModuleType):
        return owner.__name__ == "posix" and function.__name__ in _SYSTEM_CALLS
    return isinstance(owner, (io.BufferedWriter, socket.socket)) and function.__name__ in _FILE_CALLS
