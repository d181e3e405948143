"""A server that plays on each of its connections, byte for byte, what a test says.

Not here: a registry that answers by NPI (``scripted_registry``), nor the emulated one (``testing.registry``).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable


class ScriptedServer:
    """Gives every connection to ``play`` and keeps the heads of the requests that it read."""

    def __init__(self, play: Play) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self.is_closed = threading.Event()
        self._play = play
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def read_head(self, connection: socket.socket) -> bool:
        """Read one request; False when the client has closed the connection."""
        head = b""
        while b"\r\n\r\n" not in head:
            part = connection.recv(65536)
            if not part:
                return False
            head += part
        self.heads.append(head)
        return True

    def close(self) -> None:
        """Accept no more, and tell the plays that wait for it."""
        self.is_closed.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._play(self, connection)


Play = Callable[[ScriptedServer, socket.socket], None]
Serve = Callable[[Play], ScriptedServer]


def http(status: str, *headers: str, body: bytes = b"") -> bytes:
    """An answer with these headers and the length of its body."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def always(response: bytes) -> Play:
    """Answer every request of every connection with these bytes."""

    def play(server: ScriptedServer, connection: socket.socket) -> None:
        while server.read_head(connection):
            connection.sendall(response)

    return play


def securely(context: ssl.SSLContext, play: Play) -> Play:
    """The same within TLS."""

    def play_securely(server: ScriptedServer, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            play(server, secure)

    return play_securely
