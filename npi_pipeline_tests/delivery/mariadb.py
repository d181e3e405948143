"""A MariaDB server of the tests' own, on loopback, where Debian's package ``mariadb-server`` is installed."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pymysql

from npi_pipeline_tests.deployment import free_port


def is_installed() -> bool:
    return shutil.which("mariadbd") is not None


@contextlib.contextmanager
def mariadb_server() -> Iterator[str]:
    """The URL of a server's database, ``mysql+pymysql://npi:secret@host:port/npi``, while it runs."""
    with tempfile.TemporaryDirectory(prefix="npi-mariadb-") as scratch:
        data, user, port = Path(scratch) / "data", getpass.getuser(), free_port()
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-test-db"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        begin = Path(scratch) / "begin.sql"
        begin.write_text(
            "create database npi;\ncreate user npi@'%' identified by 'secret';\ngrant all on *.* to npi@'%';\n"
        )
        server = subprocess.Popen(
            [
                "mariadbd", "--no-defaults", f"--datadir={data}", f"--user={user}", f"--port={port}",
                "--bind-address=127.0.0.1", f"--socket={scratch}/socket", f"--pid-file={scratch}/pid",
                f"--init-file={begin}", "--innodb-flush-log-at-trx-commit=0",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait_for(port, server)
            yield f"mysql+pymysql://npi:secret@127.0.0.1:{port}/npi"
        finally:
            server.terminate()
            server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    while True:
        with contextlib.suppress(pymysql.OperationalError):
            pymysql.connect(host="127.0.0.1", port=port, user="npi", password="secret", database="npi").close()
            return
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode}")
