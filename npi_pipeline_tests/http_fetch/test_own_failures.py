"""Whether failures are those of NPIs that have failed before."""

from __future__ import annotations

import random

from npi_pipeline.http_fetch.own_failures import OwnFailures


def test_npis_that_fail_again_while_fresh_ones_are_answered_well_fail_by_themselves() -> None:
    failures = OwnFailures()

    proven = [failures.answered(number, failed=number > 1) for number in (1, 2) * 20]

    assert failures.are_likely
    assert proven.count(True) == 1, "it is told once"


def test_npis_that_are_answered_well_when_they_have_failed_more_often_failed_by_themselves() -> None:
    failures = OwnFailures()

    for number in (2, 4) * 20:
        failures.answered(number, failed=number < 3)

    assert failures.are_likely


def test_failures_that_hit_whoever_comes_next_are_nobodys_own() -> None:
    false_alarms = 0
    for seed in range(20):
        rng = random.Random(seed)
        failures = OwnFailures()
        false_alarms += any(
            failures.answered(rng.choice((1, 1, 2, 3, 7)), failed=rng.random() < 0.4) for _ in range(500)
        )

    assert false_alarms <= 1


def test_while_everything_fails_nothing_is_known_of_the_npis() -> None:
    failures = OwnFailures()

    assert not any(failures.answered(number, failed=True) for number in (1, 2, 3) * 100)


def test_the_verdict_is_taken_back_when_failures_hit_everybody() -> None:
    failures = OwnFailures()
    for number in (1, 2) * 20:
        failures.answered(number, failed=number > 1)

    rng = random.Random(0)
    for _ in range(200):
        failures.answered(rng.choice((1, 2)), failed=rng.random() < 0.5)

    assert not failures.are_likely
