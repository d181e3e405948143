"""The threads that make attempts: what is broken off is the attempt that was meant."""

from __future__ import annotations

import math
import re
import socket
import threading
import time

import pytest

from npi_pipeline.http_fetch.answer import Answer
from npi_pipeline.http_fetch.attempt import Attempt
from npi_pipeline.http_fetch.client import Client
from npi_pipeline.http_fetch.workers import Workers
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.testing.providers import answer as answer_about
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline_tests.scripted_server import ScriptedServer, Serve, http


def test_a_break_off_that_comes_late_does_not_hit_the_next_request_of_its_thread(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = map(Attempt, npi_numbers(2))
    is_asked = {first.npi: threading.Event(), second.npi: threading.Event()}
    may_answer = {first.npi: threading.Event(), second.npi: threading.Event()}
    answers: dict[Attempt, Answer] = {}

    def play(server: ScriptedServer, connection: socket.socket) -> None:
        while server.read_head(connection):
            npi = re.findall(rb"\d{10}", server.heads[-1])[0].decode()
            is_asked[npi].set()
            may_answer[npi].wait()
            connection.sendall(http("200 OK", body=answer_about(npi)))

    def abort_late(client: Client) -> None:
        # The answer comes just now; if its thread may go on with the next one meanwhile, it does.
        may_answer[first.npi].set()
        answers.update(workers.answers(time.monotonic() + 0.2))
        if first in answers:
            workers.make(second)
            is_asked[second.npi].wait()
        abort(client)

    abort = Client.abort
    monkeypatch.setattr(Client, "abort", abort_late)
    server = serve(play)
    workers = Workers(Registry(FORMATS["nppes"], f"http://127.0.0.1:{server.port}/{{npi}}"), FetchSettings())
    workers.make(first)
    is_asked[first.npi].wait()
    workers.abort([first])
    if first not in answers:
        answers.update(workers.answers(math.inf))
        workers.make(second)
    may_answer[second.npi].set()
    while second not in answers:
        answers.update(workers.answers(math.inf))
    workers.stop()

    assert answers[second].verdict.outcome is outcome_of(second.npi)
