"""One kept connection to the registry: sends a request, and once more when the connection turned out to be stale.

It is the adapter of requests with what a request does not need taken out: what is the same for every request is worked
out once, nothing is retried or redirected, and cookies are not kept. Measured (benchmarks/fetch_client.py), a request
costs a third of what it costs with a session, and no more than with urllib3 alone.

A kept connection may be closed by its peer at any time, also while the next request is on its way. What was closed
before is noticed (by urllib3, which looks whether there is something to read). What is closed meanwhile shows as a
connection that had been used before and ends before the first byte of an answer: then the request, a GET, is sent again
at once on a new connection. That is how browsers, curl and Go do it. A fresh connection that ends so is a failure.
Where a cap on requests per second is set, it waits for its turn first (``rate_limiter``).

Not here: what an answer means (``client``), proxies and certificates (``network``).
"""

from __future__ import annotations

import contextlib
import functools
import http
import http.client
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import requests
import urllib3
from requests.adapters import HTTPAdapter

from npi_pipeline.http_fetch.network import Network

# A firewall on the way forgets a connection without a word after some minutes, and then a request is lost in silence.
_MAX_IDLE_SECONDS = 60.0
_INTERIM = 1


class Connection(HTTPAdapter):
    """One connection that is kept. Only ``abort`` may be called from another thread.

    It overrides only what requests and http.client offer for that.
    """

    def __init__(
        self,
        request: requests.PreparedRequest,
        network: Network,
        timeout: urllib3.Timeout,
        seconds_to_send_again: Callable[[], float],
    ) -> None:
        self._aborted = threading.Event()
        self._seconds_to_send_again = seconds_to_send_again
        self._request = request
        self._tls = network.tls
        self._timeout = timeout
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)
        proxies = {"all": network.proxy} if network.proxy else {}
        self._pool = cast("Any", super().get_connection_with_tls_context(request, verify=True, proxies=proxies))
        self._cut = str(request.url).index(super().request_url(request, proxies))
        self._make_connection = self._pool.ConnectionCls
        self._pool.ConnectionCls = self._new_connection
        self._connection: Any = None
        self._socket: Any = None
        self._used_at = time.monotonic()
        self._is_fresh = True
        self._has_answer_begun = False

    @property
    def is_aborted(self) -> bool:
        """Whether the request in flight, or the last one, was broken off."""
        return self._aborted.is_set()

    def get(self, url: str) -> urllib3.BaseHTTPResponse:
        """The answer to a GET of ``url``, its body still to be read. Raises what requests, urllib3, sockets raise."""
        self._aborted.clear()
        self._request.url = url
        if time.monotonic() > self._used_at + _MAX_IDLE_SECONDS:
            self.drop()
        try:
            return self._send()
        except requests.Timeout:
            raise
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            if self._is_fresh or self._has_answer_begun or self.is_aborted:
                raise
        if self._aborted.wait(self._seconds_to_send_again()):
            raise ConnectionAbortedError
        return self._send()

    def abort(self) -> None:
        """Break off the request in flight, from another thread, until the next ``get``."""
        self._aborted.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Close the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()

    def _send(self) -> urllib3.BaseHTTPResponse:
        self._is_fresh = self._has_answer_begun = False
        try:
            return self.send(self._request, timeout=self._timeout)  # type: ignore[arg-type, return-value]
        finally:
            self._used_at = time.monotonic()

    def _new_connection(self, *arguments: Any, **options: Any) -> Any:
        """A connection as urllib3 makes it, of which is known when it is fresh, and when an answer begins."""
        connection = self._make_connection(*arguments, **options)
        connect = connection.connect

        def connect_and_remember() -> None:
            self._is_fresh = True
            connect()
            # Within TLS to a proxy, the TLS to the registry has no shutdown of its own.
            self._socket = getattr(connection.sock, "socket", connection.sock)
            if self.is_aborted:
                raise ConnectionAbortedError

        connection.connect = connect_and_remember
        connection.response_class = functools.partial(_Answer, self._answer_begins)
        self._connection = connection
        return connection

    def _answer_begins(self) -> None:
        self._has_answer_begun = True

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Every connection trusts whom the network trusts."""
        super().init_poolmanager(*arguments, ssl_context=self._tls, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """The same by way of a proxy, and of the proxy itself."""
        if proxy.lower().startswith("https"):
            options["proxy_ssl_context"] = self._tls
        return super().proxy_manager_for(proxy, ssl_context=self._tls, **options)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        """The one pool, of one connection."""
        return self._pool

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Nothing more: the TLS context requires a certificate of this host by an authority that it knows."""

    def request_url(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> str:
        """What stands in the request line: the path, or all of the URL for a proxy."""
        return str(request.url)[self._cut :]

    def build_response(self, _: requests.PreparedRequest, response: Any) -> Any:
        """The response as urllib3 gives it: to make one of requests out of it costs more than to look at it."""
        return response


class _Answer(http.client.HTTPResponse):
    """An answer as ``http.client`` reads it, which tells when its first byte is there and passes over interim ones."""

    def __init__(self, on_first_byte: Callable[[], None], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._on_first_byte = on_first_byte

    def begin(self) -> None:
        """Read the head. Of the interim answers, ``http.client`` itself passes over 100 only."""
        if self.fp.peek(1):
            self._on_first_byte()
        super().begin()
        while self.status // 100 == _INTERIM:
            if self.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.UnknownProtocol("nobody asked for another")
            self.headers = None  # type: ignore[assignment] # as before the first
            super().begin()
