"""The limiter against modelled registries in simulated time: the models are those of the benchmark."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import statistics
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from npi_pipeline.http_fetch.answer import Answer, Signal
from npi_pipeline.http_fetch.cut_trial import CutTrial
from npi_pipeline.http_fetch.limiter import Limiter
from npi_pipeline.outcomes import Outcome, Verdict

# Of a sweep what lies between the extremes, or is like another one.
LONG = pytest.mark.long


def _benchmark(name: str) -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


BENCHMARK = _benchmark("fetch_limiters")
WEATHER = _benchmark("fetch_weather")


def simulated(**model: object) -> tuple[float, float]:
    """Time over the floor and share refused, the median of three seeds."""
    runs = [BENCHMARK.simulate(BENCHMARK.LAWS["ours"], BENCHMARK.ModelRegistry(**model), seed) for seed in range(3)]
    return statistics.median(over for over, _ in runs), statistics.median(refused for _, refused in runs)


@pytest.mark.parametrize(
    ("model", "over_the_floor", "refused"),
    [
        ({"capacity": 167, "errors": 0.03}, 1.15, 0.04),
        ({"capacity": 10, "npis": 400}, 1.27, 0.09),
        pytest.param({"capacity": 50, "npis": 1000}, 1.08, 0.05, marks=LONG),
        ({"capacity": 500, "npis": 6000}, 1.15, 0.04),
        ({"steps": ((0.0, 160.0), (8.0, 80.0), (16.0, 160.0)), "npis": 3500}, 1.18, 0.06),
        ({"max_in_flight": 60}, 1.25, 0.1),
        ({"slow_above": 40}, 1.2, 0.0),
        pytest.param({"threads": 50, "errors": 0.03}, 1.15, 0.0, marks=LONG),
        ({"threads": 50, "errors": 0.3, "npis": 4000}, 1.2, 0.0),
        ({"threads": 50, "random_refusals": 0.08}, 1.3, 0.12),
    ],
    ids=str,
)
def test_it_comes_close_to_what_the_registry_permits(
    model: dict[str, object], over_the_floor: float, refused: float
) -> None:
    over, share = simulated(**model)
    assert over < over_the_floor
    assert share <= refused


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("mix 1%", marks=LONG),
        "mix 5%",
        "mix 15%",
        "mix 15%, 100 NPIs",
        "mix 15%, cap 20/s",
        pytest.param("mix 15%, cap 200/s", marks=LONG),
        "only 429, 15%",
        pytest.param("only 429 with Retry-After 1, 15%", marks=LONG),
        pytest.param("only drips, 5%", marks=LONG),
        "only drips, 60%",
        pytest.param("any refused at random, 3%", marks=LONG),
        "300 a calendar minute, begun at :00",
        pytest.param("the same with Retry-After", marks=LONG),
        pytest.param("100 a calendar second", marks=LONG),
        "bucket of 1,000, then 10/s",
        "503 above 20 in flight, 200 ms, mix 5%",
        "30% errors, 200 ms",
        "5% of NPIs always take 5 s",
        pytest.param("silent for 30 s", marks=LONG),
    ],
)
def test_bad_weather_costs_little_more_than_any_client_needs(name: str) -> None:
    runs = [WEATHER.simulate(WEATHER.WEATHERS[name], seed) for seed in (101, 102, 103)]

    assert not sum(run.failed for run in runs)
    assert statistics.median(run.seconds for run in runs) <= 1.3 * statistics.median(run.least for run in runs) + 3
    assert max(run.seconds / (2 * run.least + 3) for run in runs) <= 1
    assert statistics.median(run.stall for run in runs) <= 5


def test_where_everything_fails_it_is_not_taken_for_usual() -> None:
    trial = CutTrial(7, 7, usual=0.0)
    for number in range(40):
        trial.arrived(100.0 + number, sent_at=float(number), failed=True, latency=1.0)
    assert not trial.is_in_vain


def test_a_trial_that_tells_little_ends_all_the_same() -> None:
    trial = CutTrial(17, 100, usual=0.11)
    verdicts = (
        trial.arrived(100.0 + number, sent_at=float(number), failed=number % 7 == 0, latency=1.0)
        for number in range(110)
    )
    assert any(verdicts)


def test_where_a_registry_names_the_end_of_each_window_what_it_admits_is_not_spread_over_it() -> None:
    run = WEATHER.simulate(WEATHER.WEATHERS["the same with Retry-After"], 20)

    assert run.failed == 0
    assert run.seconds < run.least + 3


def test_refusals_that_come_quickly_do_not_make_a_limit_of_requests_in_flight_look_lower_than_it_is() -> None:
    run = WEATHER.simulate(WEATHER.WEATHERS["503 above 20 in flight, 200 ms"], 20)

    assert run.seconds < 1.06 * run.least
    assert run.refused < 0.05


def test_the_end_of_an_outage_is_noticed_within_a_second() -> None:
    run = WEATHER.simulate(WEATHER.WEATHERS["503 to everything for 30 s"], 20)

    assert run.seconds < run.least + 1


def test_what_a_registry_punishes_is_tried_rarely() -> None:
    weather = WEATHER.WEATHERS["cap 100/s, 30 s of penalty"]
    run = WEATHER.simulate(weather, 101)

    assert run.failed == 0
    # One closure teaches it; ten times as long is worked before it is tried again.
    assert run.seconds < weather.npis / weather.capacity / 0.8 + weather.penalty_seconds + 5


@pytest.mark.parametrize("seed", [20, pytest.param(21, marks=LONG)])
def test_a_bucket_that_is_empty_is_asked_no_more_than_it_fills(seed: int) -> None:
    run = WEATHER.simulate(WEATHER.WEATHERS["bucket of 1,000, then 10/s"], seed)

    assert run.failed == 0
    assert run.refused < 0.15


def test_the_pause_that_ended_a_penalty_is_the_first_of_the_next() -> None:
    run = WEATHER.simulate(WEATHER.WEATHERS["cap 100/s, 30 s of penalty, renewed"], 101)

    assert run.failed == 0
    assert run.seconds < 220


calm = st.builds(
    lambda **options: WEATHER.Weather(npis=100, **options),
    latency=st.sampled_from([0.01, 0.2]),
    threads=st.sampled_from([5, 50]),
    faults=st.sampled_from([0.0, 0.3, 0.9]),
    kinds=st.lists(st.sampled_from(WEATHER.MIX), min_size=1, max_size=4).map(tuple),
    errors=st.sampled_from([0.0, 0.2]),
    black_holes=st.sampled_from([0.0, 0.02]),
    random_refusals=st.sampled_from([0.0, 0.2]),
    capacity=st.sampled_from([0.0, 5.0, 100.0]),
    quota=st.sampled_from([0, 0, 40]),
    quota_begun=st.floats(0.0, 59.0),
    retry_after=st.sampled_from([None, 0.0, 1.0, math.inf]),
    max_in_flight=st.sampled_from([0, 0, 3, 10]),
    silent=st.sampled_from([None, (1.0, 40.0)]),
)


@given(calm, st.integers(0, 1000))
@hypothesis_settings(max_examples=100, deadline=None, derandomize=True)
def test_whatever_the_weather_every_npi_that_can_be_had_is_had(weather: object, seed: int) -> None:
    """Up to three faults of any kind about every NPI, errors, black holes, refusals at random, limits and silence.

    ``Retry-After`` is missing, too short, or true. Not covered: one that is much too long (a registry which admits five
    a second and tells everybody whom it refuses to come back in half a minute): it is obeyed, and then time runs out.
    Of registries that do all of it at once, one in two hundred still costs an NPI or two all their repeats by chance.
    """
    run = WEATHER.simulate(weather, seed)

    assert run.failed == 0
    assert run.seconds < 40 * run.least + 300


def test_a_slow_registry_that_stumbles_at_the_first_requests_is_found_after_an_outage() -> None:
    weather = WEATHER.Weather(
        npis=100, latency=0.01, capacity=5.0, retry_after=10.0, faults=1.0, kinds=("reset",), silent=(1.0, 40.0)
    )
    assert [WEATHER.simulate(weather, seed).failed for seed in range(10)] == [0] * 10


def test_an_outage_uses_up_the_repeats_of_no_npi_before_it_is_known_to_be_one() -> None:
    weather = WEATHER.Weather(npis=449, latency=0.84, capacity=6.3, down=(8.8, 38.3))
    assert [WEATHER.simulate(weather, seed).failed for seed in range(8)] == [0] * 8


answers = st.lists(st.tuples(st.sampled_from(list(Signal)), st.floats(0.0, 60.0)), max_size=200)


@given(st.integers(1, 300), st.sampled_from([0.0, 0.5, 40.0]), answers)
@hypothesis_settings(max_examples=100, deadline=None)
def test_limits_stay_within_their_bounds_whatever_the_answers(
    ceiling: int, cap: float, answers: list[tuple[Signal, float]]
) -> None:
    limiter = Limiter(ceiling=ceiling, requests_per_second=cap)
    now = 0.0
    for sign, seconds in answers:
        ready_at = limiter.ready_at(now)
        assert math.isfinite(ready_at)
        now = max(now, ready_at)
        limiter.sent(now)
        verdict = Verdict(Outcome.failed, "x", retryable=True)
        limiter.answered(now + seconds, now, Answer(verdict, sign, seconds=seconds))
        now += seconds
        assert 1 <= limiter.limit <= ceiling
        assert 0 < limiter.rate <= (cap or math.inf)
        assert limiter.in_flight == 0


def test_latency_that_rises_by_itself_does_not_slow_the_fetch_for_good() -> None:
    limiter = Limiter(ceiling=40)
    good = Answer(Verdict(Outcome.found), Signal.good)
    limits = []
    for seconds in [0.1] * 2000 + [0.5] * 6000:
        while limiter.in_flight < limiter.limit:
            limiter.sent(0.0)
        limiter.answered(0.0, 0.0, dataclasses.replace(good, seconds=seconds))
        limits.append(limiter.limit)

    assert limits[1999] == 40
    assert min(limits) < 30
    assert limits[-1] == 40
