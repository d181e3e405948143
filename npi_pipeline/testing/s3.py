"""A local S3: moto's server over HTTP, as a process of its own on loopback.

    with local_s3() as s3:
        s3.put_list("lists", "npi_list.txt", ["1234567893"])
        subprocess.run([...], env={**os.environ, **s3.environment})

Not here: what the pipeline reads and writes there (``npi_pipeline.storage``).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import functools
import http
import http.client
import io
import json
import logging
import random
import subprocess
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from npi_pipeline.testing import child_process

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_MISBEHAVE_PATH = "/-/misbehave"
_LAST_MODIFIED_PATH = "/-/last-modified"
_CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")
_REFUSALS = {
    "SlowDown": ("503 Slow Down", "Please reduce your request rate."),
    "AccessDenied": ("403 Forbidden", "Access Denied"),
    "NotImplemented": ("501 Not Implemented", "This is not implemented."),
}

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
        """A new boto3 client of it, whatever the environment says."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id="demo",
            aws_secret_access_key="demo",  # noqa: S106 - it checks none
            region_name="us-east-1",
        )

    @functools.cached_property
    def _own_client(self) -> S3Client:
        """For what is done here: making one takes longer than most of what it is used for."""
        return self.client()

    def create_bucket(self, bucket: str, *, versioned: bool = False) -> None:
        """Create a bucket; no error when it is there."""
        client = self._own_client
        client.create_bucket(Bucket=bucket)
        if versioned:
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def put_list(
        self, bucket: str, key: str, npis: str | bytes | Iterable[str], *, last_modified: dt.datetime | None = None
    ) -> None:
        """Put an NPI list there, and the bucket where it is missing; as if it had been at ``last_modified``.

        Text or bytes are put as they are; NPIs get the header line ``NPI`` and a line each.
        """
        if not isinstance(npis, (str, bytes)):
            npis = "".join(f"{line}\n" for line in ("NPI", *npis))
        self.create_bucket(bucket)
        put = self._own_client.put_object(Bucket=bucket, Key=key, Body=npis)
        if last_modified is not None:
            self.set_last_modified(bucket, key, last_modified, put.get("VersionId"))

    def set_last_modified(
        self, bucket: str, key: str, last_modified: dt.datetime, version_id: str | None = None
    ) -> None:
        """From now on an object, one version of it or a delete marker is as if it had been put at ``last_modified``.

        The newest of the versions is the current one. S3 itself has no way to do this.
        """
        moment = last_modified.astimezone(dt.timezone.utc).replace(tzinfo=None).isoformat()
        order = {"bucket": bucket, "key": key, "version_id": version_id or "null", "last_modified": moment}
        self._command(_LAST_MODIFIED_PATH, order)

    def misbehave(
        self,
        *,
        refused_share: float = 0.0,
        denied_buckets: Iterable[str] = (),
        refused_actions: Mapping[str, str] | None = None,
        ignores_conditions: bool = False,
        seed: int = 0,
    ) -> None:
        """From now on refuse a share of the requests with 503 SlowDown, and all to some buckets with AccessDenied.

        ``refused_actions`` is the error code that ``s3:ListBucketVersions`` or ``s3:GetObjectVersion`` is refused with.
        A store that ``ignores_conditions`` writes whatever If-Match and If-None-Match say, as some do.
        """
        order = {
            "refused_share": refused_share,
            "denied_buckets": list(denied_buckets),
            "refused_actions": dict(refused_actions or {}),
            "ignores_conditions": ignores_conditions,
            "seed": seed,
        }
        self._command(_MISBEHAVE_PATH, order)

    def _command(self, path: str, order: Mapping[str, object]) -> None:
        """Give the server process an order that is no request of S3's."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("PUT", path, json.dumps(order))
            answer = connection.getresponse()
            said = answer.read().decode()
        if answer.status != http.HTTPStatus.OK:
            raise child_process.ServerError(f"the local S3 does not obey: {said}")

    def close(self) -> None:
        """End it and all that it holds. Harmless when it has ended."""
        child_process.stop(self._process)


@contextlib.contextmanager
def local_s3(*, port: int = 0) -> Iterator[LocalS3]:
    """A local S3 on loopback for the length of the block, empty at first. Raises ServerError when it does not start."""
    process, ready = child_process.start("npi_pipeline.testing.s3", ["--port", str(port)])
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
        self._refused_actions: dict[str, str] = {}
        self._ignores_conditions = False
        self._random = random.Random(0)
        self._conditional_write = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        orders = {_MISBEHAVE_PATH: self._misbehave, _LAST_MODIFIED_PATH: _set_last_modified}
        if obey := orders.get(environ["PATH_INFO"]):
            problem = obey(json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))) or ""
            start_response("404 Not Found" if problem else "200 OK", [("Content-Length", str(len(problem.encode())))])
            return [problem.encode()]
        if code := self._refusal(environ):
            return _refuse(environ, start_response, code)
        if self._ignores_conditions:
            environ = {name: value for name, value in environ.items() if name not in _CONDITIONS}
        if any(name in environ for name in _CONDITIONS):
            # Read before: whoever is stopped while it sends keeps no other waiting.
            content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ = {**environ, "wsgi.input": io.BytesIO(content)}
            with self._conditional_write:
                return self._application(environ, start_response)
        return self._application(environ, start_response)

    def _refusal(self, environ: dict[str, Any]) -> str | None:
        """The error code that a request is refused with, if it is."""
        if environ["PATH_INFO"].split("/")[1] in self._denied_buckets:
            return "AccessDenied"
        if self._refused_share and self._random.random() < self._refused_share:
            return "SlowDown"
        return self._refused_actions.get(_versions_action(environ) or "")

    def _misbehave(self, order: dict[str, Any]) -> None:
        self._random = random.Random(order["seed"])
        self._denied_buckets = frozenset(order["denied_buckets"])
        self._refused_share = order["refused_share"]
        self._refused_actions = order["refused_actions"]
        self._ignores_conditions = order["ignores_conditions"]


def _versions_action(environ: dict[str, Any]) -> str | None:
    """Which of the permissions about versions a request takes, if it takes one."""
    query = urllib.parse.parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    if "versions" in query:
        return "s3:ListBucketVersions"
    return "s3:GetObjectVersion" if "versionId" in query else None


def _set_last_modified(order: dict[str, Any]) -> str | None:
    """Moto gives no way to this, so it is done in what moto remembers: versions by key, the newest last.

    Returns what is wrong with the order, if anything is.
    """
    from moto.s3.models import s3_backends

    partition, account = s3_backends.bucket_accounts[order["bucket"]]
    versions = s3_backends[account][partition].buckets[order["bucket"]].keys.getlist(order["key"], [])
    named = [version for version in versions if version.version_id == order["version_id"]]
    if not named:
        return "there is no object {bucket}/{key} with the version {version_id}".format(**order)
    named[0].last_modified = dt.datetime.fromisoformat(order["last_modified"])
    versions.sort(key=lambda version: version.last_modified)
    return None


def _refuse(environ: dict[str, Any], start_response: Callable[..., Any], code: str) -> list[bytes]:
    status, message = _REFUSALS[code]
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body.encode()]


def main() -> None:
    """Serve until interrupted; one line of JSON on standard output says that it is ready, and where."""
    parser = argparse.ArgumentParser(prog="python -m npi_pipeline.testing.s3", description="A local S3.")
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
