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

from npi_pipeline.enrichment.answer import Answer, Sign
from npi_pipeline.enrichment.limiter import Limiter
from npi_pipeline.enrichment.outcomes import Outcome, Verdict


def _benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "fetch_limiters.py"
    spec = importlib.util.spec_from_file_location("fetch_limiters", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fetch_limiters"] = module
    spec.loader.exec_module(module)
    return module


BENCHMARK = _benchmark()


def simulated(**model: object) -> tuple[float, float]:
    """Time over the floor and share refused, the median of three seeds."""
    runs = [BENCHMARK.simulate(BENCHMARK.LAWS["ours"], BENCHMARK.ModelRegistry(**model), seed) for seed in range(3)]
    return statistics.median(over for over, _ in runs), statistics.median(refused for _, refused in runs)


@pytest.mark.parametrize(
    ("model", "over_the_floor", "refused"),
    [
        ({"capacity": 167, "errors": 0.03}, 1.08, 0.03),
        ({"capacity": 10, "npis": 400}, 1.15, 0.06),
        ({"capacity": 50, "npis": 1000}, 1.08, 0.03),
        ({"capacity": 500, "npis": 6000}, 1.1, 0.03),
        ({"steps": ((0.0, 160.0), (8.0, 80.0), (16.0, 160.0)), "npis": 3500}, 1.1, 0.03),
        ({"max_in_flight": 60}, 1.2, 0.1),
        ({"slow_above": 40}, 1.2, 0.0),
        ({"threads": 50, "errors": 0.03}, 1.15, 0.0),
        ({"threads": 50, "errors": 0.3, "npis": 4000}, 2.0, 0.0),
        ({"threads": 50, "random_refusals": 0.08}, 3.0, 0.12),
    ],
    ids=str,
)
def test_it_comes_close_to_what_the_registry_permits(
    model: dict[str, object], over_the_floor: float, refused: float
) -> None:
    over, share = simulated(**model)
    assert over < over_the_floor
    assert share <= refused


answers = st.lists(st.tuples(st.sampled_from(list(Sign)), st.floats(0.0, 60.0)), max_size=200)


@given(st.integers(1, 300), st.sampled_from([0.0, 0.5, 40.0]), answers)
@hypothesis_settings(max_examples=100, deadline=None)
def test_limits_stay_within_their_bounds_whatever_the_answers(
    ceiling: int, cap: float, answers: list[tuple[Sign, float]]
) -> None:
    limiter = Limiter(ceiling=ceiling, requests_per_second=cap)
    now = 0.0
    for sign, seconds in answers:
        ready_at = limiter.ready_at(now)
        assert math.isfinite(ready_at)
        now = max(now, ready_at)
        limiter.sent(now)
        verdict = Verdict(Outcome.failed, "x", passing=True)
        limiter.answered(now + seconds, now, Answer(verdict, sign, seconds=seconds))
        now += seconds
        assert 1 <= limiter.limit <= ceiling
        assert 0 < limiter.rate <= (cap or math.inf)
        assert limiter.in_flight == 0


def test_latency_that_rises_by_itself_does_not_slow_the_fetch_for_good() -> None:
    limiter = Limiter(ceiling=40)
    good = Answer(Verdict(Outcome.found), Sign.good)
    limits = []
    for seconds in [0.1] * 2000 + [0.5] * 6000:
        while limiter.in_flight < limiter.limit:
            limiter.sent(0.0)
        limiter.answered(0.0, 0.0, dataclasses.replace(good, seconds=seconds))
        limits.append(limiter.limit)

    assert limits[1999] == 40
    assert min(limits) < 30
    assert limits[-1] == 40
