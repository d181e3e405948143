"""The emulated registry: starting it as a process of its own on loopback, and talking to it while it runs.

    with emulated_registry(latency=0.2, capacity=167) as registry:
        requests.get(registry.url.format(npi="1234567893"))
        registry.configure(capacity=80)
        registry.stats().refused

By hand: ``python -m npi_pipeline.testing.registry --port 8080 latency=0.2 capacity=167``.
Not here: what it can be told (``behaviour``) and how it serves (``registry_server``).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import http.client
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import orjson

from npi_pipeline.testing import child_process
from npi_pipeline.testing.behaviour import Behaviour
from npi_pipeline.testing.connection import Stats
from npi_pipeline.testing.registry_server import serve


class EmulatedRegistry:
    """A running emulated registry. ``url`` and ``affiliated_practices_url`` hold ``{npi}``, one for each format."""

    def __init__(self, process: subprocess.Popen[bytes], behaviour: Behaviour, port: int, control_port: int) -> None:
        self.behaviour = behaviour
        self.port = port
        self.process_id = process.pid
        self.url = f"http://127.0.0.1:{port}/api/?version=2.1&number={{npi}}"
        self.affiliated_practices_url = f"http://127.0.0.1:{port}/test?npi={{npi}}"
        self._process = process
        self._control_port = control_port

    def stats(self) -> Stats:
        """What has happened since it started."""
        counts = self._ask("GET", "/stats")
        counts["npis_by_requests"] = {int(requests): npis for requests, npis in counts["npis_by_requests"].items()}
        return Stats(**counts)

    def requests_by_npi(self) -> dict[str, int]:
        """How many requests there were about each NPI, refused ones too."""
        counts: dict[str, int] = self._ask("GET", "/requests_by_npi")
        return counts

    def configure(self, **changes: Any) -> None:
        """Change options of ``Behaviour``, from now on. Raises TypeError or ValueError for what cannot be."""
        self.behaviour = dataclasses.replace(self.behaviour, **changes)
        self._ask("POST", "/configure", json.dumps(changes))

    def planned_faults(self, npi: str) -> tuple[str, ...]:
        """What goes wrong with one NPI before its first good answer, in order."""
        return self.behaviour.planned_faults(npi)

    def close(self) -> None:
        """End it. Harmless when it has ended."""
        child_process.stop(self._process)

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._control_port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            return orjson.loads(connection.getresponse().read())


@contextlib.contextmanager
def emulated_registry(*, port: int = 0, **options: Any) -> Iterator[EmulatedRegistry]:
    """An emulated registry on loopback for the length of the block; ``options`` are those of ``Behaviour``.

    Raises TypeError or ValueError for options that cannot be, ServerError when it does not start.
    """
    behaviour = Behaviour(**options)
    arguments = ["--port", str(port), *(f"{name}={json.dumps(value)}" for name, value in options.items())]
    process, ready = child_process.start("npi_pipeline.testing.registry", arguments)
    registry = EmulatedRegistry(process, behaviour, **ready)
    try:
        yield registry
    finally:
        registry.close()


def main() -> None:
    """Serve until interrupted; one line of JSON on standard output says that it is ready, and where."""
    parser = argparse.ArgumentParser(
        prog="python -m npi_pipeline.testing.registry", description="The emulated registry."
    )
    parser.add_argument("--port", type=int, default=0, help="port on loopback; any free one by default")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when the standard input ends")
    parser.add_argument("options", nargs="*", type=_option, metavar="name=value", help="see Behaviour")
    arguments = parser.parse_args()
    if arguments.exit_with_parent:
        child_process.exit_with_parent()
    behaviour = Behaviour(**dict(arguments.options))
    try:
        _run(serve(behaviour, arguments.port, child_process.announce))
    except OSError as error:
        parser.exit(1, f"cannot serve: {error.strerror or error}; choose another --port\n")
    except KeyboardInterrupt:
        parser.exit(130)


def _option(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _run(main: Any) -> None:
    try:
        import uvloop
    except ImportError:  # it is not there on every system
        asyncio.run(main)
        return
    uvloop.run(main)


if __name__ == "__main__":
    main()
