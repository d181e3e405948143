"""The kept connection: when a request is sent again, when it is not, and interim answers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from npi_pipeline.http_fetch import connection as connection_module
from npi_pipeline.http_fetch.answer import Signal
from npi_pipeline.http_fetch.client import Client
from npi_pipeline.outcomes import Outcome
from npi_pipeline.testing.providers import answer as answer_about
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline_tests.http_fetch.asking import BODY, NPI, client_of
from npi_pipeline_tests.scripted_server import Play, ScriptedServer, Serve, always, http, securely

GOOD = http("200 OK", body=BODY)
BROKEN_OFF = "the answer took longer than a request may take"


def reset(connection: socket.socket) -> None:
    """Close so that the peer sees a reset instead of an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang_up(connection: socket.socket) -> None:
    connection.close()


Ending = Callable[[socket.socket], None]


def one_answer_a_connection(end: Ending) -> Play:
    """Answer the first request of a connection; when the second has come, end it without a word."""

    def play(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        connection.sendall(GOOD)
        if server.read_head(connection):
            end(connection)

    return play


def client_at(server: ScriptedServer, **settings: float) -> contextlib.closing[Client]:
    return contextlib.closing(client_of(f"http://127.0.0.1:{server.port}/{{npi}}", **settings))


@pytest.mark.parametrize("end", [hang_up, reset])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_request_on_a_stale_connection_is_sent_again_at_once(
    serve: Serve, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch, end: Ending, secure: bool
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[1]))
    play = one_answer_a_connection(end)
    server = serve(securely(tls[0], play) if secure else play)
    with contextlib.closing(client_of(f"http{'s' * secure}://127.0.0.1:{server.port}/{{npi}}")) as client:
        answers = [client.ask(NPI) for _ in range(10)]

    assert {answer.signal for answer in answers} == {Signal.good}
    # All but the first are sent twice.
    assert len(server.heads) == 19
    assert server.connections == 10


def test_a_proxys_stale_connection_is_no_different(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(one_answer_a_connection(hang_up))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    with contextlib.closing(client_of("http://registry.example/{npi}")) as client:
        answers = [client.ask(NPI) for _ in range(3)]

    assert {answer.signal for answer in answers} == {Signal.good}
    assert len(proxy.heads) == 5


@pytest.mark.parametrize(
    ("end", "reason"),
    [(hang_up, "the connection was closed without an answer"), (reset, "the connection was reset")],
)
def test_a_fresh_connection_that_is_closed_is_a_failure(serve: Serve, end: Ending, reason: str) -> None:
    def play(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        end(connection)

    server = serve(play)
    with client_at(server) as client:
        answers = [client.ask(NPI) for _ in range(3)]

    assert {(answer.verdict.reason, answer.signal) for answer in answers} == {(reason, Signal.error)}
    assert len(server.heads) == 3


def test_a_request_is_sent_again_once_and_no_more(serve: Serve) -> None:
    def answer_one_request_ever(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        if server.connections == 1:
            connection.sendall(GOOD)
            server.read_head(connection)

    server = serve(answer_one_request_ever)
    with client_at(server) as client:
        answers = [client.ask(NPI), client.ask(NPI)]

    assert [answer.signal for answer in answers] == [Signal.good, Signal.error]
    assert answers[1].verdict.retryable
    assert len(server.heads) == 3


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"], ids=["head", "body"])
@pytest.mark.parametrize("end", [hang_up, reset])
def test_nothing_is_sent_again_once_an_answer_has_begun(serve: Serve, end: Ending, begun: bytes) -> None:
    def begin_and_end(connection: socket.socket) -> None:
        connection.sendall(begun)
        end(connection)

    server = serve(one_answer_a_connection(begin_and_end))
    with client_at(server) as client:
        answers = [client.ask(NPI), client.ask(NPI)]

    assert [answer.signal for answer in answers] == [Signal.good, Signal.error]
    assert len(server.heads) == 2


def test_nothing_is_sent_again_because_of_silence(serve: Serve) -> None:
    server: ScriptedServer

    def be_silent(connection: socket.socket) -> None:
        server.is_closed.wait()

    server = serve(one_answer_a_connection(be_silent))
    # Long enough for the first answer on a busy machine.
    with client_at(server, read_timeout=1.0) as client:
        answers = [client.ask(NPI), client.ask(NPI)]

    assert answers[1].verdict.reason == "reading timed out"
    assert len(server.heads) == 2


def test_nothing_is_sent_again_after_abort(serve: Serve) -> None:
    client: Client

    def abort_and_end(connection: socket.socket) -> None:
        client.abort()
        connection.close()

    server = serve(one_answer_a_connection(abort_and_end))
    with client_at(server) as client:
        answers = [client.ask(NPI), client.ask(NPI), client.ask(NPI)]

    assert [answer.verdict.reason for answer in answers] == [None, BROKEN_OFF, None]
    assert len(server.heads) == 3


def test_what_is_sent_again_can_be_broken_off_while_it_connects_and_after(serve: Serve) -> None:
    client: Client

    def abort_the_second(server: ScriptedServer, connection: socket.socket) -> None:
        if server.connections == 1:
            one_answer_a_connection(hang_up)(server, connection)
            return
        # The client may or may not know yet that it is connected: either way this call is the only one.
        client.abort()
        server.is_closed.wait()

    server = serve(abort_the_second)
    with client_at(server) as client:
        answers = [client.ask(NPI), client.ask(NPI)]

    assert [answer.verdict.reason for answer in answers] == [None, BROKEN_OFF]
    assert answers[1].seconds < 5


def test_a_connection_that_was_closed_while_idle_is_noticed_before_anything_is_sent(serve: Serve) -> None:
    def answer_and_close(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        connection.sendall(GOOD)

    server = serve(answer_and_close)
    with client_at(server) as client:
        answers = [client.ask(NPI) for _ in range(3)]

    assert {answer.signal for answer in answers} == {Signal.good}
    assert len(server.heads) == 3


def test_a_connection_that_was_idle_for_long_is_not_trusted(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(always(GOOD))
    with client_at(server) as client:
        assert [client.ask(NPI).signal for _ in range(2)] == [Signal.good] * 2
        assert server.connections == 1
        monkeypatch.setattr(connection_module, "_MAX_IDLE_SECONDS", -1.0)
        assert client.ask(NPI).signal is Signal.good
    assert server.connections == 2


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
        b"HTTP/1.1 199 Whatever\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2 + b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
    ],
    ids=["100", "102", "103", "unknown", "all"],
)
@pytest.mark.parametrize("pieces", [1, 2])
def test_interim_answers_are_passed_over_and_every_request_gets_its_own_answer(
    serve: Serve, interim: bytes, pieces: int
) -> None:
    def play(server: ScriptedServer, connection: socket.socket) -> None:
        while server.read_head(connection):
            good = http("200 OK", body=answer_about(server.heads[-1].split(b" ")[1][1:].decode()))
            for part in [interim + good] if pieces == 1 else [interim, good]:
                connection.sendall(part)

    npis = list(npi_numbers(8))
    server = serve(play)
    with client_at(server) as client:
        answers = [client.ask(npi) for npi in npis]

    assert [answer.verdict.outcome for answer in answers] == [outcome_of(npi) for npi in npis]
    assert server.connections == 1


def test_a_connection_that_ends_after_an_interim_answer_is_a_failure(serve: Serve) -> None:
    def play(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    server = serve(play)
    with client_at(server) as client:
        answer = client.ask(NPI)
    assert (answer.verdict.outcome, answer.signal) == (Outcome.failed, Signal.error)
    assert len(server.heads) == 1
