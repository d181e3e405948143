"""How fast the emulated registry is, against the same answers from uvicorn with a bare ASGI application.

A client of one thread keeps 16 connections busy. What counts is the server's CPU time per request; the rate depends
on who else uses the machine. Run: ``python benchmarks/emulated_registry.py [requests]``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from npi_pipeline.testing.providers import answer, npi_numbers
from npi_pipeline.testing.registry import emulated_registry

CONNECTIONS = 16
ROUNDS = 3
CASES: dict[str, dict[str, Any]] = {
    "no latency, no faults": {},
    "latency of 5 ms": {"latency": 0.005},
    "a fault plan and a capacity": {"fault_share": 1e-9, "error_share": 1e-9, "capacity": 1e6},
}


async def application(scope: dict[str, Any], _receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """The same answers as an ASGI application: what the bare transport is compared with."""
    npi = scope["query_string"].rpartition(b"=")[2].decode()
    body = answer(npi)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def drive(port: int, npis: list[str]) -> None:
    """Ask for every NPI, one request in flight on each connection."""
    left = iter(npis)
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for first in itertools.islice(left, CONNECTIONS):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(request(first))
            selector.register(connection, selectors.EVENT_READ, bytearray())
        while selector.get_map():
            for key, _ in selector.select():
                connection, received = cast("socket.socket", key.fileobj), key.data
                received += connection.recv(1 << 20)
                if not is_whole(received):
                    continue
                received.clear()
                npi = next(left, None)
                if npi is None:
                    selector.unregister(connection)
                else:
                    connection.sendall(request(npi))


def request(npi: str) -> bytes:
    headers = "Host: 127.0.0.1\r\nAccept: */*\r\nUser-Agent: python-requests/2.34\r\nAccept-Encoding: gzip, deflate\r\n"
    return f"GET /api/?version=2.1&number={npi} HTTP/1.1\r\n{headers}\r\n".encode()


def is_whole(received: bytearray) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    return bool(end) and len(body) == int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def uvicorn() -> Iterator[tuple[int, int]]:
    """A uvicorn with ``application``; yields its port and process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--no-access-log", "--log-level", "error", "--lifespan", "off"]
    folder, module = Path(__file__).parent, f"{Path(__file__).stem}:application"
    process = subprocess.Popen([sys.executable, "-m", "uvicorn", "--app-dir", folder, module, *options])
    try:
        while not is_listening(port):
            time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def emulated(options: dict[str, Any]) -> Iterator[tuple[int, int]]:
    with emulated_registry(**options) as registry:
        yield registry.port, registry.process_id


def measure(server: contextlib.AbstractContextManager[tuple[int, int]], npis: list[str]) -> tuple[float, float]:
    """Requests per second, and the server's CPU microseconds a request."""
    with server as (port, process):
        cpu, started = cpu_seconds(process), time.perf_counter()
        drive(port, npis)
        return len(npis) / (time.perf_counter() - started), (cpu_seconds(process) - cpu) / len(npis) * 1e6


def main() -> None:
    npis = list(npi_numbers(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
    started = time.process_time()
    for npi in npis:
        answer(npi)
    print(f"making an answer: {(time.process_time() - started) / len(npis) * 1e6:.0f} us")
    results: dict[str, list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        for name, options in CASES.items():
            results.setdefault(name, []).append(measure(emulated(options), npis))
        results.setdefault("uvicorn, no latency, no faults", []).append(measure(uvicorn(), npis))
    print(f"{'':32} requests/s  CPU us/request (medians of {ROUNDS}, {len(npis)} requests, {CONNECTIONS} connections)")
    for name, measured in results.items():
        rate, cpu = (statistics.median(values) for values in zip(*measured, strict=True))
        print(f"{name:32} {rate:10,.0f} {cpu:10.0f}")


if __name__ == "__main__":
    main()
