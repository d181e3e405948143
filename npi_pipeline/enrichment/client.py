"""One HTTP request to the registry, and what its result means: the only module that talks to the network.

A ``Client`` belongs to one worker thread and keeps one connection. It is ``requests``, with what a request does not
need taken out: the request is prepared once and only its URL changes, the environment (proxies, CA bundle) is read
once, nothing is retried or redirected below the scheduler, and cookies are not kept.

What a result means:

- 200: the registry format judges the body.
- 429, 408, 5xx, 403, redirects, other 2xx, timeouts, resets, cut or oversized bodies, names that do not resolve:
  ``failed``, passing. 403 is among them because content delivery networks and firewalls answer 403 when they
  throttle; a registry that answers 403 to everybody ends the fetch through the breaker and condemns no NPI.
- Redirects are not followed, not even on the same host: each would double the requests, and a moved registry is for
  NPI_REGISTRY_URL to say. Maintenance pages are redirects too, and pass.
- other 4xx: ``failed``, not passing.

Not here: when to ask and when to ask again (``scheduler``), how answers are judged (``formats``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import http
import logging
import socket
import ssl
import time
import urllib.parse
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import requests
import urllib3
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, urldefragauth
from urllib3.util.ssl_ import create_urllib3_context

import npi_pipeline
from npi_pipeline.enrichment.answer import Answer, Sign
from npi_pipeline.enrichment.outcomes import Outcome, Verdict
from npi_pipeline.enrichment.registry import PLACEHOLDER, Registry
from npi_pipeline.settings import FetchSettings, SettingsError

_PLACEHOLDER_IN_URL = urllib.parse.quote(PLACEHOLDER)
_REFUSING = frozenset({403, 429})
_REQUEST_LINE = '"%s %s %s"'
_MOST_PASSED_OVER = 65_536
_CLIENT_ERROR = 4
_PASSING_4XX = frozenset({403, 408, 425, 429})


@dataclasses.dataclass(frozen=True)
class Network:
    """What the environment says about reaching the registry: proxies, and whom to trust. Read once a fetch.

    The TLS context is shared by all clients: to load the bundle of authorities costs more than a hundred requests.
    """

    proxies: Mapping[str, str]
    tls: ssl.SSLContext

    @classmethod
    def from_environment(cls, registry: Registry) -> Network:
        """The network as every tool built on requests sees it (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, ...).

        Raises SettingsError when the bundle of authorities cannot be read.
        """
        # They log URLs and request lines, in which there may be a key; what went wrong becomes an answer's reason.
        for name in ("urllib3.connection", "urllib3.connectionpool"):
            logging.getLogger(name).addFilter(_is_without_url)
        with requests.Session() as session:
            found = session.merge_environment_settings(registry.url, {}, stream=None, verify=None, cert=None)
        verify = found["verify"]
        trusted = Path(verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH)
        tls = create_urllib3_context()
        try:
            tls.load_verify_locations(**{"capath" if trusted.is_dir() else "cafile": str(trusted)})
        except OSError as error:
            raise SettingsError(
                f"REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE: {trusted} cannot be read as certificates ({error})"
            ) from error
        return cls(proxies=dict(found["proxies"]), tls=tls)


class _LeanAdapter(HTTPAdapter):
    """The adapter of requests for a single registry: what is the same for every request is worked out once.

    It overrides only what requests offers for that, and keeps no cookies. Measured (benchmarks/fetch_client.py), a
    request costs a third of what it costs with a session, and no more than with urllib3 alone.
    """

    def __init__(self, request: requests.PreparedRequest, network: Network) -> None:
        self._tls = network.tls
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)
        proxies = dict(network.proxies)
        self._pool = cast("Any", super().get_connection_with_tls_context(request, verify=True, proxies=proxies))
        self._cut = str(request.url).index(super().request_url(request, proxies))
        self._make_connection = self._pool.ConnectionCls
        self._pool.ConnectionCls = self._new_connection
        self.sock: socket.socket | None = None
        self.connection: Any = None

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Every connection trusts whom the network trusts."""
        super().init_poolmanager(*arguments, ssl_context=self._tls, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """The same by way of a proxy."""
        return super().proxy_manager_for(proxy, ssl_context=self._tls, **options)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        """The one pool, of one connection."""
        return self._pool

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Nothing more: the TLS context requires a certificate of this host by an authority that it knows."""

    def request_url(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> str:
        """What stands in the request line: the path, or all of the URL for a proxy."""
        return str(request.url)[self._cut :]

    def build_response(self, _: requests.PreparedRequest, raw: Any) -> requests.Response:
        """The response with what the client looks at."""
        response = requests.Response()
        response.status_code = raw.status
        response.headers = raw.headers
        response.raw = raw
        return response

    def _new_connection(self, *arguments: Any, **options: Any) -> Any:
        """A connection that is remembered with its socket, so that another thread can break it off."""
        connection = self._make_connection(*arguments, **options)
        connect = connection.connect

        def connect_and_remember() -> None:
            connect()
            self.sock = connection.sock

        connection.connect = connect_and_remember
        self.connection = connection
        return connection


class Client:
    """One worker's connection to the registry. Only ``abort`` may be called from another thread."""

    def __init__(self, registry: Registry, settings: FetchSettings, network: Network) -> None:
        self._judge = registry.format.judge
        self._body_limit = settings.max_body_bytes
        self._timeout = urllib3.Timeout(connect=settings.connect_timeout, read=settings.read_timeout)
        self._request = _prepared(registry)
        self._url = str(self._request.url)
        self._adapter = _LeanAdapter(self._request, network)
        self._is_aborted = False

    def ask(self, npi: str) -> Answer:
        """Ask the registry about one NPI. Never raises for what a network or a registry can do."""
        self._is_aborted = False
        started = time.monotonic()
        try:
            answer = self._ask(npi)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError, zlib.error) as error:
            self._close_connection()
            answer = _trouble(_reason_of(error))
        if self._is_aborted:
            # Whatever was read, it may be cut short in a way that looks whole.
            self._close_connection()
            answer = _trouble("the answer took longer than a request may take")
        return dataclasses.replace(answer, seconds=time.monotonic() - started)

    def abort(self) -> None:
        """Break off the request in flight, from another thread; ``ask`` then returns a passing failure."""
        self._is_aborted = True
        if self._adapter.sock is not None:
            with contextlib.suppress(OSError):
                self._adapter.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._adapter.close()

    def _ask(self, npi: str) -> Answer:
        self._request.url = self._url.replace(_PLACEHOLDER_IN_URL, urllib.parse.quote(npi, safe=""))
        response = self._adapter.send(
            self._request,
            stream=True,
            timeout=self._timeout,  # type: ignore[arg-type]
        )
        if response.status_code != http.HTTPStatus.OK:
            self._pass_over_body(response)
            return _not_ok(response)
        body = self._body_of(response)
        if body is None:
            self._close_connection()
            return _trouble("the answer is larger than NPI_MAX_BODY_BYTES", http.HTTPStatus.OK)
        return self._judged(npi, body)

    def _judged(self, npi: str, body: bytes) -> Answer:
        verdict = self._judge(npi, body)
        if verdict.outcome is Outcome.failed:
            return Answer(verdict, Sign.trouble, http.HTTPStatus.OK)
        try:
            return Answer(verdict, Sign.good, http.HTTPStatus.OK, body.decode())
        except UnicodeDecodeError:
            return _trouble("the answer is not UTF-8", http.HTTPStatus.OK)

    def _body_of(self, response: requests.Response) -> bytes | None:
        """The body, decompressed; None when it is larger than allowed."""
        limit = self._body_limit
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        data = _read(response, limit + 1)
        if len(data) > limit:
            return None
        if encoding in {"gzip", "x-gzip"}:
            # By hand, because not every urllib3 in use bounds what a small answer may swell to.
            decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            data = decompressor.decompress(data, limit + 1)
            if not decompressor.eof and len(data) <= limit:
                raise urllib3.exceptions.DecodeError(encoding)
        elif encoding not in {"identity", ""}:
            raise urllib3.exceptions.DecodeError(encoding)
        return data if len(data) <= limit else None

    def _pass_over_body(self, response: requests.Response) -> None:
        """Read what nobody looks at, so that the connection can be kept; a status counts without its body too."""
        try:
            is_whole = len(_read(response, _MOST_PASSED_OVER)) < _MOST_PASSED_OVER
        except (urllib3.exceptions.HTTPError, OSError):
            is_whole = False
        if not is_whole:
            self._close_connection()

    def _close_connection(self) -> None:
        if self._adapter.connection is not None:
            self._adapter.connection.close()


def _read(response: requests.Response, most: int) -> bytes:
    """The body as it is on the wire, to its end or up to ``most`` bytes. Raises when it is cut short."""
    parts: list[bytes] = []
    # Not only as much as is there: only the end shows that an answer was cut short.
    while most and (part := response.raw.read(most, decode_content=False)):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def _is_without_url(record: logging.LogRecord) -> bool:
    return "url" not in str(record.msg) and _REQUEST_LINE not in str(record.msg)


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


def _not_ok(response: requests.Response) -> Answer:
    status = response.status_code
    reason = f"HTTP {status} {_phrase(status)}".rstrip()
    if response.is_redirect:
        target = urllib.parse.urlsplit(response.headers["Location"]).netloc.rpartition("@")[2]
        reason += f", a redirect to {target or 'the same host'}, not followed"
    is_client_error = status // 100 == _CLIENT_ERROR
    passing = not is_client_error or status in _PASSING_4XX
    retry_after = _seconds_of(response.headers.get("Retry-After"), response.headers.get("Date"))
    # A 503 without a word of when to come back may be any failure.
    is_refusal = status in _REFUSING or (status == http.HTTPStatus.SERVICE_UNAVAILABLE and retry_after is not None)
    return Answer(
        Verdict(Outcome.failed, reason, passing=passing),
        Sign.refused if is_refusal else Sign.trouble,
        status,
        retry_after=retry_after,
    )


def _trouble(reason: str, status: int | None = None) -> Answer:
    return Answer(Verdict(Outcome.failed, reason, passing=True), Sign.trouble, status)


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
    (urllib3.exceptions.IncompleteRead, "the answer was cut short"),
    (urllib3.exceptions.DecodeError, "the answer cannot be decompressed"),
    (zlib.error, "the answer cannot be decompressed"),
    (TimeoutError, "reading timed out"),
    (ConnectionError, "the connection was reset"),
)


def _reason_of(error: BaseException) -> str:
    chain = list(_chain(error))
    for kind, reason in _REASONS:
        if any(isinstance(link, kind) for link in chain):
            return reason
    return "the connection broke or the answer is not HTTP"


def _chain(error: BaseException | None, depth: int = 8) -> Iterator[BaseException]:
    """An exception, what it wraps and what caused it."""
    if error is None or depth == 0:
        return
    yield error
    for link in (*error.args, getattr(error, "reason", None), error.__cause__ or error.__context__):
        if isinstance(link, BaseException):
            yield from _chain(link, depth - 1)
