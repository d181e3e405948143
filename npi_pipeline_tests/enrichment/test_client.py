"""One request, against servers that answer byte for byte what a test says."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import gzip
import logging
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import npi_pipeline
from npi_pipeline.demo.providers import answer as answer_about
from npi_pipeline.demo.providers import npi_numbers, outcome_of
from npi_pipeline.demo.registry import EmulatedRegistry
from npi_pipeline.enrichment.answer import Answer, Sign
from npi_pipeline.enrichment.client import Client, Network
from npi_pipeline.enrichment.formats import FORMATS
from npi_pipeline.enrichment.outcomes import Outcome
from npi_pipeline.enrichment.registry import Registry
from npi_pipeline.settings import FetchSettings, SettingsError

NPI = next(npi for npi in npi_numbers(100) if outcome_of(npi) is Outcome.found)
BODY = answer_about(NPI)


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


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def start(play: Play) -> ScriptedServer:
            server = ScriptedServer(play)
            stack.callback(server.close)
            return server

        yield start


def always(response: bytes) -> Play:
    def play(server: ScriptedServer, connection: socket.socket) -> None:
        while server.read_head(connection):
            connection.sendall(response)

    return play


def http(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def client_of(url: str, **settings: float) -> Client:
    registry = Registry(FORMATS["nppes"], url)
    return Client(registry, FetchSettings.model_validate(settings), Network.from_environment(registry))


def ask(port: int, **settings: float) -> Answer:
    with contextlib.closing(client_of(f"http://127.0.0.1:{port}/api/?number={{npi}}", **settings)) as client:
        return client.ask(NPI)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context for 127.0.0.1, and the file of its certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("makes a certificate with openssl")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    names = ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1"]
    making = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*making, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def securely(context: ssl.SSLContext, play: Play) -> Play:
    def play_securely(server: ScriptedServer, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            play(server, secure)

    return play_securely


def test_a_good_answer_is_kept_as_it_came_and_the_connection_is_reused(registry: EmulatedRegistry) -> None:
    with contextlib.closing(client_of(registry.url)) as client:
        answers = [client.ask(npi) for npi in npi_numbers(50)]

    assert [answer.verdict.outcome for answer in answers] == [outcome_of(npi) for npi in npi_numbers(50)]
    assert [answer.body for answer in answers] == [answer_about(npi).decode() for npi in npi_numbers(50)]
    assert {answer.sign for answer in answers} == {Sign.good}
    assert registry.stats().connections == 1


def test_the_request_says_who_asks_and_sends_no_more_than_is_needed(serve: Serve) -> None:
    server = serve(always(http("200 OK", body=BODY)))

    assert ask(server.port).verdict.outcome is Outcome.found
    request, *headers = server.heads[0].decode().rstrip().split("\r\n")
    assert request == f"GET /api/?number={NPI} HTTP/1.1"
    assert dict(header.split(": ", 1) for header in headers) == {
        "Host": f"127.0.0.1:{server.port}",
        "User-Agent": f"npi-pipeline/{npi_pipeline.__version__}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
    }


@pytest.mark.parametrize("name", ["gzip", "x-gzip"])
def test_a_compressed_answer_is_decompressed(serve: Serve, name: str) -> None:
    server = serve(always(http("200 OK", f"Content-Encoding: {name}", body=gzip.compress(BODY))))

    assert ask(server.port).body == BODY.decode()


def test_a_chunked_answer_and_one_that_ends_with_the_connection_are_read_whole(serve: Serve) -> None:
    half = len(BODY) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:half], BODY[half:]))
    chunked = serve(always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"))

    def until_close(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + BODY)

    assert ask(chunked.port).body == BODY.decode()
    assert ask(serve(until_close).port).body == BODY.decode()


@pytest.mark.parametrize(
    ("response", "reason", "passing", "sign"),
    [
        (http("400 Bad Request"), "HTTP 400 Bad Request", False, Sign.trouble),
        (http("404 Nothing here"), "HTTP 404 Not Found", False, Sign.trouble),
        (http("403 Forbidden", body=b"<html>"), "HTTP 403 Forbidden", True, Sign.refused),
        (http("408 Request Timeout"), "HTTP 408 Request Timeout", True, Sign.trouble),
        (http("429 Too Many Requests"), "HTTP 429 Too Many Requests", True, Sign.refused),
        (http("500 Oops"), "HTTP 500 Internal Server Error", True, Sign.trouble),
        (http("503 Busy"), "HTTP 503 Service Unavailable", True, Sign.trouble),
        (http("503 Busy", "Retry-After: 0"), "HTTP 503 Service Unavailable", True, Sign.refused),
        (http("599 Odd"), "HTTP 599", True, Sign.trouble),
        (http("204 No Content"), "HTTP 204 No Content", True, Sign.trouble),
        (http("200 OK", body=b"<html>"), "the answer is no JSON", True, Sign.trouble),
        (http("200 OK", body=b""), "the answer is no JSON", True, Sign.trouble),
        (
            http("200 OK", "Content-Encoding: br", body=b"?"),
            "the answer cannot be decompressed",
            True,
            Sign.trouble,
        ),
        (
            http("200 OK", "Content-Encoding: gzip", body=b"?"),
            "the answer cannot be decompressed",
            True,
            Sign.trouble,
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the connection broke or the answer is not HTTP", True, Sign.trouble),
    ],
)
def test_a_bad_answer_is_a_failure_with_one_reason(
    serve: Serve, response: bytes, reason: str, passing: bool, sign: Sign
) -> None:
    answer = ask(serve(always(response)).port)

    assert (answer.verdict.outcome, answer.verdict.reason) == (Outcome.failed, reason)
    assert answer.verdict.passing is passing
    assert answer.sign is sign
    assert answer.body is None


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
def test_redirects_are_not_followed(serve: Serve, status: str) -> None:
    elsewhere = serve(always(http("200 OK", body=BODY)))
    location = f"http://user:secret@127.0.0.1:{elsewhere.port}/?key=secret"
    answer = ask(serve(always(http(status, f"Location: {location}"))).port)

    assert elsewhere.connections == 0
    assert answer.verdict.passing
    assert answer.verdict.reason == f"HTTP {status}, a redirect to 127.0.0.1:{elsewhere.port}, not followed"


@pytest.mark.parametrize("compressed", [False, True])
def test_a_body_over_the_limit_is_not_read(serve: Serve, compressed: bool) -> None:
    huge = b" " * 50_000_000
    headers = ["Content-Encoding: gzip"] if compressed else []
    server = serve(always(http("200 OK", *headers, body=gzip.compress(huge, 1) if compressed else huge)))
    answer = ask(server.port, max_body_bytes=1_000_000)

    assert answer.verdict.reason == "the answer is larger than NPI_MAX_BODY_BYTES"
    assert answer.verdict.passing


def test_an_endless_body_without_a_length_is_cut_off_at_the_limit(serve: Serve) -> None:
    def endless(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.is_closed.is_set():
            connection.sendall(b" " * 65536)

    answer = ask(serve(endless).port, max_body_bytes=1_000_000)
    assert answer.verdict.reason == "the answer is larger than NPI_MAX_BODY_BYTES"


def test_no_key_in_the_url_reaches_the_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(always(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 2\r\n\r\n{}"))
    with contextlib.closing(
        client_of(f"http://127.0.0.1:{server.port}/{{npi}}?key=secret", read_timeout=0.2)
    ) as client:
        assert client.ask(NPI).verdict.outcome is Outcome.failed
    assert "secret" not in caplog.text


def test_no_key_in_the_url_reaches_the_log_at_debug_and_what_else_is_logged_does(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(always(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
    with contextlib.closing(client_of(f"http://127.0.0.1:{server.port}/secret/{{npi}}?key=secret")) as client:
        assert client.ask(NPI).status == 404
    assert "Starting new HTTP connection" in caplog.text
    assert "secret" not in caplog.text


def test_silence_times_out(serve: Serve) -> None:
    def silence(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        server.is_closed.wait()

    answer = ask(serve(silence).port, read_timeout=0.05)
    assert (answer.verdict.reason, answer.verdict.passing) == ("reading timed out", True)


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
    ],
    ids=["in the head", "in the body", "until the connection closes", "in a chunk"],
)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_drip_can_be_broken_off_from_another_thread(
    serve: Serve, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch, begun: bytes, secure: bool
) -> None:
    client: Client

    def drip(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        connection.sendall(begun)
        while not server.is_closed.wait(0.01):
            connection.sendall(b"x")
            client.abort()

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[1]))
    server = serve(securely(tls[0], drip) if secure else drip)
    url = f"http{'s' * secure}://127.0.0.1:{server.port}/{{npi}}"
    with contextlib.closing(client_of(url)) as client:
        answer = client.ask(NPI)
    assert answer.verdict.reason == "the answer took longer than a request may take"
    assert answer.verdict.passing


def test_a_broken_connection_is_replaced_for_the_next_request(serve: Serve) -> None:
    def break_the_first(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        if server.connections == 1:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
        else:
            connection.sendall(http("200 OK", body=BODY))

    server = serve(break_the_first)
    with contextlib.closing(client_of(f"http://127.0.0.1:{server.port}/{{npi}}")) as client:
        first, second = client.ask(NPI), client.ask(NPI)
    assert (first.verdict.reason, first.verdict.passing) == ("the answer was cut short", True)
    assert second.verdict.outcome is Outcome.found


def test_a_closed_port_and_an_unknown_name_are_passing_failures() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert ask(port).verdict.reason == "no connection to the registry"

    answer = client_of("http://no-such-host.invalid/{npi}").ask(NPI)
    assert answer.verdict.reason == "the registry's host name does not resolve"
    assert answer.verdict.passing


def retry_after_of(serve: Serve, *headers: str) -> float | None:
    return ask(serve(always(http("429 Too Many Requests", *headers))).port).retry_after


def test_retry_after_is_understood_as_seconds_and_as_a_date(serve: Serve) -> None:
    an_hour_ago = dt.datetime.now(dt.timezone.utc) - dt.timedelta(hours=1)
    its_clock = email.utils.format_datetime(an_hour_ago, usegmt=True)
    in_a_minute = email.utils.format_datetime(an_hour_ago + dt.timedelta(seconds=60), usegmt=True)

    assert retry_after_of(serve) is None
    assert retry_after_of(serve, "Retry-After: 120") == 120
    # A registry whose clock is an hour behind means a minute all the same.
    assert retry_after_of(serve, f"Date: {its_clock}", f"Retry-After: {in_a_minute}") == 60
    assert retry_after_of(serve, f"Retry-After: {in_a_minute}") == 0
    for nonsense in ("soon", "-5", "1e9", "Mon, 99 Foo 2026"):
        assert retry_after_of(serve, f"Retry-After: {nonsense}") is None


def test_proxies_come_from_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(always(http("200 OK", body=BODY)))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    url = "http://user:secret@registry.example/api/?number={npi}"

    assert client_of(url).ask(NPI).verdict.outcome is Outcome.found
    head = proxy.heads[0].decode()
    assert head.startswith(f"GET http://registry.example/api/?number={NPI} HTTP/1.1\r\n")
    assert "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n" in head


def test_tls_certificates_are_verified(
    serve: Serve, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://127.0.0.1:{serve(securely(tls[0], always(http('200 OK', body=BODY)))).port}/{{npi}}"
    answer = client_of(url).ask(NPI)
    assert answer.verdict.passing
    assert answer.verdict.reason == "TLS: the registry's certificate is not accepted or the handshake failed"

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[1]))
    assert client_of(url).ask(NPI).verdict.outcome is Outcome.found
    # The certificate is of 127.0.0.1 only.
    answer = client_of(url.replace("127.0.0.1", "localhost")).ask(NPI)
    assert answer.verdict.reason == "TLS: the registry's certificate is not accepted or the handshake failed"


def test_a_bundle_of_authorities_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    with pytest.raises(SettingsError, match="CURL_CA_BUNDLE: /no/such/bundle"):
        client_of("https://127.0.0.1:9/{npi}")


def test_a_status_counts_though_its_body_is_cut_short(serve: Serve) -> None:
    def cut_short(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        connection.sendall(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 99\r\n\r\n{")

    answer = ask(serve(cut_short).port)
    assert (answer.verdict.reason, answer.retry_after) == ("HTTP 429 Too Many Requests", 3)
