"""Processes that are killed by SIGKILL at a chosen moment: right before their n-th change to a file or send to S3.

The moments are Python's own audit events, so they lie inside the code under test, between any two of its steps.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "http.client.send"}
_WRITING = os.O_WRONLY | os.O_RDWR

# Forked from a process that has only imported: polars' threads would not survive a fork of this one.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    ["__main__", "pytest", "hypothesis", "boto3", "npi_pipeline.enrichment.journal", "npi_pipeline.demo.s3"]
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

    def watch(event: str, details: tuple[Any, ...]) -> None:
        nonlocal left
        if not _is_change(event, details):
            return
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    sys.addaudithook(watch)
    do(*arguments)


def _is_change(event: str, details: tuple[Any, ...]) -> bool:
    if event == "open":
        path, _, flags = details
        return isinstance(flags, int) and bool(flags & _WRITING) and not str(path).startswith("/dev/")
    return event in _CHANGES
