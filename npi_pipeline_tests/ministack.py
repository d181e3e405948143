"""MiniStack: a second S3, which checks signatures and permissions, as a process on loopback.

It pins a botocore of its own and so lives in an environment of its own, which ``make test`` makes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

from npi_pipeline_tests.deployment import free_port, poll_until

MINISTACK = Path(sys.prefix) / "ministack" / "bin" / "ministack"


class MiniStack:
    """A running one. Its administrator's key is ``test`` with the secret ``test``."""

    def __init__(self, port: int) -> None:
        self.endpoint_url = f"http://127.0.0.1:{port}"

    def client(self, service: str, key: str = "test", secret: str = "test") -> Any:
        """A client of one of its services, by default the administrator's."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint_url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
        )

    def make_user(self, name: str) -> dict[str, str]:
        """A user without any permission; the variables that make an AWS tool this user."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


@contextlib.contextmanager
def ministack() -> Iterator[MiniStack]:
    """One for the length of the block, empty at first."""
    server = MiniStack(port := free_port())
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [MINISTACK],
            env={
                "PATH": os.environ["PATH"],
                "TMPDIR": folder,
                "AUTH": "true",
                "BIND_HOST": "127.0.0.1",
                "GATEWAY_PORT": str(port),
                "SERVICES": "s3,iam,sts",
                "SFTP_ENABLED": "false",
                "IOT_MTLS_ENABLED": "0",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if not poll_until(lambda: process.poll() is not None or _answers(server)) or process.poll() is not None:
                raise AssertionError("MiniStack did not start")
            yield server
        finally:
            process.terminate()
            process.wait()


def _answers(server: MiniStack) -> bool:
    try:
        with urllib.request.urlopen(f"{server.endpoint_url}/_ministack/health", timeout=5):
            return True
    except OSError:
        return False
