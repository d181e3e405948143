"""The scheduler under a fake clock: hours of a fetch in milliseconds, with whatever answers may come."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from npi_pipeline.enrichment.answer import Answer, Sign
from npi_pipeline.enrichment.breaker import Breaker
from npi_pipeline.enrichment.limiter import Limiter
from npi_pipeline.enrichment.outcomes import Outcome, Verdict
from npi_pipeline.enrichment.scheduler import Attempt, Scheduler, Settled
from npi_pipeline.settings import FetchSettings

FOUND = Answer(Verdict(Outcome.found), Sign.good, 200, "{}")
NOT_FOUND = Answer(Verdict(Outcome.not_found, "unknown"), Sign.good, 200, "{}")
WRONG = Answer(Verdict(Outcome.failed, "HTTP 404 Not Found"), Sign.trouble, 404)
BROKEN = Answer(Verdict(Outcome.failed, "reading timed out", passing=True), Sign.trouble)
REFUSED = Answer(Verdict(Outcome.failed, "HTTP 429 Too Many Requests", passing=True), Sign.refused, 429)
ASKED_TO_WAIT = dataclasses.replace(REFUSED, retry_after=7.5)
ANSWERS = (FOUND, NOT_FOUND, WRONG, BROKEN, REFUSED, ASKED_TO_WAIT)


@dataclasses.dataclass
class Run:
    """What a simulated fetch did."""

    settled: list[Settled] = dataclasses.field(default_factory=list)
    asked: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    most_in_flight: int = 0
    most_taken_ahead: int = 0
    ended_at: float = 0.0
    in_flight: int = 0


def simulate(
    count: int,
    settings: FetchSettings,
    answer_to: Callable[[int, str], tuple[float, Answer]],
    *,
    interrupt_after: int | None = None,
    seed: int = 0,
    clock: list[float] | None = None,
) -> Run:
    """Drive a scheduler over ``count`` NPIs; the n-th request gets ``answer_to(n, npi)``: its seconds and answer.

    The time of each request is put into ``clock`` before it is answered.
    """
    run = Run()
    taken = 0

    def npis() -> Iterator[str]:
        nonlocal taken
        for number in range(count):
            taken += 1
            yield f"npi-{number}"

    scheduler = Scheduler(
        npis(),
        settings,
        limiter=Limiter(ceiling=settings.threads, requests_per_second=settings.requests_per_second),
        breaker=Breaker(patience=settings.down_after, now=0.0),
        chance=random.Random(seed),
        now=0.0,
    )
    now = 0.0
    answers: list[tuple[float, int, Attempt, Answer]] = []
    for step_number in itertools.count():
        step = scheduler.next(now)
        if step is None or step_number == interrupt_after:
            break
        if isinstance(step, Settled):
            run.settled.append(step)
        elif isinstance(step, Attempt):
            if clock is not None:
                clock.append(now)
            seconds, answer = answer_to(len(run.asked), step.npi)
            run.asked.append((now, step.npi))
            heapq.heappush(answers, (now + seconds, len(run.asked), step, answer))
            run.most_in_flight = max(run.most_in_flight, len(answers))
        elif answers and answers[0][0] <= step:
            now, _, attempt, answer = heapq.heappop(answers)
            settled = scheduler.answered(now, attempt, answer)
            run.settled.extend([settled] if settled else [])
        else:
            assert math.isfinite(step), "it waits for an answer, and nothing is in flight"
            assert step > now, "it waits for a time that has passed"
            now = step
        run.most_taken_ahead = max(run.most_taken_ahead, taken - len(run.settled) - len(answers) - scheduler.waiting)
    run.ended_at = now
    run.in_flight = len(answers)
    return run


arbitrary_settings = st.builds(
    FetchSettings,
    threads=st.integers(1, 8),
    max_retries=st.integers(0, 5),
    wait=st.sampled_from([0.0, 0.5, 20.0]),
    max_wait=st.sampled_from([0.0, 3.0, 60.0]),
    npi_deadline=st.sampled_from([5.0, 60.0]),
    run_deadline=st.sampled_from([1.0, 40.0, 100_000.0]),
    requests_per_second=st.sampled_from([0.0, 3.0]),
    pre_request_sleep_range=st.sampled_from([0.0, 4.0]),
)
arbitrary_answers = st.lists(
    st.tuples(st.sampled_from([0.05, 0.2, 30.0]), st.sampled_from(ANSWERS)), min_size=1, max_size=40
)


@given(arbitrary_settings, arbitrary_answers, st.integers(0, 60), st.integers(0, 5))
@hypothesis_settings(max_examples=150, deadline=None)
def test_every_npi_is_settled_once_within_its_bounds_whatever_the_answers(
    settings: FetchSettings, answers: list[tuple[float, Answer]], count: int, seed: int
) -> None:
    run = simulate(count, settings, lambda number, _: answers[number % len(answers)], seed=seed)

    assert Counter(settled.npi for settled in run.settled) == Counter(f"npi-{number}" for number in range(count))
    asked = Counter(npi for _, npi in run.asked)
    assert all(settled.attempts == asked[settled.npi] for settled in run.settled)
    assert all(requests <= settings.max_retries + 1 for requests in asked.values())
    assert run.most_in_flight <= settings.threads
    assert all(when < settings.run_deadline for when, _ in run.asked)


@given(arbitrary_settings, arbitrary_answers, st.integers(0, 60), st.integers(0, 300))
@hypothesis_settings(max_examples=100, deadline=None)
def test_an_interrupted_fetch_has_settled_no_npi_twice_and_holds_none_back(
    settings: FetchSettings, answers: list[tuple[float, Answer]], count: int, steps: int
) -> None:
    run = simulate(count, settings, lambda number, _: answers[number % len(answers)], interrupt_after=steps)

    settled = Counter(settled.npi for settled in run.settled)
    assert max(settled.values(), default=1) == 1
    # Not more than one NPI is taken from the list before there is room to ask about it.
    assert run.most_taken_ahead <= 1


@given(arbitrary_settings, st.lists(st.sampled_from([BROKEN, REFUSED, ASKED_TO_WAIT]), min_size=1, max_size=5))
@hypothesis_settings(max_examples=30, deadline=None)
def test_loop_till_done_ends_at_the_deadline_when_nothing_succeeds(
    settings: FetchSettings, answers: list[Answer]
) -> None:
    settings = settings.model_copy(update={"loop_till_done": True, "run_deadline": 40.0})
    run = simulate(5, settings, lambda number, _: (0.2, answers[number % len(answers)]))

    assert len(run.settled) == 5
    assert all(settled.verdict.outcome is Outcome.failed and settled.verdict.passing for settled in run.settled)
    assert settings.run_deadline <= run.ended_at <= settings.run_deadline + 0.2


def test_loop_till_done_repeats_beyond_max_retries() -> None:
    settings = FetchSettings(loop_till_done=True, max_retries=1, npi_deadline=1)
    run = simulate(1, settings, lambda number, _: (0.2, FOUND if number == 20 else BROKEN))

    assert [settled.verdict.outcome for settled in run.settled] == [Outcome.found]
    assert run.settled[0].attempts == 21


def test_a_pause_that_the_registry_asks_for_holds_everybody() -> None:
    asked_to_wait_at = 5

    def answer_to(number: int, _: str) -> tuple[float, Answer]:
        return 0.1, ASKED_TO_WAIT if number == asked_to_wait_at else FOUND

    run = simulate(100, FetchSettings(threads=2), answer_to)

    pause_begins = run.asked[asked_to_wait_at][0] + 0.1
    assert not [when for when, _ in run.asked if pause_begins < when < pause_begins + 7.5]
    assert len(run.settled) == 100


def test_backoff_doubles_with_full_jitter_up_to_the_longest_wait() -> None:
    waits: list[list[float]] = [[] for _ in range(6)]
    for seed in range(200):
        run = simulate(1, FetchSettings(wait=1, max_wait=4, max_retries=6), lambda *_: (0.0, BROKEN), seed=seed)
        times = [when for when, _ in run.asked]
        for repeat, (before, after) in enumerate(itertools.pairwise(times)):
            waits[repeat].append(after - before)

    for repeat, longest in enumerate([1, 2, 4, 4, 4, 4]):
        assert 0.9 * longest < max(waits[repeat]) <= longest
        assert min(waits[repeat]) < 0.1 * longest


def test_an_npi_is_not_kept_waiting_beyond_its_deadline() -> None:
    run = simulate(1, FetchSettings(npi_deadline=10, max_retries=1000), lambda *_: (1.0, BROKEN))

    assert run.settled[0].verdict == BROKEN.verdict
    assert run.ended_at <= 11


def test_what_was_never_asked_before_the_run_deadline_says_so() -> None:
    run = simulate(10, FetchSettings(threads=1, run_deadline=2.5), lambda *_: (1.0, FOUND))

    outcomes = Counter((settled.verdict.outcome, settled.attempts, settled.verdict.reason) for settled in run.settled)
    assert outcomes == {
        (Outcome.found, 1, None): 3,
        (Outcome.failed, 0, "not asked before NPI_RUN_DEADLINE passed"): 7,
    }


def test_npis_that_always_fail_do_not_look_like_an_outage_when_the_list_is_done() -> None:
    settings = FetchSettings(max_retries=100, wait=0.1, max_wait=0.1)
    run = simulate(500, settings, lambda _, npi: (0.1, BROKEN if npi.endswith("7") else FOUND))

    assert Counter(settled.attempts for settled in run.settled) == {1: 450, 101: 50}
    # With the breaker open there would be a request every fifteen seconds.
    assert run.ended_at < 1000


def test_an_outage_is_probed_with_one_request_at_a_time_and_its_end_is_found() -> None:
    clock: list[float] = []

    def answer_to(number: int, _: str) -> tuple[float, Answer]:
        is_down = 5 < clock[-1] < 65
        return 0.05, BROKEN if is_down else FOUND

    settings = FetchSettings(threads=20)
    run = simulate(5000, settings, answer_to, clock=clock)

    assert all(settled.verdict.outcome is Outcome.found for settled in run.settled)
    asked_when_down = [when for when, _ in run.asked if 5 < when < 65]
    assert len(asked_when_down) < 80
    assert max(run.asked)[0] < 65 + 15 + 60


def test_a_final_failure_is_not_repeated() -> None:
    run = simulate(3, FetchSettings(), lambda *_: (0.1, WRONG))

    assert [settled.attempts for settled in run.settled] == [1, 1, 1]


def test_requests_per_second_is_never_exceeded() -> None:
    run = simulate(100, FetchSettings(requests_per_second=5, threads=50), lambda *_: (0.3, FOUND))

    times = [when for when, _ in run.asked]
    # Within any second: five, and the one that opens it.
    assert max(sum(1 for when in times if start <= when < start + 1) for start in times) <= 6
    assert run.ended_at == pytest.approx(99 / 5 + 0.3, abs=0.1)


def test_first_requests_wait_a_random_time_in_a_queue_when_asked_to() -> None:
    run = simulate(200, FetchSettings(pre_request_sleep_range=15, threads=200), lambda *_: (0.0, FOUND))

    times = [when for when, _ in run.asked]
    assert max(times) > 10
    assert min(times) < 5
    assert len(run.settled) == 200
