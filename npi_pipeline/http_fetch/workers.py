"""Threads that make requests, each with a client of its own.

They only ever make a request: what to ask and when is decided elsewhere (``scheduler``, ``fetch``), and a thread that
has nothing to ask waits for an attempt. All are daemons, so none keeps the interpreter from exiting.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from npi_pipeline.http_fetch.answer import Answer
from npi_pipeline.http_fetch.attempt import Attempt
from npi_pipeline.http_fetch.body_memory import BodyMemory, BodyShare
from npi_pipeline.http_fetch.client import Client
from npi_pipeline.http_fetch.network import Network
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings

# ``answers`` returns at least this often, with or without answers.
_TICK = 0.25
# What is in flight ends almost at once when it is broken off; what is still connecting is left behind.
_SECONDS_TO_STOP = 1.0
_SECONDS_TO_JOIN = 0.05


class Workers:
    """As many threads as there are requests in flight at most, started when they are first needed.

    Its methods are for one thread, the one that runs the fetch.
    """

    def __init__(
        self, registry: Registry, settings: FetchSettings, seconds_to_send_again: Callable[[], float] = float
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._seconds_to_send_again = seconds_to_send_again
        self._network = Network.from_environment(registry)
        self._to_make: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._made: queue.SimpleQueue[tuple[Attempt, BodyShare, Answer | BaseException]] = queue.SimpleQueue()
        self._in_flight: dict[Attempt, None] = {}
        self._bodies = BodyMemory()
        self._asking: dict[Attempt, Client] = {}
        # Held while one is broken off, so that it is still that one: its client may be at the next one otherwise.
        self._asking_lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._is_stopped = False

    @property
    def are_held_up(self) -> bool:
        """Whether bodies that were read already have to be taken before more are asked for."""
        return self._bodies.is_used_up

    def make(self, attempt: Attempt) -> None:
        """Have an idle thread make the attempt; start one if there is none."""
        self._in_flight[attempt] = None
        if len(self._threads) < len(self._in_flight):
            name = f"npi-fetch-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._to_make.put(attempt)

    def answers(self, until: float) -> Iterator[tuple[Attempt, Answer]]:
        """The answers that are there, or the first that comes before the time ``until``, or none.

        The body of an answer counts as taken when the next one is asked for.
        """
        wait = min(until - time.monotonic(), _TICK)
        try:
            made = self._made.get(timeout=wait) if wait > 0 else self._made.get_nowait()
            while True:
                attempt, share, answer = made
                del self._in_flight[attempt]
                if isinstance(answer, BaseException):
                    raise answer
                yield attempt, answer
                share.shrink(0)
                made = self._made.get_nowait()
        except queue.Empty:
            return

    def abort(self, attempts: Iterable[Attempt]) -> None:
        """Break off what is in flight; it is among the answers soon, as a failure."""
        for attempt in attempts:
            with self._asking_lock:
                client = self._asking.get(attempt)
                if client is not None:
                    client.abort()
        self._bodies.wake()

    def stop(self) -> None:
        """Break off the requests in flight and end the threads; within a second, whatever the registry does."""
        self._is_stopped = True
        for _ in self._threads:
            self._to_make.put(None)
        stop_waiting = time.monotonic() + _SECONDS_TO_STOP
        for thread in self._threads:
            while thread.is_alive() and time.monotonic() < stop_waiting:
                # Again and again: a request may just have begun when the others were broken off.
                for client in tuple(self._asking.values()):
                    client.abort()
                self._bodies.wake()
                thread.join(_SECONDS_TO_JOIN)

    def _new_client(self) -> Client:
        return Client(self._registry, self._settings, self._network, self._seconds_to_send_again)

    def _work(self) -> None:
        client: Client | None = None
        while (attempt := self._to_make.get()) is not None and not self._is_stopped:
            share = BodyShare(self._bodies)
            try:
                client = client or self._new_client()
                self._asking[attempt] = client
                answer: Answer | BaseException = client.ask(attempt.npi, share)
            except BaseException as error:  # noqa: BLE001 - a defect of ours: the consumer must see it, not wait
                answer = error
            with self._asking_lock:
                self._asking.pop(attempt, None)
            self._made.put((attempt, share, answer))
        if client is not None:
            client.close()
