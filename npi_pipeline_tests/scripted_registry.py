"""A registry over HTTP whose answers a test gives one by one.

Not here: the emulated registry with its made-up providers (``npi_pipeline.testing.registry``).
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ScriptedRegistry:
    """Answers by NPI: an object is sent as JSON, bytes as they are, a number as a status, None as a reset."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body are written apart: the second would wait for the first to be acknowledged.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                answer = outer.answers[self.path.rpartition("=")[2]]
                if answer is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(answer if isinstance(answer, int) else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing: the tests' output is theirs."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/test?npi={{npi}}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextlib.contextmanager
def scripted_registry() -> Iterator[ScriptedRegistry]:
    """A scripted registry on loopback for the length of the block."""
    scripted = ScriptedRegistry()
    try:
        yield scripted
    finally:
        scripted.server.shutdown()
        scripted.server.server_close()
