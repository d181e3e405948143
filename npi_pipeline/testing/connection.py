"""One client's connection to the emulated registry: HTTP/1.1 on a bare transport, and the ways to break it.

Resets, truncated bodies and drips are faults of the transport and cannot be had from an ASGI server; uvicorn with a
bare application was measured to cost a fifth more CPU per request besides. Just enough HTTP is spoken for clients that
send GET and keep the connection.
Not here: what a request is answered with (``registry_server``, ``faults``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import email.utils
import functools
import http
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Protocol, cast

JSON = "application/json"
HTML = "text/html"

# A good client buffers 64 KB or so; one drip in 50 ms is slow, and is many in a test's second.
DRIP_SECONDS = 0.05
CHUNK = b'"' + b"x" * 65_535

_END_OF_HEAD = b"\r\n\r\n"


@dataclasses.dataclass(slots=True)
class Stats:
    """What has happened since the server started.

    Every request is one of: an answer (a good one), refused, a fault, bad, a followed redirect, an error of v2.1, or
    still in flight. Abandoned ones are those of which the client left before the end.
    """

    requests: int = 0
    answers: int = 0
    refused: int = 0
    faults: dict[str, int] = dataclasses.field(default_factory=dict)
    followed_redirects: int = 0
    bad_requests: int = 0
    abandoned: int = 0
    connections: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    peak_requests_in_a_second: int = 0
    bytes_written: int = 0
    npis: int = 0
    npis_by_requests: dict[int, int] = dataclasses.field(default_factory=dict)


class Receiver(Protocol):
    """What a connection hands its requests to."""

    stats: Stats
    connections: set[Connection]
    in_work: int

    def receive(self, connection: Connection, method: bytes, target: str) -> None:
        """Take one request."""


class Connection(asyncio.Protocol):
    """One client's connection: takes its requests one after the other and writes what it is told to."""

    def __init__(self, server: Receiver) -> None:
        self.server = server
        self.admitted = False
        self._transport: asyncio.Transport
        self._received = b""
        self._busy = False
        self._parsing = False
        self._timer: asyncio.Handle | None = None
        self._is_writable = True
        self._left_to_write = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio.Protocol says, like the next four."""
        self._transport = cast("asyncio.Transport", transport)
        self.server.connections.add(self)
        self.server.stats.connections += 1

    def connection_lost(self, _exc: Exception | None) -> None:  # noqa: D102
        self.server.connections.discard(self)
        if self._busy:
            self.server.stats.abandoned += 1
            self._end_of_request()
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._received += data
        if not self._busy:
            self._take_requests()

    def pause_writing(self) -> None:  # noqa: D102
        self._is_writable = False

    def resume_writing(self) -> None:  # noqa: D102
        self._is_writable = True
        self._pump()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something about the request in work after a time, unless the client is gone by then."""
        if seconds <= 0:
            action()
            return
        self._timer = asyncio.get_running_loop().call_later(seconds, action)

    def respond(self, status: int, body: bytes, *, content_type: str = JSON, headers: bytes = b"") -> None:
        """Answer the request in work, and take the next one."""
        # In one piece: two would be two packets, and two wakings of the client.
        self._transport.write(_head(status, len(body), content_type, headers) + body)
        self.server.stats.bytes_written += len(body)
        self._end_of_request()
        self._take_requests()

    def write_head(self, length: int) -> None:
        """Begin an answer with status 200 and a body of ``length`` bytes."""
        self._transport.write(_head(200, length, JSON, b""))

    def write(self, data: bytes) -> None:
        """Write a part of a body."""
        self.server.stats.bytes_written += len(data)
        self._transport.write(data)

    def drip(self) -> None:
        """Write a byte now and then, for ever."""
        self.write(b" ")
        self.later(DRIP_SECONDS, self.drip)

    def flood(self, size: int) -> None:
        """Write ``size`` bytes as fast as the client takes them."""
        self._left_to_write = size
        self._pump()

    def end(self) -> None:
        """Write out what is written, and close."""
        self._end_of_request()
        self._transport.close()

    def reset(self) -> None:
        """Close so that the client sees a reset."""
        # Lingering for no time is what makes TCP send RST; the option belongs to the socket, not to the descriptor.
        with socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._end_of_request()
        self._transport.abort()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _pump(self) -> None:
        if not self._left_to_write or not self._is_writable:
            return
        chunk = CHUNK[: self._left_to_write]
        self._left_to_write -= len(chunk)
        self.write(chunk)
        if self._left_to_write:
            # A chunk in each turn of the loop: the transport says only between turns that its buffer is full.
            self._timer = asyncio.get_running_loop().call_soon(self._pump)
            return
        self._end_of_request()
        self._take_requests()

    def _end_of_request(self) -> None:
        self._busy = False
        self.server.stats.in_flight -= 1
        if self.admitted:
            self.admitted = False
            self.server.in_work -= 1

    def _take_requests(self) -> None:
        # A loop and a flag instead of recursion: a client may pipeline any number of requests.
        if self._parsing:
            return
        self._parsing = True
        while not self._busy:
            head, end, rest = self._received.partition(_END_OF_HEAD)
            if not end:
                break
            self._received = rest
            self._busy = True
            method, _, line = head.partition(b"\r\n")[0].partition(b" ")
            self.server.receive(self, method, line.partition(b" ")[0].decode("latin-1"))
        self._parsing = False


def _head(status: int, length: int, content_type: str, headers: bytes) -> bytes:
    usual = _usual_headers(status, content_type, int(time.time()))
    return b"%bContent-Length: %d\r\n%b\r\n" % (usual, length, headers)


@functools.lru_cache(maxsize=8)
def _usual_headers(status: int, content_type: str, second: int) -> bytes:
    """The status line and what the real registry sends with every answer; the same for a second."""
    lines = (
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}",
        f"Date: {email.utils.formatdate(second, usegmt=True)}",
        f"Content-Type: {content_type}",
        "Cache-Control: no-cache, no-store, must-revalidate",
        "Strict-Transport-Security: max-age=31536000; includeSubDomains",
        "Via: 1.1 0123456789abcdef.cloudfront.net (CloudFront)",
        "X-Cache: Miss from cloudfront",
        'Alt-Svc: h3=":443"; ma=86400',
    )
    return "".join(f"{line}\r\n" for line in lines).encode()
