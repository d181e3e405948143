"""A proxy on loopback that goes away after so many bytes of a connection, as a server does whose machine is lost."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class VanishingProxy:
    """Passes bytes on in both directions. Connections end for good once as much as was said has been sent."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._limit: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def vanish_after(self, sent: int | None) -> None:
        """Let later connections end once their client has ``sent`` so many bytes; None: never."""
        self._limit = sent

    def serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._limit == 0:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._upstream))
            for source, target, limit in ((client, server, self._limit), (server, client, None)):
                threading.Thread(target=_pass_on, args=(source, target, limit), daemon=True).start()

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def vanishing_proxy(port: int) -> Iterator[VanishingProxy]:
    """A proxy for the length of the block, in front of the server on loopback's ``port``."""
    proxy = VanishingProxy(port)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()


def _pass_on(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    sent = 0
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sent += len(data)
            if limit is not None and sent > limit:
                break
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
