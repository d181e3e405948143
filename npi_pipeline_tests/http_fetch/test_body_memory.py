"""Large answers over real sockets: their bodies wait for one another, all of them come, and none holds up the end."""

from __future__ import annotations

import gzip
import re
import socket
import threading

import pytest

from npi_pipeline.http_fetch import body_memory
from npi_pipeline.http_fetch.fetch import Fetch, fetch
from npi_pipeline.outcomes import Outcome
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline_tests.flattened import nppes_body
from npi_pipeline_tests.scripted_server import ScriptedServer, Serve, http

NPIS = list(npi_numbers(20))


def large_body(npi: str) -> bytes:
    """An answer of a mebibyte about ``npi``."""
    return nppes_body(npi, basic={"name": "A" * (1 << 20)}).encode()


def large_fetch(serve: Serve, *, compressed: bool = False) -> tuple[Fetch, ScriptedServer]:
    """A fetch of large answers, not begun yet, and the server that gives them."""

    def play(server: ScriptedServer, connection: socket.socket) -> None:
        while server.read_head(connection):
            body = large_body(re.findall(rb"\d{10}", server.heads[-1])[0].decode())
            if compressed:
                connection.sendall(http("200 OK", "Content-Encoding: gzip", body=gzip.compress(body, 1)))
            else:
                connection.sendall(http("200 OK", body=body))

    server = serve(play)
    registry = Registry(FORMATS["nppes"], f"http://127.0.0.1:{server.port}/{{npi}}")
    return fetch(NPIS, registry, FetchSettings(threads=len(NPIS))), server


@pytest.mark.parametrize("compressed", [False, True])
def test_however_little_memory_there_is_every_large_answer_comes(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    monkeypatch.setattr(body_memory, "_MOST_BYTES", 0)
    fetching, _ = large_fetch(serve, compressed=compressed)
    outcomes = {outcome.npi: outcome for outcome in fetching}
    assert sorted(outcomes) == sorted(NPIS)
    for npi, outcome in outcomes.items():
        assert outcome.verdict.outcome is Outcome.found
        assert outcome.body == large_body(npi).decode()
    assert fetching.report.attempts == len(NPIS)


def test_no_more_is_asked_for_while_a_body_waits_to_be_taken(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_memory, "_MOST_BYTES", 0)
    fetching, server = large_fetch(serve)
    asked_at_once = 0
    for count, _ in enumerate(fetching, 1):
        asked_at_once = max(asked_at_once, len(server.heads) - count)
    # As many as are asked at the very beginning, before anything is known of the answers.
    assert asked_at_once < len(NPIS) // 2


def test_bodies_that_wait_do_not_hold_up_the_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_memory, "_MOST_BYTES", 0)
    fetching, server = large_fetch(serve)
    for count, _ in enumerate(fetching, 1):
        # The body of the one in hand has not been let go, so the other's waits.
        if len(server.heads) > count:
            break
    else:
        raise AssertionError("there were never two at once")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("npi-fetch")]
