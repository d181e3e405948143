"""A webhook over HTTP that remembers what it was told. Not here: the alert that posts to it (``monitoring.alert``)."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Webhook:
    """``messages`` are the texts it took; the first of its answers have the ``statuses`` given, the others 200.

    Where it ``is_slow``, it answers only at the end of the test. Its refusals ask for a pause of an hour.
    """

    def __init__(self, statuses: list[int], *, is_slow: bool) -> None:
        self.messages: list[str] = []
        self.requests = 0
        self.is_over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.requests += 1
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = statuses.pop(0) if statuses else 200
                if status == 200:
                    outer.messages.append(content["text"])
                if is_slow:
                    outer.is_over.wait()
                    return
                self.send_response(status)
                if status != 200:
                    self.send_header("Retry-After", "3600")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing: the tests' output is theirs."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hooks/a-secret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextlib.contextmanager
def webhook(*statuses: int, is_slow: bool = False) -> Iterator[Webhook]:
    """A webhook on loopback for the length of the block."""
    hook = Webhook(list(statuses), is_slow=is_slow)
    try:
        yield hook
    finally:
        hook.is_over.set()
        hook.server.shutdown()
        hook.server.server_close()
