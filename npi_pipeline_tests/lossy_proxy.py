"""A proxy in front of S3 that passes every request on and then loses what it is told to lose of the answer."""

from __future__ import annotations

import collections
import contextlib
import http.client
import http.server
import threading
from collections.abc import Iterator


class LossyProxy(http.server.ThreadingHTTPServer):
    """``lose`` holds, by HTTP method, what becomes of the next answers: ``refused`` or ``cut`` in the body."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream_port = port
        self.lose: dict[str, collections.deque[str]] = collections.defaultdict(collections.deque)

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def lossy_proxy(port: int) -> Iterator[LossyProxy]:
    """A proxy for the length of the block, in front of the server on loopback's ``port``."""
    with LossyProxy(port) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.shutdown()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LossyProxy

    def do_GET(self) -> None:
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream_port, timeout=60)
        with contextlib.closing(connection):
            headers = {name: value for name, value in self.headers.items() if name != "Expect"}
            connection.request(self.command, self.path, content, headers)
            answer = connection.getresponse()
            body = answer.read()
        losses = self.server.lose[self.command]
        loss = losses.popleft() if losses else ""
        if loss == "refused":
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() != "connection":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if loss == "cut" else body)
        self.close_connection = loss == "cut"

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815 - http.server's names

    def handle_expect_100(self) -> bool:
        return True

    def log_message(self, *_: object) -> None:
        """Say nothing."""
