"""The Dagster UI as a child process of the demo: web server, daemon and code server, gone when the demo is.

Not here: what it shows (the environment says), nor when it is started (``session``).
"""

from __future__ import annotations

import _thread
import contextlib
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from npi_pipeline.testing import child_process
from npi_pipeline.testing.child_process import ServerError

_LOOK_AGAIN_SECONDS = 0.2


def is_free(port: int) -> bool:
    """Whether a server can be started on that port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def dagster_ui(*, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The UI on loopback for the length of the block, ready when the block begins; its messages go to ``log``.

    Yields its process. Raises ServerError, naming the log, when it does not start.
    """
    command = [sys.executable, "-m", "npi_pipeline.demo.dagster_ui", "dev", "--module-name", "npi_pipeline.definitions"]
    with log.open("wb") as messages:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, one of our own modules
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.PIPE,
            stdout=messages,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            # Ctrl-C in a terminal goes to the whole session; here only the first of the processes is to be ended, and
            # to end the others.
            start_new_session=True,
        )
    try:
        while not _answers(port):
            if process.poll() is not None:
                raise ServerError(f"the Dagster UI did not start: see {log}")
            time.sleep(_LOOK_AGAIN_SECONDS)
        yield process
    finally:
        child_process.stop(process)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=60):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


def main() -> None:
    """The ``dagster`` command, interrupted when the standard input ends: that is how the death of a parent shows."""
    threading.Thread(target=_interrupt_at_the_end_of_input, daemon=True).start()
    try:
        runpy.run_module("dagster", run_name="__main__", alter_sys=True)
    finally:
        # Dagster leaves its code server to end by itself, and a run to go on.
        os.killpg(os.getpid(), signal.SIGKILL)


def _interrupt_at_the_end_of_input() -> None:
    while os.read(0, 65_536):
        pass
    _thread.interrupt_main()


if __name__ == "__main__":
    main()
