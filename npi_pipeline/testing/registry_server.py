"""The emulated registry's server: what it does with each request, and the counts of what it did.

Not here: starting it and talking to it (``registry``), the transport (``connection``), what it answers
(``providers``), when it misbehaves (``behaviour``) and how (``faults``).
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

import orjson

from npi_pipeline.testing import providers
from npi_pipeline.testing.behaviour import Behaviour
from npi_pipeline.testing.connection import Connection, Stats
from npi_pipeline.testing.faults import Lookup, play

_END_OF_HEAD = b"\r\n\r\n"
_NO_CRITERIA = b'{"Errors":[{"description":"No valid search criteria provided","field":"generic","number":"04"}]}'
# The code and the words are guesses: what the real registry says to a retired version is not on record.
_RETIRED_VERSION = b'{"Errors":[{"description":"Unsupported Version","field":"version","number":"02"}]}'


class RegistryServer:
    """One emulated registry: what it does with each request, and the counts of what it did."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.stats = Stats()
        self.requests_by_npi: dict[str, int] = {}
        self.in_work = 0
        self.connections: set[Connection] = set()
        self._loop = asyncio.get_running_loop()
        self._random = random.Random(behaviour.seed)
        self._tries_by_npi: dict[str, int] = {}
        self._last_second: collections.deque[float] = collections.deque()
        self._next_admission = 0.0
        self._server: asyncio.Server | None = None
        self._back_up: asyncio.TimerHandle | None = None
        self.port = 0

    async def listen(self, port: int) -> None:
        """Accept connections on loopback; 0 takes any free port."""
        self._server = await self._loop.create_server(
            lambda: Connection(self), "127.0.0.1", port, backlog=4096, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def behave(self, behaviour: Behaviour) -> None:
        """Behave otherwise from now on; what is in work is answered as it was going to be."""
        was_closed = self.behaviour.down == "closed"
        self.behaviour = behaviour
        if self._back_up:
            self._back_up.cancel()
            self._back_up = None
        if behaviour.down == "closed" and not was_closed:
            self._close()
        if was_closed and behaviour.down != "closed":
            await self.listen(self.port)
        if behaviour.down and behaviour.down_seconds:
            up = dataclasses.replace(behaviour, down="", down_seconds=0.0)
            self._back_up = self._loop.call_later(
                behaviour.down_seconds, lambda: self._loop.create_task(self.behave(up))
            )

    def receive(self, connection: Connection, method: bytes, target: str) -> None:
        """Take one request; ``connection`` is answered now or later."""
        stats = self.stats
        stats.requests += 1
        stats.in_flight += 1
        stats.peak_in_flight = max(stats.peak_in_flight, stats.in_flight)
        self._count_second()
        path, _, query = target.partition("?")
        parameters = dict(pair.partition("=")[::2] for pair in query.split("&")) if query else {}
        route = _ROUTES.get(path)
        if route is None or method != b"GET":
            stats.bad_requests += 1
            connection.respond(404 if route is None else 405, b"")
            return
        route(self, connection, parameters)

    def look_up(self, connection: Connection, npi: str, make_answer: Callable[[str, Behaviour], bytes]) -> None:
        """Admit or refuse the request about one NPI, and answer it, well or badly, after its latency."""
        self.requests_by_npi[npi] = self.requests_by_npi.get(npi, 0) + 1
        behaviour = self.behaviour
        if behaviour.down == "refusing" or (behaviour.max_in_flight and self.in_work >= behaviour.max_in_flight):
            self._refuse(connection, 503)
            return
        if not self._is_within_capacity():
            self._refuse(connection, behaviour.refusal_status)
            return
        self.in_work += 1
        connection.admitted = True
        lookup = Lookup(connection, npi, make_answer, behaviour, self.port)
        fault = self._fault_of_next_try(npi)
        if fault is None:
            connection.later(self._latency(), functools.partial(self._answer, lookup))
            return
        self.stats.faults[fault] = self.stats.faults.get(fault, 0) + 1
        connection.later(self._latency(), functools.partial(play, fault, lookup))

    def _answer(self, lookup: Lookup) -> None:
        self.stats.answers += 1
        lookup.connection.respond(200, lookup.make_answer(lookup.npi, lookup.behaviour))

    def _refuse(self, connection: Connection, status: int) -> None:
        self.stats.refused += 1
        behaviour = self.behaviour
        respond = functools.partial(
            connection.respond, status, b'{"message":"Too Many Requests"}', headers=behaviour.retry_after_header()
        )
        connection.later(behaviour.refusal_latency, respond)

    def _is_within_capacity(self) -> bool:
        # The generic cell rate algorithm: a bucket of tokens without a timer that fills it.
        behaviour = self.behaviour
        if not behaviour.capacity:
            return True
        now = self._loop.time()
        interval = 1 / behaviour.capacity
        burst = behaviour.burst or max(1, round(behaviour.capacity * 0.05))
        next_admission = max(self._next_admission, now)
        if next_admission - now > (burst - 1) * interval + 1e-9:
            return False
        self._next_admission = next_admission + interval
        return True

    def _latency(self) -> float:
        # A draw costs more than the rest of an answer without latency.
        if not self.behaviour.latency:
            return 0.0
        return self.behaviour.latency_of(self.in_work, self._random.gauss(0, 1))

    def _fault_of_next_try(self, npi: str) -> str | None:
        if not self.behaviour.fault_share and not self.behaviour.error_share:
            return None
        number = self._tries_by_npi.get(npi, 0)
        self._tries_by_npi[npi] = number + 1
        return self.behaviour.fault_of_try(npi, number)

    def _count_second(self) -> None:
        now = self._loop.time()
        segments = self._last_second
        segments.append(now)
        while segments[0] <= now - 1:
            segments.popleft()
        self.stats.peak_requests_in_a_second = max(self.stats.peak_requests_in_a_second, len(segments))

    def _close(self) -> None:
        if self._server:
            self._server.close()
        for connection in tuple(self.connections):
            connection.abort()

    def current_stats(self) -> Stats:
        """The counts up to now."""
        counts = collections.Counter(self.requests_by_npi.values())
        return dataclasses.replace(
            self.stats, npis=len(self.requests_by_npi), npis_by_requests=dict(sorted(counts.items()))
        )


def _nppes(npi: str, behaviour: Behaviour) -> bytes:
    return providers.answer(npi, behaviour.seed, behaviour.era, behaviour.days)


def _affiliated_practices(npi: str, behaviour: Behaviour) -> bytes:
    return providers.affiliated_practices_answer(npi, behaviour.seed)


def _route_nppes(server: RegistryServer, connection: Connection, parameters: dict[str, str]) -> None:
    npi = unquote_plus(parameters.get("number", ""))
    if parameters.get("version") != "2.1":
        connection.respond(200, _RETIRED_VERSION)
    elif not npi:
        connection.respond(200, _NO_CRITERIA)
    else:
        server.look_up(connection, npi, _nppes)


def _route_affiliated_practices(server: RegistryServer, connection: Connection, parameters: dict[str, str]) -> None:
    server.look_up(connection, unquote_plus(parameters.get("npi", "")), _affiliated_practices)


def _route_loop(server: RegistryServer, connection: Connection, _parameters: dict[str, str]) -> None:
    server.stats.followed_redirects += 1
    connection.respond(302, b"", headers=b"Location: /loop\r\n")


def _route_elsewhere(server: RegistryServer, connection: Connection, parameters: dict[str, str]) -> None:
    server.stats.followed_redirects += 1
    connection.respond(200, _nppes(parameters.get("number", ""), server.behaviour))


_ROUTES: dict[str, Callable[[RegistryServer, Connection, dict[str, str]], None]] = {
    "/api/": _route_nppes,
    "/api": _route_nppes,
    "/test": _route_affiliated_practices,
    "/loop": _route_loop,
    "/elsewhere": _route_elsewhere,
}


async def serve(behaviour: Behaviour, port: int, ready: Callable[..., None]) -> None:
    """Serve until cancelled; ``ready`` is called with the ports of the registry and of its controls."""
    registry = RegistryServer(dataclasses.replace(behaviour, down=""))
    await registry.listen(port)
    await registry.behave(behaviour)
    controls = await asyncio.start_server(functools.partial(_control, registry), "127.0.0.1", 0)
    ready(port=registry.port, control_port=controls.sockets[0].getsockname()[1])
    await controls.serve_forever()


async def _control(registry: RegistryServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(_END_OF_HEAD)).decode("latin-1")
    length = next((int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
    body = await reader.readexactly(length)
    reply = await _obey(registry, head.split(" ")[1], body)
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(reply), reply))
    await writer.drain()
    writer.close()


async def _obey(registry: RegistryServer, path: str, body: bytes) -> bytes:
    if path == "/configure":
        changes: dict[str, Any] = orjson.loads(body)
        await registry.behave(dataclasses.replace(registry.behaviour, **changes))
        return b"{}"
    if path == "/requests_by_npi":
        return orjson.dumps(registry.requests_by_npi)
    return orjson.dumps(registry.current_stats(), option=orjson.OPT_NON_STR_KEYS)
