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

from npi_pipeline.http_fetch.answer import Answer, Signal
from npi_pipeline.http_fetch.attempt import Attempt
from npi_pipeline.http_fetch.circuit_breaker import Breaker
from npi_pipeline.http_fetch.limiter import Limiter
from npi_pipeline.http_fetch.scheduler import Scheduler
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.settings import FetchSettings

FOUND = Answer(Verdict(Outcome.found), Signal.good, 200, "{}")
NOT_FOUND = Answer(Verdict(Outcome.not_found, "unknown"), Signal.good, 200, "{}")
WRONG = Answer(Verdict(Outcome.failed, "HTTP 404 Not Found"), Signal.error, 404)
BROKEN = Answer(Verdict(Outcome.failed, "reading timed out", retryable=True), Signal.error)
REFUSED = Answer(Verdict(Outcome.failed, "HTTP 429 Too Many Requests", retryable=True), Signal.throttled, 429)
ASKED_TO_WAIT = dataclasses.replace(REFUSED, retry_after=7.5)
UNAVAILABLE = Answer(Verdict(Outcome.failed, "HTTP 503 Service Unavailable", retryable=True), Signal.error, 503)
BLOCKED = Answer(Verdict(Outcome.failed, "HTTP 403 Forbidden", retryable=True), Signal.throttled, 403)
ANSWERS = (FOUND, NOT_FOUND, WRONG, BROKEN, REFUSED, ASKED_TO_WAIT, BLOCKED)
TICK = 0.25


@dataclasses.dataclass
class Run:
    """What a simulated fetch did."""

    settled: list[NpiOutcome] = dataclasses.field(default_factory=list)
    asked: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    most_in_flight: int = 0
    most_taken_ahead: int = 0
    ended_at: float = 0.0
    in_flight: int = 0
    answered: list[tuple[str, Answer]] = dataclasses.field(default_factory=list)
    aborted: list[tuple[float, str]] = dataclasses.field(default_factory=list)


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
        rng=random.Random(seed),
        now=0.0,
    )
    now = 0.0
    answers: list[tuple[float, int, Attempt, Answer]] = []
    for step_number in itertools.count():
        step = scheduler.next(now)
        if step is None or step_number == interrupt_after:
            break
        if isinstance(step, NpiOutcome):
            run.settled.append(step)
        elif isinstance(step, Attempt):
            if clock is not None:
                clock.append(now)
            seconds, answer = answer_to(len(run.asked), step.npi)
            run.asked.append((now, step.npi))
            answer = dataclasses.replace(answer, seconds=seconds)
            heapq.heappush(answers, (now + seconds, len(run.asked), step, answer))
            run.most_in_flight = max(run.most_in_flight, len(answers))
        else:
            assert step > now, "it waits for a time that has passed"
            assert answers or math.isfinite(step), "it waits for an answer, and nothing is in flight"
            # As the loop of the fetch does: it looks for what has taken too long.
            until = min(step, now + TICK) if answers else step
            if answers and answers[0][0] <= until:
                now, _, attempt, answer = heapq.heappop(answers)
                done = [(attempt, answer)]
            else:
                now = until
                aborted = list(scheduler.to_abort(now))
                run.aborted.extend((now, attempt.npi) for attempt in aborted)
                answers = [entry for entry in answers if entry[2] not in aborted]
                heapq.heapify(answers)
                done = [(attempt, dataclasses.replace(BROKEN, seconds=now - attempt.sent_at)) for attempt in aborted]
            for attempt, answer in done:
                run.answered.append((attempt.npi, answer))
                settled = scheduler.answered(now, attempt, answer)
                run.settled.extend([settled] if settled else [])
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
    repeats = Counter(
        npi for npi, answer in run.answered if answer.signal is not Signal.throttled or answer.status == 403
    )
    assert all(requests <= settings.max_retries + 1 for requests in repeats.values())
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
    assert all(settled.verdict.outcome is Outcome.failed and settled.verdict.retryable for settled in run.settled)
    assert settings.run_deadline <= run.ended_at <= settings.run_deadline + 0.2


def test_loop_till_done_repeats_beyond_max_retries() -> None:
    settings = FetchSettings(loop_till_done=True, max_retries=1, npi_deadline=1)
    run = simulate(1, settings, lambda number, _: (0.2, FOUND if number == 20 else BROKEN))

    assert [settled.verdict.outcome for settled in run.settled] == [Outcome.found]
    assert run.settled[0].attempts == 21


def test_a_pause_that_one_npi_is_asked_for_is_its_own() -> None:
    asked_to_wait_at = 50

    def answer_to(number: int, _: str) -> tuple[float, Answer]:
        return 0.1, ASKED_TO_WAIT if number == asked_to_wait_at else FOUND

    run = simulate(200, FetchSettings(threads=2), answer_to)

    begins, waiting = run.asked[asked_to_wait_at]
    assert max(later - earlier for (earlier, _), (later, _) in itertools.pairwise(run.asked[:200])) < 1
    again = next(when for when, npi in run.asked[asked_to_wait_at + 1 :] if npi == waiting)
    assert again >= begins + 0.1 + 7.5
    assert len(run.settled) == 200


def test_a_pause_that_npis_in_a_row_are_asked_for_holds_everybody() -> None:
    clock: list[float] = []

    def answer_to(_number: int, _: str) -> tuple[float, Answer]:
        is_closed = 3 < clock[-1] < 10
        return 0.1, dataclasses.replace(REFUSED, retry_after=10 - clock[-1]) if is_closed else FOUND

    run = simulate(3000, FetchSettings(threads=20), answer_to, clock=clock)

    # What is in flight when it closes is refused, and then nobody asks until the time that it named.
    assert len([when for when, _ in run.asked if 3 < when < 10]) <= 25
    assert not [when for when, _ in run.asked if 3.5 < when < 10]
    assert all(settled.verdict.outcome is Outcome.found for settled in run.settled)


def failing_at_first(tries: int, failure: Answer, seed: int = 0) -> Run:
    """Of 900 NPIs 15 % fail ``tries`` times each, and all others are answered well."""
    rng = random.Random(seed)
    left = {f"npi-{number}": tries * (rng.random() < 0.15) for number in range(900)}

    def answer_to(_number: int, npi: str) -> tuple[float, Answer]:
        left[npi] -= 1
        return 0.02 * rng.lognormvariate(0, 0.4), failure if left[npi] >= 0 else FOUND

    run = simulate(900, FetchSettings(), answer_to)
    assert {settled.verdict.outcome for settled in run.settled} == {Outcome.found}
    return run


@pytest.mark.parametrize(
    ("failure", "tries", "seconds"),
    [(REFUSED, 5, 8.0), (dataclasses.replace(REFUSED, retry_after=1.0), 5, 12.0), (BROKEN, 5, 8.0)],
    ids=["refused", "refused, and to be asked in a second", "failed"],
)
def test_npis_that_fail_several_times_each_do_not_slow_down_the_others(
    failure: Answer, tries: int, seconds: float
) -> None:
    assert failing_at_first(tries, failure).ended_at < seconds


@pytest.mark.parametrize("seed", [1, 7])
def test_npis_that_are_left_at_the_end_and_refused_again_do_not_wait_for_each_other(seed: int) -> None:
    # Their first waits end when the list does: all that is asked then is refused once more.
    assert failing_at_first(2, dataclasses.replace(REFUSED, retry_after=1.0), seed).ended_at < 9


def test_a_registry_that_names_a_second_with_each_refusal_is_not_asked_too_much_for_good() -> None:
    clock: list[float] = []
    free_at = 0.0

    def answer_to(_number: int, _: str) -> tuple[float, Answer]:
        nonlocal free_at
        if clock[-1] < free_at:
            return 0.03, dataclasses.replace(REFUSED, retry_after=1.0)
        free_at = max(free_at, clock[-1]) + 1 / 5
        return 0.02, FOUND

    run = simulate(300, FetchSettings(), answer_to, clock=clock)

    assert len(run.asked) < 1.3 * 300
    assert run.ended_at < 1.4 * 300 / 5


def test_refusals_use_up_no_repeats_of_their_npi_but_blocked_ones_do() -> None:
    def answers(kind: Answer) -> Counter[tuple[Outcome, int]]:
        refusals = Counter[str]()

        def answer_to(_number: int, npi: str) -> tuple[float, Answer]:
            refusals[npi] += 1
            return 0.02, kind if int(npi[4:]) % 20 == 0 and refusals[npi] <= 15 else FOUND

        run = simulate(200, FetchSettings(max_retries=3, wait=0.01, max_wait=0.01), answer_to)
        return Counter((settled.verdict.outcome, settled.attempts) for settled in run.settled)

    assert answers(REFUSED) == {(Outcome.found, 1): 190, (Outcome.found, 16): 10}
    assert answers(BLOCKED) == {(Outcome.found, 1): 190, (Outcome.failed, 4): 10}


def test_a_registry_with_too_much_to_do_uses_up_no_repeats_but_an_npi_that_always_fails_so_does() -> None:
    rng = random.Random(0)
    settings = FetchSettings(max_retries=3, wait=0.01, max_wait=0.01)
    run = simulate(1000, settings, lambda *_: (0.1, UNAVAILABLE if rng.random() < 0.6 else FOUND))
    assert all(settled.verdict.outcome is Outcome.found for settled in run.settled)

    run = simulate(1000, settings, lambda _, npi: (0.1, UNAVAILABLE if npi == "npi-50" else FOUND))
    assert [settled.attempts for settled in run.settled if settled.verdict.outcome is Outcome.failed] == [4]


def test_waits_that_the_registry_asks_for_do_not_count_against_the_deadline_up_to_as_much_again() -> None:
    def run_with(refusals: int) -> Run:
        refused = Counter[str]()

        def answer_to(_number: int, npi: str) -> tuple[float, Answer]:
            refused[npi] += 1
            return 0.02, ASKED_TO_WAIT if npi == "npi-50" and refused[npi] <= refusals else FOUND

        return simulate(200, FetchSettings(npi_deadline=60, max_wait=5), answer_to)

    patient, given_up = run_with(12), run_with(1000)
    assert all(settled.verdict.outcome is Outcome.found for settled in patient.settled)
    assert patient.ended_at > 12 * 7.5
    assert [settled.npi for settled in given_up.settled if settled.verdict.outcome is Outcome.failed] == ["npi-50"]
    assert given_up.ended_at == pytest.approx(120, abs=8)


def test_failures_that_are_no_surprise_do_not_lengthen_the_wait() -> None:
    rng = random.Random(0)
    run = simulate(
        4000, FetchSettings(threads=50, max_retries=100), lambda *_: (0.2, BROKEN if rng.random() < 0.3 else FOUND)
    )

    # With waits that double, the unlucky ones would take half a minute longer than all the others.
    assert all(settled.verdict.outcome is Outcome.found for settled in run.settled)
    assert run.ended_at < 1.4 * 4000 / 0.7 * 0.2 / 50


def drips(share: float, drips_of_an_npi: int = 1, count: int = 1000) -> Run:
    """Of that share of NPIs the first answers are sent byte by byte for a minute."""
    dripped = Counter[str]()

    def answer_to(_number: int, npi: str) -> tuple[float, Answer]:
        dripped[npi] += 1
        is_drip = dripped[npi] <= drips_of_an_npi and int(npi[4:]) % round(1 / share) == 7
        return (60.0, BROKEN) if is_drip else (0.02, FOUND)

    return simulate(count, FetchSettings(threads=50), answer_to)


def test_a_drip_holds_its_slot_for_about_a_second() -> None:
    run = drips(0.1)

    assert len(run.settled) == 1000
    assert all(settled.verdict.outcome is Outcome.found for settled in run.settled)
    assert run.ended_at < 6
    assert len(run.aborted) == 100


def test_two_drips_of_each_npi_are_broken_off_too() -> None:
    run = drips(0.05, drips_of_an_npi=2)

    assert all(settled.verdict.outcome is Outcome.found for settled in run.settled)
    assert run.ended_at < 10
    assert len(run.aborted) == 100


def test_drips_in_every_slot_do_not_stop_a_fetch_that_has_had_failures_only() -> None:
    def answer_to(number: int, _: str) -> tuple[float, Answer]:
        return (60.0, BROKEN) if number % 2 else (0.02, BROKEN if number < 12 else FOUND)

    run = simulate(20, FetchSettings(threads=3), answer_to)

    assert all(settled.verdict.outcome is Outcome.found for settled in run.settled)
    assert run.ended_at < 60


def test_a_registry_that_is_slow_for_good_is_not_cut_off() -> None:
    run = simulate(500, FetchSettings(threads=50), lambda *_: (8.0, FOUND))

    assert run.aborted == []
    assert Counter(settled.attempts for settled in run.settled) == {1: 500}


def test_npis_that_always_take_long_are_waited_for() -> None:
    run = simulate(2000, FetchSettings(threads=50), lambda _, npi: (20.0 if int(npi[4:]) % 100 == 0 else 0.02, FOUND))

    assert all(settled.verdict.outcome is Outcome.found for settled in run.settled)
    # Eight are tried in vain, and no more.
    assert len(run.aborted) <= 8
    assert run.ended_at < 25


def test_the_last_try_of_an_npi_has_the_full_time() -> None:
    run = simulate(
        300,
        FetchSettings(threads=20, max_retries=1, request_timeout=40),
        lambda _, npi: (30.0 if npi == "npi-50" else 0.02, FOUND),
    )

    assert all(settled.verdict.outcome is Outcome.found for settled in run.settled)
    assert [npi for _, npi in run.aborted] == ["npi-50"]


def test_requests_into_a_black_hole_end_at_the_timeout_of_a_request() -> None:
    run = simulate(10, FetchSettings(threads=10, request_timeout=12, max_retries=0), lambda *_: (1e9, FOUND))

    assert Counter(settled.verdict.reason for settled in run.settled) == {"reading timed out": 10}
    assert run.ended_at == pytest.approx(12, abs=1)


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
    # Some thirty until it is known to be one, and then one a second.
    assert len(asked_when_down) < 110
    assert max(run.asked)[0] < 65 + 15 + 60


def test_a_registry_that_stumbles_at_the_first_requests_about_every_npi_is_no_outage() -> None:
    asked = Counter[str]()

    def answer_to(_number: int, npi: str) -> tuple[float, Answer]:
        asked[npi] += 1
        return 0.05, BROKEN if asked[npi] <= 3 else FOUND

    run = simulate(300, FetchSettings(threads=20), answer_to)

    assert all(settled.verdict.outcome is Outcome.found for settled in run.settled)
    assert max(when for when, _ in run.asked) < 150


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
