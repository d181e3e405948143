"""A registry over HTTP that knows some NPIs, and may lose its memory. Not here: days recorded with it (the tests)."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator

from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline_tests.scripted_registry import ScriptedRegistry, scripted_registry

NOT_FOUND = b'{"result_count":0,"results":[]}'
DEACTIVATED = b'{"Errors":[{"description":"CMS deactivated the NPI","field":"number","number":"15"}]}'


def record_of(npi: str) -> bytes:
    """The record of an NPI that is known, in the format ``nppes``."""
    return json.dumps({"result_count": 1, "results": [{"number": npi, "basic": {"last_name": f"N{npi}"}}]}).encode()


class Memory(dict[str, bytes]):
    """What is answered by NPI. ``says``: to everybody else, and to all whose turn is in ``lost`` (the first is 0)."""

    def __init__(self, says: bytes = NOT_FOUND) -> None:
        super().__init__()
        self.says = says
        self.asked: list[str] = []
        self.lost: range = range(0)
        self._guard = threading.Lock()

    def know(self, *npis: str) -> None:
        """Know these NPIs from now on."""
        self.update({npi: record_of(npi) for npi in npis})

    def __getitem__(self, npi: str) -> bytes:
        with self._guard:
            self.asked.append(npi)
            return self.says if len(self.asked) - 1 in self.lost else self.get(npi, self.says)


class MoodyRegistry:
    """``registry`` is whom a day asks, ``memory`` what it knows."""

    def __init__(self, scripted: ScriptedRegistry, format_name: str = "nppes") -> None:
        self.memory = Memory()
        scripted.answers = self.memory
        self.registry = Registry(FORMATS[format_name], scripted.url)


@contextlib.contextmanager
def moody_registry(format_name: str = "nppes") -> Iterator[MoodyRegistry]:
    """A registry on loopback for the length of the block."""
    with scripted_registry() as scripted:
        yield MoodyRegistry(scripted, format_name)
