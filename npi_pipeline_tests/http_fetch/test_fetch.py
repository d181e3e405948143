"""The fetch as a whole, against the emulated registry with every fault that it knows."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from npi_pipeline.http_fetch.fetch import RegistryDownError, fetch
from npi_pipeline.http_fetch.progress import FetchProgress, FetchReport
from npi_pipeline.outcomes import NpiOutcome, Outcome
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.testing.behaviour import FAULTS
from npi_pipeline.testing.providers import answer as answer_about
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry
from npi_pipeline_tests.scripted_server import ScriptedServer, Serve, http

# Patient with the registry, impatient with the clock.
QUICK = FetchSettings(wait=0.02, read_timeout=0.3, request_timeout=0.6, max_body_bytes=100_000)


def nppes(registry: EmulatedRegistry) -> Registry:
    return Registry(FORMATS["nppes"], registry.url)


def fetch_all(registry: EmulatedRegistry, npis: list[str], settings: FetchSettings = QUICK) -> FetchReport:
    """Fetch, and hold every outcome against the truth."""
    fetching = fetch(iter(npis), nppes(registry), settings, total=len(npis))
    outcomes = {outcome.npi: outcome for outcome in fetching}

    assert sorted(outcomes) == sorted(npis)
    for npi, outcome in outcomes.items():
        assert outcome.verdict.outcome is outcome_of(npi)
        assert outcome.body == answer_about(npi).decode()
        assert outcome.status == 200
    report = fetching.report
    assert report.outcomes == Counter(outcome.verdict.outcome.value for outcome in outcomes.values())
    assert report.attempts == sum(outcome.attempts for outcome in outcomes.values())
    stats = registry.stats()
    # What a kept connection swallows by its end is sent again, and is no attempt.
    assert 0 <= stats.requests - report.attempts <= stats.faults.get("reset", 0) + stats.faults.get("closed", 0)
    assert sum(report.retries.values()) == report.attempts - len(npis)
    return report


def threads_of_the_fetch() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("npi-fetch")]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_at_60_percent_of_first_tries_is_survived_with_the_least_requests(fault: str) -> None:
    # Refusals slow the asking down, as they should.
    npis = list(npi_numbers(12 if fault.startswith("429") else 40))
    with emulated_registry(fault_share=0.6, fault_kinds=[fault], retry_after=0.05) as registry:
        fetch_all(registry, npis)
        assert registry.stats().requests == registry.behaviour.least_requests(npis) > len(npis)


def test_all_faults_at_once_are_survived_with_the_least_requests() -> None:
    npis = list(npi_numbers(120))
    with emulated_registry(fault_share=0.6, fault_tries=2, error_share=0.03, retry_after=0.02) as registry:
        fetch_all(registry, npis)
        assert registry.stats().requests <= 1.05 * registry.behaviour.least_requests(npis)
        assert registry.stats().followed_redirects == 0


def test_a_registry_that_drops_every_second_request_of_a_connection_is_as_fast_as_any(serve: Serve) -> None:
    def drop_every_second(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        npi = re.findall(rb"\d{10}", server.heads[-1])[0].decode()
        connection.sendall(http("200 OK", body=answer_about(npi)))
        server.read_head(connection)

    npis = list(npi_numbers(600))
    server = serve(drop_every_second)
    started = time.monotonic()
    fetching = fetch(npis, Registry(FORMATS["nppes"], f"http://127.0.0.1:{server.port}/{{npi}}"))
    outcomes = {outcome.npi: (outcome.verdict.outcome, outcome.attempts) for outcome in fetching}

    assert outcomes == {npi: (outcome_of(npi), 1) for npi in npis}
    assert fetching.report.retries == {}
    # 0.7 s; 80 s when each was a failure that waits and slows the asking down.
    assert time.monotonic() - started < 15


def test_a_registry_that_closes_for_a_while_is_survived_without_hammering_it() -> None:
    npis = list(npi_numbers(3000))
    with emulated_registry(latency=0.01) as registry:
        outcomes: dict[str, NpiOutcome] = {}
        fetching = fetch(iter(npis), nppes(registry), FetchSettings(wait=0.05))
        for outcome in fetching:
            outcomes[outcome.npi] = outcome
            if len(outcomes) == 200:
                registry.configure(down="closed", down_seconds=2.0)

        assert {npi: outcome.verdict.outcome for npi, outcome in outcomes.items()} == {
            npi: outcome_of(npi) for npi in npis
        }
        # What was in flight, thirty more before the breaker opened, and a few probes.
        assert fetching.report.attempts <= 1.05 * len(npis)


def test_a_registry_that_stays_down_ends_the_fetch_with_one_clear_line() -> None:
    npis = list(npi_numbers(3000))
    outcomes: list[NpiOutcome] = []
    with emulated_registry() as registry:
        with pytest.raises(RegistryDownError) as raised:  # noqa: PT012
            for outcome in fetch(npis, nppes(registry), FetchSettings(wait=0.05, down_after=0.5)):
                outcomes.append(outcome)
                if len(outcomes) == 100:
                    registry.configure(down="refusing")
        host = f"127.0.0.1:{registry.port}"
        requests_when_down = registry.stats().requests - 100

    message = str(raised.value)
    assert "\n" not in message
    for part in (host, "gives no usable answer", "since 20", "HTTP 503 Service Unavailable", "NPI_REGISTRY_URL"):
        assert part in message
    assert "number=" not in message
    assert all(outcome.verdict.outcome is outcome_of(outcome.npi) for outcome in outcomes)
    assert requests_when_down < 200
    assert not threads_of_the_fetch()


def test_a_wait_longer_than_one_has_patience_for_ends_the_fetch_at_once() -> None:
    with (
        emulated_registry(fault_share=1, fault_kinds=["429_retry_after"], retry_after=3600) as registry,
        pytest.raises(RegistryDownError, match="asks to be left alone for 3,600 s"),
    ):
        list(fetch(npi_numbers(10), nppes(registry), FetchSettings(down_after=30)))


def test_npis_that_always_fail_are_recorded_as_failed_and_do_not_end_the_fetch() -> None:
    npis = list(npi_numbers(100))
    settings = FetchSettings(wait=0.001, max_wait=0.01, max_retries=3, down_after=0.2)
    with emulated_registry(fault_share=0.2, fault_tries=1000, fault_kinds=["500"]) as registry:
        outcomes = list(fetch(npis, nppes(registry), settings))
        poisoned = {npi for npi in npis if registry.behaviour.fault_of_try(npi, 0)}

    failed = [outcome for outcome in outcomes if outcome.verdict.outcome is Outcome.failed]
    assert {outcome.npi for outcome in failed} == poisoned != set()
    for outcome in failed:
        assert outcome.attempts == 4
        assert outcome.verdict.retryable
        assert (outcome.verdict.reason, outcome.status, outcome.body) == ("HTTP 500 Internal Server Error", 500, None)
    assert len({outcome.npi for outcome in outcomes}) == 100


def test_what_is_sent_again_has_no_more_time_than_any_request(serve: Serve) -> None:
    def answer_drop_be_silent(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        if server.connections == 1:
            connection.sendall(http("200 OK", body=answer_about(npis[0])))
            server.read_head(connection)
        else:
            server.is_closed.wait()

    npis = list(npi_numbers(2))
    server = serve(answer_drop_be_silent)
    settings = FetchSettings(threads=1, max_retries=0, request_timeout=0.5)
    started = time.monotonic()
    outcomes = list(fetch(npis, Registry(FORMATS["nppes"], f"http://127.0.0.1:{server.port}/{{npi}}"), settings))

    assert outcomes[1].verdict.reason == "the answer took longer than a request may take"
    assert len(server.heads) == 3
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("behaviour", [{}, {"fault_share": 1.0, "fault_kinds": ["hang"]}, {"latency": 30.0}])
def test_setting_stop_ends_the_fetch_whatever_the_registry_does(behaviour: dict[str, object]) -> None:
    stop = threading.Event()
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for npi in npi_numbers(10**7):
            taken += 1
            if taken == 8:
                stop.set()
            yield npi

    with emulated_registry(**behaviour) as registry:
        list(fetch(endless(), nppes(registry), stop=stop))
        assert not threads_of_the_fetch()
        assert taken < 100
        assert registry.stats().requests < 100


def test_leaving_the_loop_stops_asking_and_takes_no_more_of_the_list() -> None:
    taken = 0

    def npis() -> Iterator[str]:
        nonlocal taken
        for npi in npi_numbers(10**6):
            taken += 1
            yield npi

    with emulated_registry(latency=0.05) as registry:
        for _ in itertools.islice(fetch(npis(), nppes(registry)), 3):
            pass
        assert not threads_of_the_fetch()
        assert taken < 100

        class ConsumerError(Exception):
            pass

        with pytest.raises(ConsumerError), contextlib.closing(iter(fetch(npis(), nppes(registry)))) as outcomes:  # noqa: PT012
            next(outcomes)
            raise ConsumerError
        assert not threads_of_the_fetch()


def test_a_fetch_keeps_to_caps_that_change_while_it_runs() -> None:
    narrow, wide = FetchSettings(threads=1), FetchSettings(threads=8)
    outcomes: list[NpiOutcome] = []
    with emulated_registry(latency=0.02) as registry:
        for outcome in fetch(
            npi_numbers(80, seed=8),
            Registry(FORMATS["nppes"], registry.url),
            narrow,
            caps=lambda: narrow if len(outcomes) < 20 else wide,
        ):
            outcomes.append(outcome)
            if len(outcomes) == 20:
                peak_when_narrow = registry.stats().peak_in_flight
        peak = registry.stats().peak_in_flight

    assert len(outcomes) == 80
    assert peak_when_narrow == 1
    assert 4 <= peak <= 8


def test_an_error_in_the_list_reaches_the_consumer_and_leaves_no_thread(registry: EmulatedRegistry) -> None:
    def npis() -> Iterator[str]:
        yield from npi_numbers(5)
        raise OSError("the list broke off")

    with pytest.raises(OSError, match="the list broke off"):
        list(fetch(npis(), nppes(registry)))
    assert not threads_of_the_fetch()


def test_ctrl_c_ends_a_process_that_waits_for_a_registry_which_hangs() -> None:
    program = textwrap.dedent("""
        import sys
        from npi_pipeline.http_fetch.fetch import fetch
        from npi_pipeline.registries import FORMATS
        from npi_pipeline.registries.registry import Registry
        def npis():
            for number in range(1000):
                if number == 8:
                    print("asking", flush=True)
                yield str(1234567890 + number)
        try:
            list(fetch(npis(), Registry(FORMATS["nppes"], sys.argv[1])))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    with emulated_registry(latency=60) as registry:
        process = subprocess.Popen([sys.executable, "-c", program, registry.url], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "asking\n"
        os.kill(process.pid, signal.SIGINT)
        assert process.communicate(timeout=10)[0] == "interrupted\n"
        assert process.returncode == 0


def test_the_limit_of_a_registry_is_found() -> None:
    npis = list(npi_numbers(1200))
    with emulated_registry(latency=0.02, capacity=200, retry_after=0) as registry:
        report = fetch_all(registry, npis)
        # A fixed pool of as many threads would have nearly all of its requests refused. Of ours it is a twentieth, but
        # on a busy machine a cut is now and then taken to be in vain, and a third.
        assert report.refused < 0.4 * report.attempts


def test_in_flight_requests_never_exceed_the_threads() -> None:
    with emulated_registry(latency=0.02) as registry:
        fetch_all(registry, list(npi_numbers(300)), FetchSettings(threads=7))
        assert registry.stats().peak_in_flight <= 7
        assert registry.stats().connections <= 7


def test_requests_per_second_is_a_hard_cap() -> None:
    with emulated_registry() as registry:
        fetch_all(registry, list(npi_numbers(60)), FetchSettings(requests_per_second=40))
        assert registry.stats().peak_requests_in_a_second <= 42


def test_what_is_sent_again_because_of_stale_connections_counts_against_the_cap(serve: Serve) -> None:
    def drop_every_second(server: ScriptedServer, connection: socket.socket) -> None:
        server.read_head(connection)
        sent_at.append(time.monotonic())
        npi = re.findall(rb"\d{10}", server.heads[-1])[0].decode()
        connection.sendall(http("200 OK", body=answer_about(npi)))
        if server.read_head(connection):
            sent_at.append(time.monotonic())

    sent_at: list[float] = []
    npis = list(npi_numbers(80))
    registry = Registry(FORMATS["nppes"], f"http://127.0.0.1:{serve(drop_every_second).port}/{{npi}}")
    began = time.monotonic()
    outcomes = list(fetch(npis, registry, FetchSettings(requests_per_second=40)))

    assert {(outcome.verdict.outcome, outcome.attempts) for outcome in outcomes} == {
        (outcome_of(npi), 1) for npi in npis
    }
    assert len(sent_at) > 100
    # At every moment since the beginning: on a busy machine requests arrive late, and in bunches, but none too early.
    assert all(number <= 40 * (when - began) + 2 for number, when in enumerate(sorted(sent_at)))


def test_a_request_may_not_take_longer_than_its_time_though_bytes_keep_coming() -> None:
    settings = FetchSettings(request_timeout=0.3, wait=0.01, max_retries=1)
    with emulated_registry(fault_share=1, fault_tries=5, fault_kinds=["slow_drip"]) as registry:
        (outcome,) = fetch(npi_numbers(1), nppes(registry), settings)
    assert outcome.verdict.reason == "the answer took longer than a request may take"
    assert outcome.attempts == 2


def test_progress_is_told_ever_more_seldom_and_at_the_end() -> None:
    told: list[FetchProgress] = []
    with emulated_registry(latency=0.02, error_share=0.1) as registry:
        fetching = fetch(
            npi_numbers(300), nppes(registry), QUICK, total=300, on_progress=told.append, progress_seconds=0.01
        )
        assert len(list(fetching)) == 300

    # After 0.01 seconds, then 0.02, 0.04, ... more, and at the end.
    assert 2 < len(told) <= 2 + math.log2(1 + fetching.report.seconds / 0.01)
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert all(progress.done + progress.in_flight + progress.waiting <= 300 for progress in told)
    last = told[-1]
    assert (last.done, last.in_flight, last.waiting, last.failed) == (300, 0, 0, 0)
    assert str(last).startswith("300 of 300 (100%) NPIs, ")


def test_a_fetch_of_nothing_asks_nothing(registry: EmulatedRegistry) -> None:
    fetching = fetch([], nppes(registry))
    assert list(fetching) == []
    assert fetching.report.attempts == 0
    assert registry.stats().requests == 0


def test_a_fetch_cannot_be_iterated_over_twice(registry: EmulatedRegistry) -> None:
    fetching = fetch(npi_numbers(3), nppes(registry))
    assert len(list(fetching)) == 3
    with pytest.raises(RuntimeError, match="once"):
        list(fetching)
