"""What a fetch says about itself."""

from __future__ import annotations

import math
import random

import pytest

from npi_pipeline.http_fetch.progress import FetchProgress, LatencyHistogram


def test_percentiles_are_within_five_percent() -> None:
    rng = random.Random(1)
    latencies = sorted(rng.lognormvariate(-1.6, 0.8) for _ in range(5000))
    histogram = LatencyHistogram()
    for seconds in latencies:
        histogram.add(seconds)

    for percent in (50, 90, 99, 100):
        truth = latencies[math.ceil(len(latencies) * percent / 100) - 1]
        assert truth <= histogram.percentile(percent) <= 1.051 * truth


def test_there_is_no_latency_without_requests() -> None:
    assert LatencyHistogram().percentile(50) == 0.0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "1,200 of 5,000 (24%) NPIs, 163.2/s, 37 in flight (limit 45), 3 waiting, 1 failed, 24s left"),
        (
            {"rate_limit": 167.04, "seconds_left": 3725.0},
            "1,200 of 5,000 (24%) NPIs, 163.2/s, 37 in flight (limit 45 at 167.0/s), 3 waiting, 1 failed, 1h02m left",
        ),
        (
            {"total": None, "seconds_left": None},
            "1,200 NPIs, 163.2/s, 37 in flight (limit 45), 3 waiting, 1 failed",
        ),
        (
            {"seconds_left": 95.0},
            "1,200 of 5,000 (24%) NPIs, 163.2/s, 37 in flight (limit 45), 3 waiting, 1 failed, 1m35s left",
        ),
    ],
)
def test_progress_is_one_line(changes: dict[str, float | None], line: str) -> None:
    fields: dict[str, float | None] = {
        "done": 1200, "total": 5000, "failed": 1, "rate": 163.24, "in_flight": 37, "waiting": 3, "limit": 45,
        "rate_limit": math.inf, "seconds_left": 23.3,
    }  # fmt: skip
    assert str(FetchProgress(**{**fields, **changes})) == line  # type: ignore[arg-type]
