"""A local S3: moto's server over HTTP, as a process of its own on loopback.

    with local_s3() as s3:
        s3.put_list("lists", "npi_list.txt", ["1234567893"])
        subprocess.run([...], env={**os.environ, **s3.environment})

Not here: what the pipeline reads and writes there (``npi_pipeline.storage``).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import logging
import random
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from npi_pipeline.demo import child_process

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_CONTROL_PATH = "/-/misbehave"
_SLOW_DOWN = ("503 Slow Down", "SlowDown", "Please reduce your request rate.")
_ACCESS_DENIED = ("403 Forbidden", "AccessDenied", "Access Denied")

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class LocalS3:
    """A running local S3. ``environment`` holds the variables that lead any AWS tool to it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self.environment = {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self._process = process

    def client(self) -> S3Client:
        """A boto3 client of it, whatever the environment says."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id="demo",
            aws_secret_access_key="demo",  # noqa: S106 - it checks none
            region_name="us-east-1",
        )

    def create_bucket(self, bucket: str, *, versioned: bool = False) -> None:
        """Create a bucket; no error when it is there."""
        client = self.client()
        client.create_bucket(Bucket=bucket)
        if versioned:
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def put_list(self, bucket: str, key: str, npis: str | bytes | Iterable[str]) -> None:
        """Put an NPI list there, and the bucket where it is missing.

        Text or bytes are put as they are; NPIs get the header line ``NPI`` and a line each.
        """
        if not isinstance(npis, (str, bytes)):
            npis = "".join(f"{line}\n" for line in ("NPI", *npis))
        self.create_bucket(bucket)
        self.client().put_object(Bucket=bucket, Key=key, Body=npis)

    def misbehave(self, *, refused_share: float = 0.0, denied_buckets: Iterable[str] = (), seed: int = 0) -> None:
        """From now on refuse a share of the requests with 503 SlowDown, and all to some buckets with AccessDenied."""
        order = {"refused_share": refused_share, "denied_buckets": list(denied_buckets), "seed": seed}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("PUT", _CONTROL_PATH, json.dumps(order))
            connection.getresponse().read()

    def close(self) -> None:
        """End it and all that it holds. Harmless when it has ended."""
        child_process.stop(self._process)


@contextlib.contextmanager
def local_s3(*, port: int = 0) -> Iterator[LocalS3]:
    """A local S3 on loopback for the length of the block, empty at first. Raises ServerError when it does not start."""
    process, ready = child_process.start("npi_pipeline.demo.s3", ["--port", str(port)])
    s3 = LocalS3(process, **ready)
    try:
        yield s3
    finally:
        s3.close()


class _Misbehaving:
    """A WSGI application in front of moto's that can refuse, and that makes conditional writes atomic.

    Moto looks whether the key is there and then writes; with another thread in between, two were seen to win.
    """

    def __init__(self, application: WsgiApplication) -> None:
        self._application = application
        self._refused_share = 0.0
        self._denied_buckets: frozenset[str] = frozenset()
        self._random = random.Random(0)
        self._conditional_write = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == _CONTROL_PATH:
            self._obey(json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))))
            start_response("200 OK", [("Content-Length", "0")])
            return []
        if path.split("/")[1] in self._denied_buckets:
            return _refuse(environ, start_response, *_ACCESS_DENIED)
        if self._refused_share and self._random.random() < self._refused_share:
            return _refuse(environ, start_response, *_SLOW_DOWN)
        if "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MATCH" in environ:
            with self._conditional_write:
                return self._application(environ, start_response)
        return self._application(environ, start_response)

    def _obey(self, order: dict[str, Any]) -> None:
        self._random = random.Random(order["seed"])
        self._denied_buckets = frozenset(order["denied_buckets"])
        self._refused_share = order["refused_share"]


def _refuse(
    environ: dict[str, Any], start_response: Callable[..., Any], status: str, code: str, message: str
) -> list[bytes]:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body.encode()]


def main() -> None:
    """Serve until interrupted; one line of JSON on standard output says that it is ready, and where."""
    parser = argparse.ArgumentParser(prog="python -m npi_pipeline.demo.s3", description="A local S3.")
    parser.add_argument("--port", type=int, default=0, help="port on loopback; any free one by default")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when the standard input ends")
    arguments = parser.parse_args()
    if arguments.exit_with_parent:
        child_process.exit_with_parent()

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    application = _Misbehaving(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", arguments.port, application, threaded=True, request_handler=MotoRequestHandler)
    child_process.announce(port=server.server_port)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
