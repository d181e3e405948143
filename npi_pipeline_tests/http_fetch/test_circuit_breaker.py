"""The breaker under a fake clock."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random

from npi_pipeline.http_fetch.answer import Answer, Signal
from npi_pipeline.http_fetch.circuit_breaker import Breaker, Reopening
from npi_pipeline.outcomes import Outcome, Verdict

GOOD = Answer(Verdict(Outcome.found), Signal.good, 200)
BAD = Answer(Verdict(Outcome.failed, "HTTP 502 Bad Gateway", retryable=True), Signal.error, 502)


REFUSED = Answer(Verdict(Outcome.failed, "HTTP 429 Too Many Requests", retryable=True), Signal.throttled, 429)


def opened(answer: Answer = BAD, failures: int = 30) -> Breaker:
    """A breaker that was opened at 0 s by requests sent a second before."""
    breaker = Breaker(patience=300, now=-1.0)
    for _ in range(failures):
        breaker.answered(0.0, -1.0, answer, is_telling=True)
    assert breaker.is_open
    return breaker


def used_to_failures(share: float) -> Breaker:
    """A breaker whose registry fails so often, but never for long."""
    breaker = Breaker(patience=300, now=0.0)
    rng = random.Random(0)
    for number in range(2000):
        now = number / 100
        breaker.answered(now, now, BAD if rng.random() < share else GOOD, is_telling=True)
    breaker.answered(20.0, 20.0, GOOD, is_telling=True)
    return breaker


def failures_that_open(breaker: Breaker, now: float, answer: Answer = BAD) -> int:
    for number in itertools.count():
        if breaker.is_open:
            return number
        breaker.answered(now, now, answer, is_telling=True)
    raise AssertionError


def test_it_opens_when_thirty_npis_in_a_row_fail_or_ten_are_refused() -> None:
    for answer, enough in ((BAD, 30), (REFUSED, 10)):
        breaker = Breaker(patience=300, now=0.0)
        for _ in range(enough - 1):
            breaker.answered(1.0, 1.0, answer, is_telling=True)
        assert not breaker.is_open
        breaker.answered(1.0, 1.0, GOOD, is_telling=True)
        assert failures_that_open(breaker, 2.0, answer) == enough


def test_it_bears_as_many_failures_in_a_row_as_come_by_chance() -> None:
    assert failures_that_open(used_to_failures(0.1), 30.0, REFUSED) == 10
    assert 15 <= failures_that_open(used_to_failures(0.5), 30.0, REFUSED) <= 27


def test_failures_that_were_sent_before_the_last_good_answer_do_not_count() -> None:
    breaker = Breaker(patience=300, now=0.0)
    breaker.answered(1.0, 0.9, GOOD, is_telling=True)
    for _ in range(100):
        breaker.answered(2.0, 0.8, BAD, is_telling=True)
    assert not breaker.is_open


def test_failures_that_tell_nothing_of_the_registry_do_not_open_it() -> None:
    breaker = Breaker(patience=300, now=0.0)
    for _ in range(1000):
        breaker.answered(1.0, 1.0, BAD, is_telling=False)
    assert not breaker.is_open


def pauses_between_probes(breaker: Breaker, answer: Answer, until: float, *, is_telling: bool = False) -> list[float]:
    pauses, now = [], 0.0
    while now < until:
        probe_at = breaker.ready_at(now, in_flight=0)
        pauses.append(probe_at - now)
        now = probe_at
        breaker.answered(now, now, answer, is_telling=is_telling)
    return pauses


def test_open_it_lets_one_probe_through_at_a_time_and_ever_more_rarely() -> None:
    breaker = opened()
    assert breaker.ready_at(0.0, in_flight=1) == math.inf
    # What was in flight when it opened is no probe.
    breaker.answered(0.1, -0.5, BAD, is_telling=True)

    assert pauses_between_probes(breaker, BAD, until=20.0) == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_while_there_are_other_npis_to_ask_about_an_outage_is_probed_once_a_second() -> None:
    assert set(pauses_between_probes(opened(), BAD, until=20.0, is_telling=True)[2:]) == {1.0}


def test_a_registry_that_refuses_for_longer_than_a_minute_is_left_alone_for_ever_longer() -> None:
    troubled = pauses_between_probes(opened(), BAD, until=300.0)
    refused = pauses_between_probes(opened(REFUSED), REFUSED, until=300.0)

    assert max(troubled) == 5.0
    assert refused[-4:] == [10.0, 20.0, 40.0, 80.0] or refused[-5:-1] == [10.0, 20.0, 40.0, 80.0]


def test_a_registry_that_fails_often_gets_more_probes_at_once() -> None:
    breaker = used_to_failures(0.5)
    failures_that_open(breaker, 30.0)

    probe_at = breaker.ready_at(30.0, in_flight=0)
    assert breaker.ready_at(probe_at, in_flight=3) == probe_at


def test_one_usable_answer_closes_it_and_says_what_the_registry_had_done() -> None:
    for answer, has_refused in ((BAD, False), (REFUSED, True)):
        breaker = opened(answer)
        probe_at = breaker.ready_at(0.0, in_flight=0)
        reopening = breaker.answered(probe_at + 0.1, probe_at, GOOD, is_telling=False)
        assert not breaker.is_open
        assert reopening is not None
        assert reopening.has_refused is has_refused
        assert breaker.ready_at(2.0, in_flight=50) == 2.0


def test_it_says_whether_the_registry_was_back_when_it_had_said_it_would_be() -> None:
    def reopening(answer: Answer) -> Reopening | None:
        breaker = opened(answer, failures=10)
        probe_at = breaker.ready_at(0.0, in_flight=0)
        return breaker.answered(probe_at + 0.1, probe_at, GOOD, is_telling=True)

    assert reopening(REFUSED) == Reopening(0.35, has_refused=True, was_named=False)
    assert reopening(dataclasses.replace(REFUSED, retry_after=30.0)) == Reopening(
        30.1, has_refused=True, was_named=True
    )


def test_a_good_answer_to_what_was_sent_before_the_failures_does_not_close_it() -> None:
    breaker = opened()
    assert breaker.answered(0.1, -2.0, GOOD, is_telling=True) is None
    assert breaker.is_open


def test_a_good_answer_to_what_was_sent_among_the_failures_closes_it_at_once() -> None:
    breaker = opened()
    assert breaker.answered(0.1, -0.5, GOOD, is_telling=True) is None
    assert not breaker.is_open


def test_it_gives_up_when_its_patience_ends() -> None:
    breaker = opened()
    assert breaker.outage(298.9) is None
    outage = breaker.outage(299.0)
    assert outage is not None
    assert (outage.seconds, outage.reason) == (300.0, "HTTP 502 Bad Gateway")


def asked_to_wait(seconds: float) -> Answer:
    return dataclasses.replace(REFUSED, retry_after=seconds)


def test_a_wait_that_one_npi_is_asked_for_holds_nobody_else() -> None:
    breaker = Breaker(patience=300, now=0.0)
    breaker.answered(5.0, 4.0, asked_to_wait(3600.0), is_telling=True)
    assert breaker.ready_at(5.0, in_flight=1) == 5.0
    assert breaker.outage(5.0) is None


def test_a_wait_that_npis_in_a_row_are_asked_for_holds_everybody_until_a_later_request_is_answered_well() -> None:
    breaker = Breaker(patience=300, now=0.0)
    for sent_at in (4.0, 4.1, 4.2, 4.3):
        breaker.answered(5.0, sent_at, asked_to_wait(30.0), is_telling=True)
    assert breaker.ready_at(5.0, in_flight=1) == 35.0
    breaker.answered(5.1, 4.05, GOOD, is_telling=True)
    assert breaker.ready_at(5.1, in_flight=1) == 35.0
    breaker.answered(5.2, 4.5, GOOD, is_telling=True)
    assert breaker.ready_at(5.2, in_flight=1) == 5.2


def test_it_gives_up_at_once_when_everybody_is_asked_to_wait_longer_than_its_patience() -> None:
    breaker = Breaker(patience=300, now=0.0)
    for sent_at in (4.0, 4.1, 4.2, 4.3):
        breaker.answered(5.0, sent_at, asked_to_wait(300.0), is_telling=True)
    assert breaker.outage(5.0) is None
    breaker.answered(5.0, 4.4, asked_to_wait(3600.0), is_telling=True)
    outage = breaker.outage(5.0)
    assert outage is not None
    assert outage.seen == "asks to be left alone for 3,600 s"
