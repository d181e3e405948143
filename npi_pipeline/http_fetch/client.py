"""One HTTP request to the registry, and what its result means.

A ``Client`` belongs to one worker thread and keeps one connection.

What a result means:

- 200, and 203 from a proxy that changed it: the registry format judges the body.
- 429, 408, 5xx, 403, 407, redirects, other 2xx, timeouts, resets, cut, oversized or undecodable bodies, names that do
  not resolve: ``failed``, retryable. 403 is among them because content delivery networks and firewalls answer 403 when
  they throttle, 407 because it is a proxy's; who answers so to everybody ends the fetch through the breaker and
  condemns no NPI.
- Redirects are not followed, not even on the same host: each would double the requests, and a moved registry is for
  NPI_REGISTRY_URL to say. Maintenance pages are redirects too, and pass.
- other 4xx: ``failed``, not retryable.

Not here: when to ask and when to ask again (``scheduler``), how requests are sent (``connection``), how answers are
judged (``registries``).
"""

from __future__ import annotations

import dataclasses
import email.utils
import functools
import http
import http.client
import re
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator

import requests
import urllib3
import urllib3.exceptions
from requests.utils import urldefragauth

import npi_pipeline
from npi_pipeline.http_fetch.answer import Answer, Signal
from npi_pipeline.http_fetch.body_memory import BodyMemory, BodyShare
from npi_pipeline.http_fetch.connection import Connection
from npi_pipeline.http_fetch.content_coding import TOO_LARGE, TOO_MANY_CODINGS, BodyError, decoded
from npi_pipeline.http_fetch.network import Network
from npi_pipeline.outcomes import Outcome, Verdict
from npi_pipeline.registries.bodies import text_of
from npi_pipeline.registries.registry import PLACEHOLDER, Registry
from npi_pipeline.settings import FetchSettings

_PLACEHOLDER_IN_URL = urllib.parse.quote(PLACEHOLDER)
_REFUSING = frozenset({403, 429})
_PIECE_BYTES = _MAX_SKIPPED = 64 << 10
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})\b")
_CLIENT_ERROR = 4
_RETRYABLE_4XX = frozenset({403, 407, 408, 425, 429})
_ANSWERING = frozenset({200, 203})


class Client:
    """One worker's connection to the registry. Only ``abort`` may be called from another thread.

    ``seconds_to_send_again``: asked before a request is sent again because its connection was stale.
    """

    def __init__(
        self,
        registry: Registry,
        settings: FetchSettings,
        network: Network,
        seconds_to_send_again: Callable[[], float] = float,
    ) -> None:
        self._judge = registry.format.judge
        self._body_limit = settings.max_body_bytes
        request = _prepared(registry)
        self._url = str(request.url)
        timeout = urllib3.Timeout(connect=settings.connect_timeout, read=settings.read_timeout)
        self._connection = Connection(request, network, timeout, seconds_to_send_again)

    def ask(self, npi: str, share: BodyShare | None = None) -> Answer:
        """Ask the registry about one NPI. Never raises for what a network or a registry can do.

        ``share`` counts the answer's body, and is to be let go by whoever has had it.
        """
        share = share or BodyShare(BodyMemory())
        started = time.monotonic()
        status = None
        try:
            response = self._connection.get(self._url.replace(_PLACEHOLDER_IN_URL, urllib.parse.quote(npi, safe="")))
            status = response.status
            answer = self._answer_of(npi, response, share)
        except BodyError as error:
            answer = _failed_answer(str(error), status)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            self._connection.drop()
            answer = _failed_answer(_reason_of(error), status)
        if self._connection.is_aborted:
            # Whatever was read, it may be cut short in a way that looks whole.
            self._connection.drop()
            answer = _failed_answer("the answer took longer than a request may take")
        share.shrink(sys.getsizeof(answer.body))
        return dataclasses.replace(answer, seconds=time.monotonic() - started)

    def abort(self) -> None:
        """Break off the request in flight, from another thread; ``ask`` then returns a retryable failure."""
        self._connection.abort()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _answer_of(self, npi: str, response: urllib3.BaseHTTPResponse, share: BodyShare) -> Answer:
        if response.status not in _ANSWERING:
            self._pass_over_body(response)
            return _not_ok(response)
        body = self._body_of(response, functools.partial(share.take, is_aborted=self._is_aborted))
        with share.parsing():
            text = _text_of(body, response)
            verdict = self._judge(npi, text.encode())
        if verdict.outcome is Outcome.failed:
            return Answer(verdict, Signal.error, response.status)
        return Answer(verdict, Signal.good, response.status, text)

    def _is_aborted(self) -> bool:
        return self._connection.is_aborted

    def _body_of(self, response: urllib3.BaseHTTPResponse, take: Callable[[int], None]) -> bytes | bytearray:
        """The body of an answer, decompressed. Raises BodyError when there is none, or too much."""
        body = _read(response, self._body_limit + 1, take)
        if len(body) > self._body_limit:
            self._connection.drop()
            raise BodyError(TOO_LARGE)
        return decoded(body, response.headers.get("Content-Encoding", ""), self._body_limit, take)

    def _pass_over_body(self, response: urllib3.BaseHTTPResponse) -> None:
        """Read what nobody looks at, so that the connection can be kept; a status counts without its body too."""
        try:
            is_whole = len(_read(response, _MAX_SKIPPED)) < _MAX_SKIPPED
        except (urllib3.exceptions.HTTPError, OSError):
            is_whole = False
        if not is_whole:
            self._connection.drop()


def _read(response: urllib3.BaseHTTPResponse, most: int, take: Callable[[int], None] = lambda _: None) -> bytearray:
    """The body as it is on the wire, to its end or up to ``most`` bytes. Raises when it is cut short."""
    body = bytearray()
    # Not only as much as is there: only the end shows that an answer was cut short.
    while len(body) < most and (piece := response.read(min(most - len(body), _PIECE_BYTES), decode_content=False)):
        body += piece
        take(len(piece))
    return body


def _text_of(body: bytes | bytearray, response: urllib3.BaseHTTPResponse) -> str:
    try:
        return text_of(body, response.headers.get("Content-Type", ""))
    except UnicodeDecodeError as error:
        raise BodyError("the answer is not UTF-8") from error


def _prepared(registry: Registry) -> requests.PreparedRequest:
    headers = {
        "User-Agent": f"npi-pipeline/{npi_pipeline.__version__}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
    }
    # Braces do not survive the preparation of a URL: they come out as the quoted placeholder.
    request = requests.Request("GET", registry.url, headers=headers).prepare()
    # A name and password in the URL are a header by now.
    request.url = urldefragauth(str(request.url))
    return request


def _not_ok(response: urllib3.BaseHTTPResponse) -> Answer:
    status = response.status
    reason = f"HTTP {status} {_phrase(status)}".rstrip()
    if location := response.get_redirect_location():
        reason += f", a redirect to {_host_of(location)}, not followed"
    is_client_error = status // 100 == _CLIENT_ERROR
    retryable = not is_client_error or status in _RETRYABLE_4XX
    retry_after = _seconds_of(response.headers.get("Retry-After"), response.headers.get("Date"))
    # A 503 without a word of when to come back may be any failure.
    is_refusal = status in _REFUSING or (status == http.HTTPStatus.SERVICE_UNAVAILABLE and retry_after is not None)
    return Answer(
        Verdict(Outcome.failed, reason, retryable=retryable),
        Signal.throttled if is_refusal else Signal.error,
        status,
        retry_after=retry_after,
    )


def _host_of(location: str) -> str:
    """Where a redirect leads, for a reason: the rest of the URL may hold a key."""
    try:
        return urllib.parse.urlsplit(location).netloc.rpartition("@")[2] or "the same host"
    except ValueError:
        return "what is no URL"


def _failed_answer(reason: str, status: int | None = None) -> Answer:
    return Answer(Verdict(Outcome.failed, reason, retryable=True), Signal.error, status)


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


def _seconds_of(retry_after: str | None, date: str | None) -> float | None:
    """``Retry-After`` in seconds from now, whether it came as seconds or as a date; None when it says nothing."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    until = _timestamp(text)
    if until is None:
        return None
    # Counted from the registry's own clock, where it tells it.
    now = _timestamp(date or "")
    return max(0.0, until - (time.time() if now is None else now))


def _timestamp(date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


# From the most specific: the first that is found anywhere in an exception's chain of causes names the reason.
_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (urllib3.exceptions.NameResolutionError, "the registry's host name does not resolve"),
    (urllib3.exceptions.ProxyError, "the proxy cannot be used"),
    (urllib3.exceptions.SSLError, "TLS: the registry's certificate is not accepted or the handshake failed"),
    (urllib3.exceptions.NewConnectionError, "no connection to the registry"),
    (urllib3.exceptions.ConnectTimeoutError, "connecting timed out"),
    (urllib3.exceptions.ReadTimeoutError, "reading timed out"),
    (http.client.IncompleteRead, "the answer was cut short"),
    (TimeoutError, "reading timed out"),
    (http.client.RemoteDisconnected, "the connection was closed without an answer"),
    (ConnectionError, "the connection was reset"),
    (http.client.BadStatusLine, "the answer is not HTTP/1.1"),
    (http.client.UnknownProtocol, "the answer is not HTTP/1.1"),
    (http.client.HTTPException, "the head of the answer cannot be read"),
    (urllib3.exceptions.DecodeError, TOO_MANY_CODINGS),
    (urllib3.exceptions.InvalidHeader, "the head of the answer cannot be read"),
)


def _reason_of(error: BaseException) -> str:
    chain = list(_chain(error))
    for link in chain:
        if refused := _TUNNEL_REFUSED.match(str(link)):
            return f"the proxy refuses to connect: HTTP {refused[1]} {_phrase(int(refused[1]))}".rstrip()
        if type(link).__module__ == "socks":
            return "the SOCKS proxy cannot be used or does not reach the registry"
    for kind, reason in _REASONS:
        if any(isinstance(link, kind) for link in chain):
            return reason
    return "the connection broke"


def _chain(error: BaseException | None, depth: int = 8) -> Iterator[BaseException]:
    """An exception, what it wraps and what caused it."""
    if error is None or depth == 0:
        return
    yield error
    for link in (*error.args, getattr(error, "reason", None), error.__cause__ or error.__context__):
        if isinstance(link, BaseException):
            yield from _chain(link, depth - 1)
