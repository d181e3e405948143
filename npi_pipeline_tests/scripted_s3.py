"""A server that answers every request as S3 is documented to in some problem, where no S3 at hand can be brought to it.

Not here: an S3 that keeps objects (``npi_pipeline.testing.s3``), and one that checks signatures (``ministack``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import http.server
import threading
import time
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape


@dataclasses.dataclass(frozen=True)
class S3Answer:
    """An error as S3 gives it; with ``page`` it is somebody else's, without a word of S3's.

    ``extra`` are further elements of the error, ``headers`` further headers; ``clock`` is seconds that the server's
    clock is ahead. To a HEAD nobody gives a body.
    """

    status: int
    code: str = ""
    message: str = ""
    extra: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    page: str = ""
    clock: float = 0.0

    @property
    def body(self) -> bytes:
        """What a GET or PUT is told."""
        if self.page:
            return self.page.encode()
        told = {"Code": self.code, "Message": self.message, **self.extra, "RequestId": "4442587FB7D0A2F9"}
        elements = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in told.items())
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{elements}</Error>'.encode()


class ScriptedS3(http.server.ThreadingHTTPServer):
    """``answer`` is what everybody gets; ``requests`` are the headers of what was asked, with method and path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = S3Answer(500, "InternalError")
        self.requests: list[dict[str, str]] = []

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def scripted_s3() -> Iterator[ScriptedS3]:
    """Such a server for the length of the block."""
    with ScriptedS3() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedS3

    def do_GET(self) -> None:
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append({"method": self.command, "path": self.path, **asked})
        # The SDK looks for a bucket's region by a HEAD of it, for ever when that too is answered with a redirect.
        is_of_bucket = self.command == "HEAD" and self.path.count("/") == 1
        answer = S3Answer(400) if is_of_bucket else self.server.answer
        self.send_response_only(answer.status)
        headers = {
            "Date": email.utils.formatdate(time.time() + answer.clock, usegmt=True),
            "Content-Length": str(len(answer.body)),
            **({} if answer.page else {"x-amz-request-id": "4442587FB7D0A2F9", "Content-Type": "application/xml"}),
            **answer.headers,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815 - http.server's names

    def handle_expect_100(self) -> bool:
        return True

    def log_message(self, *_: object) -> None:
        """Say nothing."""
