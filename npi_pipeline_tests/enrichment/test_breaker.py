"""The breaker under a fake clock."""

from __future__ import annotations

import dataclasses
import math

from npi_pipeline.enrichment.answer import Answer, Sign
from npi_pipeline.enrichment.breaker import Breaker
from npi_pipeline.enrichment.outcomes import Outcome, Verdict

GOOD = Answer(Verdict(Outcome.found), Sign.good, 200)
BAD = Answer(Verdict(Outcome.failed, "HTTP 502 Bad Gateway", passing=True), Sign.trouble, 502)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(patience=300, now=now)
    for _ in range(30):
        breaker.answered(now, BAD, is_telling=True)
    assert breaker.is_open
    return breaker


def test_it_opens_when_thirty_npis_in_a_row_fail() -> None:
    breaker = Breaker(patience=300, now=0.0)
    for _ in range(29):
        breaker.answered(1.0, BAD, is_telling=True)
    assert not breaker.is_open
    breaker.answered(1.0, GOOD, is_telling=True)
    for _ in range(29):
        breaker.answered(1.0, BAD, is_telling=True)
    assert not breaker.is_open
    assert breaker.ready_at(1.0, in_flight=5) == 1.0


def test_failures_that_tell_nothing_of_the_registry_do_not_open_it() -> None:
    breaker = Breaker(patience=300, now=0.0)
    for _ in range(1000):
        breaker.answered(1.0, BAD, is_telling=False)
    assert not breaker.is_open


def test_open_it_lets_one_probe_through_at_a_time_and_ever_more_rarely() -> None:
    breaker = opened()
    assert breaker.ready_at(0.0, in_flight=1) == math.inf
    # What was in flight when it opened is no probe.
    breaker.answered(0.5, BAD, is_telling=True)

    pauses, now = [], 0.0
    for _ in range(7):
        probe_at = breaker.ready_at(now, in_flight=0)
        pauses.append(probe_at - now)
        now = probe_at
        breaker.answered(now, BAD, is_telling=False)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]


def test_one_usable_answer_closes_it() -> None:
    breaker = opened()
    breaker.answered(1.0, GOOD, is_telling=False)
    assert not breaker.is_open
    assert breaker.ready_at(1.0, in_flight=50) == 1.0


def test_it_gives_up_when_its_patience_ends() -> None:
    breaker = opened()
    assert breaker.outage(299.9) is None
    outage = breaker.outage(300.0)
    assert outage is not None
    assert (outage.seconds, outage.reason) == (300.0, "HTTP 502 Bad Gateway")


def test_it_gives_up_at_once_when_asked_to_wait_longer_than_its_patience() -> None:
    breaker = Breaker(patience=300, now=0.0)
    breaker.answered(5.0, dataclasses.replace(BAD, retry_after=300.0), is_telling=True)
    assert breaker.outage(5.0) is None
    breaker.answered(5.0, dataclasses.replace(BAD, retry_after=3600.0), is_telling=True)
    outage = breaker.outage(5.0)
    assert outage is not None
    assert outage.seen == "asks to be left alone for 3,600 s"
