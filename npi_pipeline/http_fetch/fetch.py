"""Ask the registry about every NPI of a list: the loop that lets threads make the scheduler's attempts.

    fetched = fetch(npis, Registry(FORMATS["nppes"], url), FetchSettings(threads=20))
    for outcome in fetched:
        ...
    print(fetched.report)

The loop runs in the consumer's own thread, between one outcome and the next: measured, that costs no more than a bare
pool of threads does (benchmarks/fetch_client.py), and a consumer that cannot keep up slows the asking down instead of
filling the memory. Leaving the loop in any way (``break``, an exception, Ctrl-C, ``stop``) breaks off what is in
flight.

Not here: what to ask next and when (``scheduler``), the threads (``workers``), the request (``client``), keeping the
outcomes (``journal``).
"""

from __future__ import annotations

import datetime as dt
import math
import random
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator

from npi_pipeline import clock
from npi_pipeline.http_fetch.attempt import Attempt
from npi_pipeline.http_fetch.circuit_breaker import Breaker, RegistryDownError
from npi_pipeline.http_fetch.limiter import Limiter
from npi_pipeline.http_fetch.progress import FetchProgress, FetchReport, Tally
from npi_pipeline.http_fetch.scheduler import Scheduler
from npi_pipeline.http_fetch.workers import Workers
from npi_pipeline.outcomes import NpiOutcome
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings

# Hours of a fetch are a few lines an hour.
_MAX_SILENCE_SECONDS = 300.0

__all__ = ["Fetch", "FetchProgress", "FetchReport", "RegistryDownError", "fetch"]


def fetch(
    npis: Iterable[str],
    registry: Registry,
    settings: FetchSettings | None = None,
    *,
    total: int | None = None,
    stop: threading.Event | None = None,
    on_progress: Callable[[FetchProgress], None] | None = None,
    progress_seconds: float = 5.0,
    caps: Callable[[], FetchSettings] | None = None,
) -> Fetch:
    """The outcomes of ``npis`` as they become known; nothing is asked before the iteration.

    ``npis`` may be any iterable of NPIs with a valid check digit, each once; it is consumed as the fetch goes on.
    ``total`` is their number, for the progress. Setting ``stop`` ends the iteration within a second or two.
    ``on_progress`` is called in the consumer's thread after ``progress_seconds``, then ever more seldom (after twice as
    long each time, five minutes at most), and once at the end. ``caps`` tells how many threads and requests per second
    are allowed now, where that changes: it is asked all the time, and answers at once.

    The iteration raises RegistryDownError when the registry stays down, after every outcome that there was.
    """
    return Fetch(
        npis,
        registry,
        settings or FetchSettings(),
        total=total,
        stop=stop or threading.Event(),
        on_progress=on_progress,
        progress_seconds=progress_seconds,
        caps=caps,
    )


class Fetch:
    """One fetch: iterate over it, once, for the outcomes; ``report`` tells at any time what was done so far."""

    def __init__(
        self,
        npis: Iterable[str],
        registry: Registry,
        settings: FetchSettings,
        *,
        total: int | None,
        stop: threading.Event,
        on_progress: Callable[[FetchProgress], None] | None,
        progress_seconds: float,
        caps: Callable[[], FetchSettings] | None,
    ) -> None:
        self._npis = npis
        self._registry = registry
        self._settings = settings
        self._total = total
        self._stop = stop
        self._on_progress = on_progress
        self._progress_seconds = progress_seconds
        self._caps = caps
        self._caps_then = settings
        self._limiter = Limiter(ceiling=settings.threads, requests_per_second=settings.requests_per_second)
        self._tally = Tally()

    @property
    def report(self) -> FetchReport:
        """What the fetch did until now, or until its end."""
        return self._tally.report(self._limiter.highest_limit)

    def __iter__(self) -> Generator[NpiOutcome, None, None]:
        """Ask, and yield every outcome as it becomes known."""
        if self._tally.is_started:
            raise RuntimeError("a fetch can be iterated over once; call fetch() again")
        self._tally.start()
        breaker = Breaker(patience=self._settings.down_after, now=time.monotonic())
        scheduler = Scheduler(
            self._npis,
            self._settings,
            limiter=self._limiter,
            breaker=breaker,
            rng=random.Random(),  # noqa: S311 - spreads requests, guards nothing
            now=time.monotonic(),
        )
        workers = Workers(self._registry, self._settings, lambda: self._limiter.seconds_to_send_again(time.monotonic()))
        try:
            for outcome in self._settle(scheduler, workers, breaker):
                self._tally.outcome(outcome)
                yield outcome
        finally:
            workers.stop()
            self._tally.stop()
            self._show_progress(scheduler)

    def _settle(self, scheduler: Scheduler, workers: Workers, breaker: Breaker) -> Iterator[NpiOutcome]:
        """Do what the scheduler says until every NPI is settled, or ``stop`` is set."""
        pause = self._progress_seconds
        show_at = time.monotonic() + pause
        while not self._stop.is_set():
            now = time.monotonic()
            if now >= show_at:
                pause = min(2 * pause, _MAX_SILENCE_SECONDS)
                show_at = now + pause
                self._show_progress(scheduler)
            step = math.inf if workers.are_held_up else scheduler.next(now)
            if step is None:
                return
            if isinstance(step, NpiOutcome):
                yield step
            elif isinstance(step, Attempt):
                self._tally.attempt(step)
                workers.make(step)
            else:
                self._keep_to_caps()
                workers.abort(scheduler.to_abort(now))
                for attempt, answer in workers.answers(until=step):
                    self._tally.answer(answer)
                    outcome = scheduler.answered(time.monotonic(), attempt, answer)
                    if outcome:
                        yield outcome
                self._give_up_if_down(breaker)

    def _keep_to_caps(self) -> None:
        caps = self._caps() if self._caps else self._caps_then
        if caps is self._caps_then:
            return
        self._caps_then = caps
        self._limiter.cap(ceiling=caps.threads, requests_per_second=caps.requests_per_second)

    def _give_up_if_down(self, breaker: Breaker) -> None:
        outage = breaker.outage(time.monotonic())
        if outage is None:
            return
        since = clock.utc_now() - dt.timedelta(seconds=outage.seconds)
        raise RegistryDownError(
            f"the registry at {self._registry.host} {outage.seen}; nothing usable came since {since:%Y-%m-%d %H:%M:%S} "
            f"UTC, last: {outage.reason}; see whether it is in maintenance and NPI_REGISTRY_URL is right, then run "
            "again: what was fetched is kept"
        )

    def _show_progress(self, scheduler: Scheduler) -> None:
        if self._on_progress is not None:
            self._on_progress(self._tally.progress(self._total, self._limiter, scheduler.waiting))
