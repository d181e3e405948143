"""A proxy on loopback in front of any server that cuts every connection when it is told to, or after so many bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class TcpProxy:
    """``cut`` it, and let it be ``open`` again. ``bytes_left`` counts down what clients may still send."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self.is_open = True
        self.bytes_left: int | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def cut(self) -> None:
        """End all connections, and every new one at once."""
        self.is_open = False
        with self._lock:
            for pair in self._pairs:
                for end in pair:
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

    def reopen(self) -> None:
        """Let everything through from now on."""
        self.bytes_left = None
        self.is_open = True

    def close(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                if not self.is_open:
                    client.close()
                    continue
                upstream = socket.create_connection(("127.0.0.1", self._upstream))
                with self._lock:
                    self._pairs.append((client, upstream))
                threading.Thread(target=self._pass_on, args=(client, upstream, True), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(upstream, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_counted: bool) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65_536):
                if is_counted and self.bytes_left is not None:
                    self.bytes_left -= len(content)
                    if self.bytes_left < 0:
                        self.cut()
                        break
                target.sendall(content)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def tcp_proxy(port: int) -> Iterator[TcpProxy]:
    """One for the length of the block, in front of the server on loopback's ``port``."""
    proxy = TcpProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
