"""One request, against servers that answer byte for byte what a test says."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import gzip
import logging
import socket
import ssl
from pathlib import Path

import pytest

import npi_pipeline
from npi_pipeline.http_fetch.answer import Signal
from npi_pipeline.http_fetch.client import Client
from npi_pipeline.outcomes import Outcome
from npi_pipeline.testing.providers import answer as answer_about
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline_tests.http_fetch.asking import BODY, NPI, ask, client_of
from npi_pipeline_tests.scripted_server import ScriptedServer, Serve, always, http, securely


def test_a_good_answer_is_kept_as_it_came_and_the_connection_is_reused(registry: EmulatedRegistry) -> None:
    with contextlib.closing(client_of(registry.url)) as client:
        answers = [client.ask(npi) for npi in npi_numbers(50)]

    assert [answer.verdict.outcome for answer in answers] == [outcome_of(npi) for npi in npi_numbers(50)]
    assert [answer.body for answer in answers] == [answer_about(npi).decode() for npi in npi_numbers(50)]
    assert {answer.signal for answer in answers} == {Signal.good}
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


def chunked(*parts: bytes, extension: bytes = b"") -> bytes:
    return b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)


HALVES = (BODY[:100], BODY[100:])
LENGTH = f"Content-Length: {len(BODY)}\r\n".encode()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
GOOD_ANSWERS = {
    "chunked": CHUNKED + b"\r\n" + chunked(*HALVES) + b"0\r\n\r\n",
    "chunked with extensions and trailers": CHUNKED.replace(b"chunked", b"Chunked")
    + b"Trailer: X-A, X-B\r\n\r\n"
    + chunked(*HALVES, extension=b' ;name="value"')
    + b"0\r\nX-A: 1\r\nX-B: 2\r\n\r\n",
    # Forbidden, but what counts is known.
    "chunked with a length": CHUNKED + b"Content-Length: 3\r\n\r\n" + chunked(BODY) + b"0\r\n\r\n",
    "closed": b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + LENGTH + b"\r\n" + BODY,
    "closed, without a length": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nConnection: close\r\n" + LENGTH + b"\r\n" + BODY,
    "HTTP/1.0, kept": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + LENGTH + b"\r\n" + BODY,
    "the length twice": b"HTTP/1.1 200 OK\r\n" + 2 * LENGTH + b"\r\n" + BODY,
    "lines that end in LF": b"HTTP/1.1 200 OK\n" + LENGTH.lower() + b"\n" + BODY,
    "an empty phrase": b"HTTP/1.1 200 \r\n" + LENGTH + b"\r\n" + BODY,
    "no phrase": b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n" + BODY,
    "an odd phrase": b"HTTP/1.1 200 Tr\xc3\xa8s \xff bien: \x07\r\n" + LENGTH + b"\r\n" + BODY,
    "203": http("203 Non-Authoritative Information", body=BODY),
    "empty headers": http("200 OK", "Content-Type:", "Content-Encoding:", "X-Empty:", body=BODY),
    "many headers": http("200 OK", "X-Folded: a\r\n b", *(f"X-{n}: {'é' * 250}" for n in range(90)), body=BODY),
    "cookies": http("200 OK", "Set-Cookie: a=b", "Set-Cookie: c=d; Secure", body=BODY),
    "an unknown charset": http("200 OK", "Content-Type: text/html; charset=no-such", body=BODY),
    "blanks after the JSON": http("200 OK", body=BODY + b"\r\n \t"),
    "a line after the body": http("200 OK", body=BODY) + b"\r\n",
    "garbage after the body": http("200 OK", body=BODY) + b"<!-- garbage -->" * 1000,
    "another answer after the body": http("200 OK", body=BODY) + http("200 OK", body=answer_about("1999999984")),
}


@pytest.mark.parametrize("response", GOOD_ANSWERS.values(), ids=GOOD_ANSWERS)
def test_a_good_answer_is_taken_as_servers_send_it(
    serve: Serve, caplog: pytest.LogCaptureFixture, response: bytes
) -> None:
    def play(server: ScriptedServer, connection: socket.socket) -> None:
        while server.read_head(connection):
            connection.sendall(response)
            if b"Connection: close" in response:
                return

    server = serve(play)
    with contextlib.closing(client_of(f"http://127.0.0.1:{server.port}/{{npi}}")) as client:
        answers = [client.ask(NPI) for _ in range(3)]

    assert {(answer.verdict.outcome, answer.verdict.reason) for answer in answers} == {(Outcome.found, None)}
    assert {(answer.body or "").rstrip() for answer in answers} == {BODY.decode()}
    assert len(server.heads) == 3
    assert not caplog.records


@pytest.mark.parametrize(
    ("content_type", "body", "kept"),
    [
        ("application/json", b"\xef\xbb\xbf" + BODY, "\ufeff" + BODY.decode()),
        ("application/json; charset=utf-16", BODY.decode().encode("utf-16"), BODY.decode()),
        ("application/json", BODY.decode().encode("utf-16-le"), BODY.decode()),
        (
            "application/json;charset=ISO-8859-1",
            BODY.replace(b'"results"', b'"\xe9":1,"results"'),
            BODY.decode().replace('"results"', '"é":1,"results"'),
        ),
        (
            "application/json",
            BODY.replace(b'"results"', rb'"\ud800":"\\ud800","results"'),
            BODY.decode().replace('"results"', r'"\ufffd":"\\ud800","results"'),
        ),
    ],
    ids=["byte-order mark", "UTF-16", "UTF-16 without a mark", "Latin-1", "a lone surrogate"],
)
def test_an_answer_is_kept_as_utf8_text(serve: Serve, content_type: str, body: bytes, kept: str) -> None:
    answer = ask(serve(always(http("200 OK", f"Content-Type: {content_type}", body=body))).port)

    assert (answer.verdict.outcome, answer.verdict.reason) == (Outcome.found, None)
    assert answer.body == kept
    assert kept.encode().decode() == kept


FOUND_NO_URL = "HTTP 302 Found, a redirect to what is no URL, not followed"


@pytest.mark.parametrize(
    ("response", "reason", "retryable", "signal"),
    [
        (http("400 Bad Request"), "HTTP 400 Bad Request", False, Signal.error),
        (http("404 Nothing here"), "HTTP 404 Not Found", False, Signal.error),
        (http("403 Forbidden", body=b"<html>"), "HTTP 403 Forbidden", True, Signal.throttled),
        (http("408 Request Timeout"), "HTTP 408 Request Timeout", True, Signal.error),
        (http("429 Too Many Requests"), "HTTP 429 Too Many Requests", True, Signal.throttled),
        (http("500 Oops"), "HTTP 500 Internal Server Error", True, Signal.error),
        (http("503 Busy"), "HTTP 503 Service Unavailable", True, Signal.error),
        (http("503 Busy", "Retry-After: 0"), "HTTP 503 Service Unavailable", True, Signal.throttled),
        (http("599 Odd"), "HTTP 599", True, Signal.error),
        (http("204 No Content"), "HTTP 204 No Content", True, Signal.error),
        (http("206 Partial Content", body=BODY), "HTTP 206 Partial Content", True, Signal.error),
        (http("304 Not Modified"), "HTTP 304 Not Modified", True, Signal.error),
        (http("407 No"), "HTTP 407 Proxy Authentication Required", True, Signal.error),
        (http("200 OK", body=b"<html>"), "the answer is no JSON", True, Signal.error),
        (http("200 OK", body=BODY + b"x"), "the answer is no JSON", True, Signal.error),
        (http("200 OK", body=b""), "the answer is empty", True, Signal.error),
        (http("200 OK", body=b"\r\n "), "the answer is empty", True, Signal.error),
        (http("200 OK", body=BODY[:-1]), "the answer is JSON that is cut short", True, Signal.error),
        # A length that is too short, and the rest after it.
        (http("200 OK", body=BODY[:99]) + BODY[99:], "the answer is JSON that is cut short", True, Signal.error),
        (http("302 Found", "Location: http://[?key=secret"), FOUND_NO_URL, True, Signal.error),
        (http("200 OK", body=b'{"a": "\xe9"}'), "the answer is not UTF-8", True, Signal.error),
        (b"HTTP/2.0 200 OK\r\n\r\n", "the answer is not HTTP/1.1", True, Signal.error),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + http("200 OK", body=BODY),
            "the answer is not HTTP/1.1",
            True,
            Signal.error,
        ),
        (b"HTTP/1.1 OK\r\n\r\n", "the answer is not HTTP/1.1", True, Signal.error),
        (
            http("200 OK", *(f"X-{n}: x" for n in range(200)), body=BODY),
            "the head of the answer cannot be read",
            True,
            Signal.error,
        ),
        (
            http("200 OK", f"X-Long: {'x' * 70_000}", body=BODY),
            "the head of the answer cannot be read",
            True,
            Signal.error,
        ),
        (
            http("200 OK", "Content-Length: 3", body=BODY),
            "the head of the answer cannot be read",
            True,
            Signal.error,
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is not HTTP/1.1", True, Signal.error),
    ],
)
def test_a_bad_answer_is_a_failure_with_one_reason(
    serve: Serve, response: bytes, reason: str, retryable: bool, signal: Signal
) -> None:
    answer = ask(serve(always(response)).port)

    assert (answer.verdict.outcome, answer.verdict.reason) == (Outcome.failed, reason)
    assert answer.verdict.retryable is retryable
    assert answer.signal is signal
    assert answer.body is None


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
def test_redirects_are_not_followed(serve: Serve, status: str) -> None:
    elsewhere = serve(always(http("200 OK", body=BODY)))
    location = f"http://user:secret@127.0.0.1:{elsewhere.port}/?key=secret"
    answer = ask(serve(always(http(status, f"Location: {location}"))).port)

    assert elsewhere.connections == 0
    assert answer.verdict.retryable
    assert answer.verdict.reason == f"HTTP {status}, a redirect to 127.0.0.1:{elsewhere.port}, not followed"


@pytest.mark.parametrize("compressed", [False, True])
def test_a_body_over_the_limit_is_not_read(serve: Serve, compressed: bool) -> None:
    huge = b" " * 50_000_000
    headers = ["Content-Encoding: gzip"] if compressed else []
    server = serve(always(http("200 OK", *headers, body=gzip.compress(huge, 1) if compressed else huge)))
    answer = ask(server.port, max_body_bytes=1_000_000)

    assert answer.verdict.reason == "the answer is larger than NPI_MAX_BODY_BYTES"
    assert answer.verdict.retryable


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
    # By name: the client of Kubernetes, once it is imported, leaves urllib3 at WARNING.
    caplog.set_level(logging.DEBUG, logger="urllib3")
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
    assert (answer.verdict.reason, answer.verdict.retryable) == ("reading timed out", True)


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
    ],
    ids=["in the head", "in an interim head", "in the body", "until the connection closes", "in a chunk"],
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
    assert answer.verdict.retryable


@pytest.mark.parametrize(
    "response",
    [
        http("200 OK", body=BODY)[:-1],
        CHUNKED + b"\r\n" + chunked(*HALVES)[:-10],
        CHUNKED + b"\r\n" + chunked(*HALVES),
        CHUNKED + b"\r\nnonsense\r\n",
    ],
    ids=["in the body", "in a chunk", "before the last chunk", "no chunk"],
)
def test_an_answer_that_ends_too_early_is_cut_short(serve: Serve, response: bytes) -> None:
    def play(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        connection.sendall(response)

    answer = ask(serve(play).port)
    assert (answer.verdict.reason, answer.verdict.retryable) == ("the answer was cut short", True)
    assert (answer.status, answer.signal) == (200, Signal.error)


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
    assert (first.verdict.reason, first.verdict.retryable) == ("the answer was cut short", True)
    assert second.verdict.outcome is Outcome.found


def test_a_closed_port_and_an_unknown_name_are_passing_failures() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert ask(port).verdict.reason == "no connection to the registry"

    answer = client_of("http://no-such-host.invalid/{npi}").ask(NPI)
    assert answer.verdict.reason == "the registry's host name does not resolve"
    assert answer.verdict.retryable


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


def test_a_status_counts_though_its_body_is_cut_short(serve: Serve) -> None:
    def cut_short(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        connection.sendall(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 99\r\n\r\n{")

    answer = ask(serve(cut_short).port)
    assert (answer.verdict.reason, answer.retry_after) == ("HTTP 429 Too Many Requests", 3)
