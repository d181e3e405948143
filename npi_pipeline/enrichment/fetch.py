"""Ask the registry about every NPI of a list: the loop that lets threads make the scheduler's attempts.

    fetched = fetch(npis, Registry(FORMATS["nppes"], url), FetchSettings(threads=20))
    for outcome in fetched:
        ...
    print(fetched.report)

The consumer's own thread runs the loop; the worker threads only ever make a request. Leaving the loop by any way
(``break``, an exception, Ctrl-C, ``stop``) breaks off the requests in flight and drops what was not yet asked.

Not here: what to ask next and when (``scheduler``), the request (``client``), keeping the outcomes (``journal``).
"""

from __future__ import annotations

import collections
import datetime as dt
import math
import queue
import random
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator

from npi_pipeline.enrichment.breaker import Breaker, RegistryDownError
from npi_pipeline.enrichment.client import Answer, Client, Network, Sign
from npi_pipeline.enrichment.limiter import Limiter
from npi_pipeline.enrichment.outcomes import NpiOutcome, Outcome
from npi_pipeline.enrichment.progress import CountsByReason, FetchProgress, FetchReport, LatencyHistogram
from npi_pipeline.enrichment.registry import Registry
from npi_pipeline.enrichment.scheduler import Attempt, Scheduler, Settled
from npi_pipeline.settings import FetchSettings

__all__ = ["Fetch", "FetchProgress", "FetchReport", "RegistryDownError", "fetch"]

# The loop looks at ``stop`` at least this often.
_TICK = 0.25


def fetch(
    npis: Iterable[str],
    registry: Registry,
    settings: FetchSettings | None = None,
    *,
    total: int | None = None,
    stop: threading.Event | None = None,
    on_progress: Callable[[FetchProgress], None] | None = None,
    progress_seconds: float = 5.0,
) -> Fetch:
    """Outcomes of ``npis``, in the order in which they become known; nothing is asked before the iteration.

    ``npis`` may be any iterable of NPIs with a valid check digit, each once; it is consumed as the fetch goes on.
    ``total`` is their number, for the progress. Setting ``stop`` ends the iteration within a second or two.
    ``on_progress`` is called in the consumer's thread every ``progress_seconds``, and once at the end.

    The iteration raises RegistryDownError when the registry stays down; NPIs without an outcome then were not settled.
    """
    return Fetch(
        npis,
        registry,
        settings or FetchSettings(),
        total=total,
        stop=stop,
        on_progress=on_progress,
        progress_seconds=progress_seconds,
    )


class Fetch:
    """One fetch: iterate over it once for the outcomes; ``report`` tells at any time what was done so far."""

    def __init__(
        self,
        npis: Iterable[str],
        registry: Registry,
        settings: FetchSettings,
        *,
        total: int | None,
        stop: threading.Event | None,
        on_progress: Callable[[FetchProgress], None] | None,
        progress_seconds: float,
    ) -> None:
        self._npis = npis
        self._registry = registry
        self._settings = settings
        self._stop = stop or threading.Event()
        self._tally = _Tally(total, on_progress, progress_seconds)
        self._limiter = Limiter(ceiling=settings.threads, requests_per_second=settings.requests_per_second)

    @property
    def report(self) -> FetchReport:
        """What the fetch did until now, or until its end."""
        return self._tally.report(self._limiter)

    def __iter__(self) -> Generator[NpiOutcome]:
        """Ask, and yield every outcome as it becomes known."""
        breaker = Breaker(patience=self._settings.down_after, now=time.monotonic())
        scheduler = Scheduler(
            self._npis,
            self._settings,
            limiter=self._limiter,
            breaker=breaker,
            chance=random.Random(),  # noqa: S311 - spreads requests, guards nothing
            now=time.monotonic(),
        )
        workers = _Workers(self._registry, self._settings)
        self._tally.start()
        try:
            while not self._stop.is_set():
                step = scheduler.next(time.monotonic())
                if step is None:
                    return
                if isinstance(step, Settled):
                    yield self._tally.outcome(step)
                    continue
                if isinstance(step, Attempt):
                    self._tally.attempt(step)
                    workers.make(step)
                    continue
                for attempt, answer in workers.answers(until=step):
                    settled = scheduler.answered(time.monotonic(), attempt, answer)
                    self._tally.answer(answer)
                    if settled:
                        yield self._tally.outcome(settled)
                self._give_up_if_down(breaker)
                self._tally.progress(self._limiter, scheduler.waiting)
        finally:
            workers.stop()
            self._tally.stop(self._limiter, scheduler.waiting)

    def _give_up_if_down(self, breaker: Breaker) -> None:
        seen = breaker.given_up(time.monotonic())
        if seen:
            raise RegistryDownError(
                f"the registry at {self._registry.host} {seen}; see whether it is in maintenance and whether "
                "NPI_REGISTRY_URL is right, then run again: outcomes so far are kept"
            )


class _Workers:
    """Threads that make requests. They are daemons: none can keep the interpreter from exiting."""

    def __init__(self, registry: Registry, settings: FetchSettings) -> None:
        self._registry = registry
        self._settings = settings
        self._network = Network.from_environment(registry)
        self._to_make: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._made: queue.SimpleQueue[tuple[Attempt, Answer | BaseException]] = queue.SimpleQueue()
        self._in_flight: dict[Attempt, None] = {}
        self._clients: dict[Attempt, Client] = {}
        self._threads = 0

    def make(self, attempt: Attempt) -> None:
        """Have an idle thread make the attempt; start one if there is none."""
        self._in_flight[attempt] = None
        if self._threads < len(self._in_flight):
            self._threads += 1
            threading.Thread(target=self._work, name=f"npi-fetch-{self._threads}", daemon=True).start()
        self._to_make.put(attempt)

    def answers(self, until: float) -> Iterator[tuple[Attempt, Answer]]:
        """The answers that are there, or the first that comes before the time ``until``."""
        self._break_off_overdue()
        try:
            wait = min(until - time.monotonic(), _TICK)
            made = self._made.get(timeout=wait) if wait > 0 else self._made.get_nowait()
            while True:
                attempt, answer = made
                self._in_flight.pop(attempt, None)
                if isinstance(answer, BaseException):
                    raise answer
                yield attempt, answer
                made = self._made.get_nowait()
        except queue.Empty:
            return

    def stop(self) -> None:
        """Break off the requests in flight and let the threads end."""
        for _ in range(self._threads):
            self._to_make.put(None)
        for client in tuple(self._clients.values()):
            client.abort()

    def _break_off_overdue(self) -> None:
        # The oldest come first: a dictionary keeps the order of insertion.
        for attempt in tuple(self._in_flight):
            if time.monotonic() - attempt.sent_at < self._settings.request_timeout:
                return
            client = self._clients.get(attempt)
            if client is not None:
                client.abort()

    def _work(self) -> None:
        client: Client | None = None
        while (attempt := self._to_make.get()) is not None:
            try:
                client = client or Client(self._registry, self._settings, self._network)
                self._clients[attempt] = client
                answer = client.ask(attempt.npi)
                del self._clients[attempt]
            except BaseException as error:  # noqa: BLE001 - a defect: it has to reach the consumer, not to hang it
                self._made.put((attempt, error))
                return
            self._made.put((attempt, answer))
        if client is not None:
            client.close()


class _Tally:
    """What is counted on the way, for the progress and the report."""

    def __init__(self, total: int | None, on_progress: Callable[[FetchProgress], None] | None, every: float) -> None:
        self._total = total
        self._on_progress = on_progress
        self._every = every
        self._outcomes: collections.Counter[str] = collections.Counter({outcome.value: 0 for outcome in Outcome})
        self._done = 0
        self._attempts = 0
        self._refused = 0
        self._retries = CountsByReason()
        self._latency = LatencyHistogram()
        self._started = self._ended = math.nan
        self._shown: tuple[float, int] = (math.nan, 0)

    def start(self) -> None:
        self._started = time.monotonic()
        self._shown = (self._started, 0)

    def stop(self, limiter: Limiter, waiting: int) -> None:
        self._ended = time.monotonic()
        if self._on_progress:
            self._on_progress(self._snapshot(limiter, waiting))

    def attempt(self, attempt: Attempt) -> None:
        self._attempts += 1
        if attempt.number > 1:
            self._retries.add(attempt.verdict.reason or "")

    def answer(self, answer: Answer) -> None:
        self._latency.add(answer.seconds)
        self._refused += answer.sign is Sign.refused

    def outcome(self, settled: Settled) -> NpiOutcome:
        self._done += 1
        self._outcomes[settled.verdict.outcome.value] += 1
        return NpiOutcome(
            npi=settled.npi,
            verdict=settled.verdict,
            fetched_at=dt.datetime.now(dt.timezone.utc),
            attempts=settled.attempts,
            status=settled.status,
            body=settled.body,
        )

    def progress(self, limiter: Limiter, waiting: int) -> None:
        if self._on_progress and time.monotonic() - self._shown[0] >= self._every:
            snapshot = self._snapshot(limiter, waiting)
            self._shown = (time.monotonic(), self._done)
            self._on_progress(snapshot)

    def report(self, limiter: Limiter) -> FetchReport:
        ended = time.monotonic() if math.isnan(self._ended) else self._ended
        seconds = 0.0 if math.isnan(self._started) else ended - self._started
        return FetchReport(
            attempts=self._attempts,
            outcomes={outcome: count for outcome, count in self._outcomes.items() if count},
            retries=self._retries.as_dict(),
            refused=self._refused,
            latency={percent: self._latency.percentile(percent) for percent in (50, 90, 99, 100)},
            highest_limit=limiter.highest_limit,
            seconds=seconds,
            rate=self._done / seconds if seconds else 0.0,
        )

    def _snapshot(self, limiter: Limiter, waiting: int) -> FetchProgress:
        since, done_then = self._shown
        rate = (self._done - done_then) / max(time.monotonic() - since, 1e-9)
        left = None if self._total is None else self._total - self._done
        return FetchProgress(
            done=self._done,
            total=self._total,
            failed=self._outcomes[Outcome.failed.value],
            rate=rate,
            in_flight=limiter.in_flight,
            waiting=waiting,
            limit=limiter.limit,
            seconds_left=None if left is None or not rate else left / rate,
        )
