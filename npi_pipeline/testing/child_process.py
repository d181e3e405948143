"""Servers as child processes: started on loopback, ready when they say so, gone when their parent is.

A server prints one line of JSON when it accepts connections. Its standard input is a pipe from its parent: when
that ends, by a close or by the parent's death, however sudden, the server ends.

Not here: what the servers serve (``registry_server``, ``s3_server``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from npi_pipeline.errors import PipelineError


class ServerError(PipelineError):
    """A server of the demo did not start, or does not answer."""


def start(module: str, arguments: Sequence[str]) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """Start ``python -m module arguments`` and wait for its line; returns the process and what the line says.

    Raises ServerError with the server's own last words when it ends before it is ready.
    """
    process = subprocess.Popen(  # noqa: S603 - this interpreter, one of our own modules
        [sys.executable, "-m", module, *arguments, "--exit-with-parent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Ctrl-C in a terminal goes to the whole session; the server must outlive what still talks to it.
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101 - it was asked for above
    line = process.stdout.readline()
    if not line:
        stop(process)
        raise ServerError(
            f"{module} ended with exit code {process.returncode} before it was ready; see its messages above"
        )
    return process, json.loads(line)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server that ``start`` started, and wait until it is gone. Harmless when it is gone already."""
    # The end of its input too: what a shell starts in the background ignores Ctrl-C, Dagster gives SIGTERM the same
    # answer, and a server inherits both.
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def announce(**ready: Any) -> None:
    """Say, in the server, that it accepts connections."""
    print(json.dumps(ready), flush=True)  # noqa: T201 - the line that ``start`` waits for


def exit_with_parent() -> None:
    """End this process, in the server, when the standard input ends."""

    def wait_for_the_end() -> None:
        # Not sys.stdin: a thread that holds its lock stands in the way of an ordinary exit.
        while os.read(0, 65_536):
            pass
        os._exit(0)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
