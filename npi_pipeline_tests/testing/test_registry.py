"""The emulated registry, driven over HTTP as a client sees it."""

from __future__ import annotations

import dataclasses
import email.utils
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import requests

from npi_pipeline.outcomes import Outcome
from npi_pipeline.registries import FORMATS
from npi_pipeline.testing.behaviour import FAULTS, Behaviour
from npi_pipeline.testing.child_process import ServerError, start
from npi_pipeline.testing.connection import Stats
from npi_pipeline.testing.faults import HUGE_BODY_BYTES
from npi_pipeline.testing.providers import affiliated_practices_answer, answer, npi_numbers, outcome_of
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry

NPIS = list(npi_numbers(300))
NPI = next(npi for npi in NPIS if outcome_of(npi) is Outcome.found)


def ask(registry: EmulatedRegistry, npi: str = NPI) -> requests.Response:
    return requests.get(registry.url.format(npi=npi), allow_redirects=False, timeout=20)


def until(registry: EmulatedRegistry, holds: Callable[[Stats], bool]) -> Stats:
    """The first stats of which ``holds`` is true; the server's own work is what is waited for."""
    deadline = time.monotonic() + 20
    while not holds(stats := registry.stats()):
        assert time.monotonic() < deadline, stats
    return stats


def send(registry: EmulatedRegistry, *npis: str) -> socket.socket:
    """A connection on which requests about ``npis`` are sent at once and nothing is read."""
    connection = socket.create_connection(("127.0.0.1", registry.port))
    target = registry.url.split(str(registry.port))[1]
    connection.sendall(b"".join(f"GET {target.format(npi=npi)} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for npi in npis))
    return connection


def test_it_answers_both_formats_as_the_seed_says(registry: EmulatedRegistry) -> None:
    registry.configure(seed=5)
    with requests.Session() as session:
        for npi in NPIS[:50]:
            assert session.get(registry.url.format(npi=npi)).content == answer(npi, 5)
            url = registry.affiliated_practices_url.format(npi=npi)
            assert session.get(url).content == affiliated_practices_answer(npi, 5)
    stats = registry.stats()
    assert (stats.requests, stats.answers, stats.connections, stats.peak_in_flight) == (100, 100, 1, 1)


@pytest.mark.parametrize("era", ["A", "B", "C"])
def test_it_answers_in_the_shape_of_the_era(registry: EmulatedRegistry, era: str) -> None:
    registry.configure(era=era)
    assert ask(registry).content == answer(NPI, 0, era)


def test_its_headers_are_those_of_the_real_registry(registry: EmulatedRegistry) -> None:
    headers = ask(registry).headers
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
    assert headers["X-Cache"] == "Miss from cloudfront"
    assert {"Date", "Via", "Strict-Transport-Security", "Alt-Svc"} <= set(headers)
    assert not {"ETag", "Retry-After"} & set(headers)
    assert not [name for name in headers if name.lower().startswith("ratelimit")]


@pytest.mark.parametrize(
    ("query", "number"),
    [("version=2.1", "04"), ("version=2.1&limit=5&skip=10", "04"), ("", "02"), ("version=1.0&number=1", "02")],
)
def test_a_request_without_criteria_or_of_a_retired_version_is_an_error_with_status_200(
    registry: EmulatedRegistry, query: str, number: str
) -> None:
    response = requests.get(f"http://127.0.0.1:{registry.port}/api/?{query}", timeout=20)
    assert response.status_code == 200
    assert [error["number"] for error in response.json()["Errors"]] == [number]


def test_limit_and_skip_change_nothing_for_one_npi(registry: EmulatedRegistry) -> None:
    url = registry.url.format(npi=NPI) + "&limit=1&skip=0"
    assert requests.get(url, timeout=20).content == answer(NPI)


@pytest.mark.parametrize("npi", ["1234567890", "12", "12%2034", "x"])
def test_a_number_that_is_no_npi_has_an_empty_result(registry: EmulatedRegistry, npi: str) -> None:
    assert ask(registry, npi).json() == {"result_count": 0, "results": []}


def test_what_it_does_not_serve_is_a_client_error(registry: EmulatedRegistry) -> None:
    assert requests.get(f"http://127.0.0.1:{registry.port}/other", timeout=20).status_code == 404
    assert requests.delete(registry.url.format(npi=NPI), timeout=20).status_code == 405
    assert registry.stats().bad_requests == 2


def test_pipelined_requests_are_answered_in_order(registry: EmulatedRegistry) -> None:
    registry.configure(latency=0.001, latency_sigma=1.0)
    expected = [answer(npi) for npi in NPIS[:200]]
    received = b""
    with send(registry, *NPIS[:200]) as connection:
        while received.count(b"HTTP/1.1 200 OK") < 200 or not received.endswith(expected[-1]):
            received += connection.recv(65_536)
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in received.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == expected


def test_a_request_that_comes_in_pieces_is_understood(registry: EmulatedRegistry) -> None:
    with socket.create_connection(("127.0.0.1", registry.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in f"GET /api/?version=2.1&number={NPI} HTTP/1.1\r\nHost: x\r\n\r\n".encode():
            connection.sendall(bytes([byte]))
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").read().endswith(answer(NPI))


def test_an_answer_waits_for_its_latency_and_is_given_up_when_the_client_leaves(registry: EmulatedRegistry) -> None:
    registry.configure(latency=3_600)
    with send(registry, NPI):
        assert until(registry, lambda stats: stats.in_flight == 1).answers == 0
    stats = until(registry, lambda stats: stats.in_flight == 0)
    assert (stats.answers, stats.abandoned) == (0, 1)


def test_latency_is_lognormal_around_its_median_and_grows_with_load() -> None:
    behaviour = Behaviour(latency=0.2, latency_sigma=0.4, slow_above=40)
    assert behaviour.latency_of(1, 0) == 0.2
    assert behaviour.latency_of(40, 1) == pytest.approx(0.2 * 1.4918, rel=1e-3)
    assert behaviour.latency_of(120, -1) == pytest.approx(3 * 0.2 / 1.4918, rel=1e-3)
    assert Behaviour(latency=0.2).latency_of(1_000, 2) == 0.2


def test_what_is_over_the_capacity_is_refused(registry: EmulatedRegistry) -> None:
    registry.configure(capacity=0.001, burst=3, refusal_latency=0)
    statuses = [ask(registry, npi).status_code for npi in NPIS[:10]]
    assert statuses == [200] * 3 + [429] * 7
    registry.configure(refusal_status=503)
    assert ask(registry).status_code == 503
    registry.configure(capacity=0)
    assert ask(registry).status_code == 200
    stats = registry.stats()
    assert (stats.requests, stats.refused, stats.answers) == (12, 8, 4)


def test_over_a_while_exactly_the_capacity_is_admitted(registry: EmulatedRegistry) -> None:
    registry.configure(capacity=200, burst=1, refusal_latency=0)
    started = time.monotonic()
    with requests.Session() as session:
        answers = sum(session.get(registry.url.format(npi=npi)).ok for npi in NPIS)
    # However slow this machine is: never more than the time that has passed allows.
    assert 1 <= answers <= (time.monotonic() - started) * 200 + 1
    assert registry.stats().answers == answers


def test_more_in_flight_than_allowed_is_refused_with_503(registry: EmulatedRegistry) -> None:
    registry.configure(latency=3_600, max_in_flight=2, refusal_latency=0)
    with send(registry, NPIS[0]), send(registry, NPIS[1]):
        until(registry, lambda stats: stats.in_flight == 2)
        assert ask(registry).status_code == 503
    until(registry, lambda stats: stats.in_flight == 0)
    registry.configure(latency=0)
    assert ask(registry).status_code == 200
    assert registry.stats().peak_in_flight == 3


def test_a_refusal_says_how_long_to_wait_in_seconds_as_a_date_or_not_at_all(registry: EmulatedRegistry) -> None:
    registry.configure(capacity=0.001, burst=1, refusal_latency=0)
    ask(registry)
    assert "Retry-After" not in ask(registry).headers
    registry.configure(retry_after=0)
    assert ask(registry).headers["Retry-After"] == "0"
    registry.configure(retry_after=7, retry_after_as_date=True)
    headers = ask(registry).headers
    when, now = (email.utils.parsedate_to_datetime(headers[name]).timestamp() for name in ("Retry-After", "Date"))
    assert 6 <= when - now <= 8


def test_a_registry_that_is_down_refuses_everything_until_it_is_up(registry: EmulatedRegistry) -> None:
    registry.configure(down="refusing", refusal_latency=0)
    assert {ask(registry, npi).status_code for npi in NPIS[:5]} == {503}
    registry.configure(down="")
    assert ask(registry).status_code == 200


def test_a_closed_registry_accepts_no_connection_and_drops_those_it_has(registry: EmulatedRegistry) -> None:
    with requests.Session() as session, send(registry) as connection:
        url = registry.url.format(npi=NPI)
        assert session.get(url).ok
        registry.configure(down="closed")
        with pytest.raises(requests.ConnectionError):
            session.get(url)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", registry.port))
        assert is_closed(connection)
        registry.configure(down="")
        assert session.get(url).ok


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_registry_can_come_back_by_itself(registry: EmulatedRegistry) -> None:
    registry.configure(down="closed", down_seconds=0.05)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            assert ask(registry).ok
        except requests.ConnectionError:
            continue
        return
    pytest.fail("it stayed down")


def test_it_can_be_down_from_the_start() -> None:
    with emulated_registry(down="closed") as registry:
        with pytest.raises(requests.ConnectionError):
            ask(registry)
        registry.configure(down="")
        assert ask(registry).ok


def test_the_faults_that_are_planned_are_the_faults_that_are_played() -> None:
    kinds = ("429", "500", "502", "503_html", "html_200", "empty")
    played = {429: "429", 500: "500", 502: "502", 503: "503_html"}
    with emulated_registry(seed=9, fault_share=0.5, fault_tries=2, fault_kinds=kinds, error_share=0.1) as registry:
        with requests.Session() as session:
            for npi in NPIS:
                url = registry.url.format(npi=npi)
                seen = []
                while (response := session.get(url)).content != answer(npi, 9):
                    body = response.content
                    seen.append(played.get(response.status_code) or ("empty" if body == b"" else "html_200"))
                assert tuple(seen) == registry.planned_faults(npi)
        stats = registry.stats()
        assert stats.requests == registry.behaviour.least_requests(NPIS)
        assert stats.requests == stats.answers + sum(stats.faults.values())
        assert registry.requests_by_npi() == {npi: 1 + len(registry.planned_faults(npi)) for npi in NPIS}
        assert sum(stats.npis_by_requests.values()) == stats.npis == len(NPIS)
        assert sum(number * npis for number, npis in stats.npis_by_requests.items()) == stats.requests


def test_a_plan_holds_every_fault_and_about_the_share_asked_for() -> None:
    npis = list(npi_numbers(4_000, 2))
    plans = [Behaviour(seed=2, fault_share=0.6, fault_tries=1).planned_faults(npi) for npi in npis]
    assert {fault for plan in plans for fault in plan} == set(FAULTS)
    assert 0.57 < sum(map(bool, plans)) / len(npis) < 0.63
    assert plans == [Behaviour(seed=2, fault_share=0.6, fault_tries=1).planned_faults(npi) for npi in npis]
    assert plans != [Behaviour(seed=3, fault_share=0.6, fault_tries=1).planned_faults(npi) for npi in npis]


def fault(registry: EmulatedRegistry, kind: str) -> None:
    registry.configure(fault_share=1.0, fault_kinds=(kind,))


@pytest.mark.parametrize(
    ("kind", "status"), [("429", 429), ("500", 500), ("502", 502), ("503_html", 503), ("429_retry_after", 429)]
)
def test_a_fault_of_status_has_its_status_and_passes(registry: EmulatedRegistry, kind: str, status: int) -> None:
    fault(registry, kind)
    response = ask(registry)
    assert response.status_code == status
    assert ("Retry-After" in response.headers) == (kind == "429_retry_after")
    assert response.headers["Content-Type"] == ("text/html" if kind == "503_html" else "application/json")
    assert ask(registry).content == answer(NPI)


def test_a_reset_is_a_reset(registry: EmulatedRegistry) -> None:
    fault(registry, "reset")
    with send(registry, NPI) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert registry.stats().in_flight == 0


def test_a_truncated_body_is_shorter_than_announced(registry: EmulatedRegistry) -> None:
    fault(registry, "truncated")
    with send(registry, NPI) as connection, connection.makefile("rb") as lines:
        head, _, body = lines.read().partition(b"\r\n\r\n")
    assert f"Content-Length: {len(answer(NPI))}".encode() in head
    assert body == answer(NPI)[: len(answer(NPI)) // 2]


def test_a_slow_drip_drips_and_does_not_end(registry: EmulatedRegistry) -> None:
    fault(registry, "slow_drip")
    with send(registry, NPI) as connection:
        connection.settimeout(20)
        received = b""
        while not received.partition(b"\r\n\r\n")[2].startswith(b"   "):
            received += connection.recv(65_536)
        assert registry.stats().in_flight == 1
    until(registry, lambda stats: stats.in_flight == 0)


def test_a_hang_sends_nothing(registry: EmulatedRegistry) -> None:
    fault(registry, "hang")
    with send(registry, NPI) as connection:
        until(registry, lambda stats: stats.faults == {"hang": 1})
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
    until(registry, lambda stats: stats.in_flight == 0)


@pytest.mark.parametrize("kind", ["html_200", "empty", "another_npi"])
def test_a_false_body_with_status_200_is_judged_as_a_passing_failure(registry: EmulatedRegistry, kind: str) -> None:
    fault(registry, kind)
    for name, url in (("nppes", registry.url), ("affiliated_practices", registry.affiliated_practices_url)):
        npi = NPIS[len(name)]
        response = requests.get(url.format(npi=npi), timeout=20)
        assert response.status_code == 200
        verdict = FORMATS[name].judge(npi, response.content)
        assert (verdict.outcome, verdict.retryable) == (Outcome.failed, True)


def test_a_huge_body_comes_whole_to_whoever_reads_it(registry: EmulatedRegistry) -> None:
    fault(registry, "huge_body")
    with requests.Session() as session:
        with session.get(registry.url.format(npi=NPI), stream=True) as response:
            assert sum(map(len, response.iter_content(1 << 20))) == HUGE_BODY_BYTES
        assert session.get(registry.url.format(npi=NPI)).content == answer(NPI)
    assert registry.stats().connections == 1


def test_a_huge_body_waits_for_the_client_to_read(registry: EmulatedRegistry) -> None:
    fault(registry, "huge_body")
    with send(registry, NPI):
        written = [0, until(registry, lambda stats: stats.bytes_written > 0).bytes_written]
        while written[-1] != written[-2]:
            written.append(registry.stats().bytes_written)
    assert written[-1] < HUGE_BODY_BYTES / 2


def test_whoever_leaves_a_huge_body_is_not_sent_the_rest(registry: EmulatedRegistry) -> None:
    fault(registry, "huge_body")
    with requests.get(registry.url.format(npi=NPI), stream=True, timeout=20) as response:
        next(response.iter_content(1_024))
    stats = until(registry, lambda stats: stats.in_flight == 0)
    assert stats.bytes_written < HUGE_BODY_BYTES / 2


def test_a_gzip_bomb_is_small_on_the_wire(registry: EmulatedRegistry) -> None:
    fault(registry, "gzip_bomb")
    with requests.get(registry.url.format(npi=NPI), stream=True, timeout=20) as response:
        assert int(response.headers["Content-Length"]) < HUGE_BODY_BYTES / 100
        assert sum(map(len, response.iter_content(1 << 20))) == HUGE_BODY_BYTES


def test_a_redirect_loop_never_ends_and_is_counted(registry: EmulatedRegistry) -> None:
    fault(registry, "redirect_loop")
    assert ask(registry).is_redirect
    assert registry.stats().followed_redirects == 0
    with pytest.raises(requests.TooManyRedirects):
        requests.get(registry.url.format(npi=NPIS[-1]), timeout=20)
    assert registry.stats().followed_redirects == 30


def test_a_redirect_to_another_host_tempts_with_a_good_answer(registry: EmulatedRegistry) -> None:
    fault(registry, "redirect_elsewhere")
    assert ask(registry).headers["Location"].startswith("http://localhost:")
    assert requests.get(registry.url.format(npi=NPIS[-1]), timeout=20).content == answer(NPIS[-1])
    assert registry.stats().followed_redirects == 1


def test_every_fault_is_played_and_passes_and_leaves_nothing_behind(registry: EmulatedRegistry) -> None:
    for kind, npi in zip(FAULTS, NPIS, strict=False):
        fault(registry, kind)
        with send(registry, npi):
            until(registry, lambda stats, kind=kind: kind in stats.faults)  # type: ignore[misc]
    stats = until(registry, lambda stats: stats.in_flight == 0)
    assert stats.faults == dict.fromkeys(FAULTS, 1)
    assert all(ask(registry, npi).ok for npi in NPIS[: len(FAULTS)])


def test_the_busiest_second_is_counted(registry: EmulatedRegistry) -> None:
    with send(registry, *NPIS):
        stats = until(registry, lambda stats: stats.answers == len(NPIS))
    assert 1 <= stats.peak_requests_in_a_second <= len(NPIS)
    assert dataclasses.asdict(stats)["peak_in_flight"] == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"latencyy": 1}, "latencyy"),
        ({"fault_kinds": ("reset", "nonsense")}, "nonsense"),
        ({"fault_kinds": ()}, "fault_kinds"),
        ({"down": "maybe"}, "maybe"),
        ({"error_share": 1.0}, "error_share"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(
    registry: EmulatedRegistry, options: dict[str, object], named: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=named):
        registry.configure(**options)
    assert ask(registry).ok


@pytest.mark.parametrize("module", ["npi_pipeline.testing.registry", "npi_pipeline.testing.s3"])
def test_a_server_that_cannot_start_is_named(
    registry: EmulatedRegistry, module: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ServerError, match=module):
        start(module, ["--port", str(registry.port)])
    messages = capfd.readouterr().err
    assert "in use" in messages
    assert "Traceback" not in messages


def test_by_hand_it_takes_options_and_says_where_it_is() -> None:
    command = [sys.executable, "-m", "npi_pipeline.testing.registry", "down=refusing", "refusal_latency=0", "seed=3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        url = f"http://127.0.0.1:{port}/api/?version=2.1&number={NPI}"
        assert requests.get(url, timeout=20).status_code == 503
        process.terminate()


def test_the_servers_end_when_their_parent_is_killed() -> None:
    program = (
        "import os, signal\n"
        "from npi_pipeline.testing.registry import emulated_registry\n"
        "from npi_pipeline.testing.s3 import local_s3\n"
        "with emulated_registry() as registry, local_s3() as s3:\n"
        "    print(registry.port, s3.port, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The servers inherit standard error: its end is the end of all three processes.
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == -9
    for port in out.split():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)))


def test_its_process_imports_nothing_heavy_for_hundreds_of_tests_start_one() -> None:
    code = (
        "import sys, npi_pipeline.testing.registry;"
        "print([name for name in ('polars', 'pydantic', 'boto3', 'dagster') if name in sys.modules])"
    )
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert imported.stdout.strip() == "[]"
