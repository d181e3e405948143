"""Servers as child processes end with what started them, however it was started."""

from __future__ import annotations

import subprocess
import sys

# What a shell without job control starts in the background ignores Ctrl-C, and Dagster gives SIGTERM the same answer.
IGNORING = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
from npi_pipeline.testing.registry import emulated_registry
from npi_pipeline.testing.s3 import local_s3
with local_s3(), emulated_registry():
    pass
"""


def test_servers_of_a_process_that_ignores_sigterm_end_with_their_block() -> None:
    assert subprocess.run([sys.executable, "-c", IGNORING], timeout=60, check=False).returncode == 0
