"""The schedule asks for what is missing, under a moved clock."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from npi_pipeline.definitions import build_definitions
from npi_pipeline.settings import Settings


def requested_days(now: dt.datetime, materialised: list[str], start_date: str = "2026-01-01") -> list[str | None]:
    """The days that a tick at ``now`` asks for, in their order."""
    definitions = build_definitions(Settings.from_environment({}, start_date=start_date))
    schedule = definitions.resolve_schedule_def("npi_daily_schedule")
    with dg.instance_for_test() as instance:
        for day in materialised:
            instance.report_runless_asset_event(dg.AssetMaterialization("state_files", partition=day))
        repository = definitions.get_repository_def()
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=now, repository_def=repository
        ) as context:
            return [request.partition_key for request in schedule.evaluate_tick(context).run_requests or []]


def test_after_five_days_down_exactly_those_and_today_are_asked_for_newest_first() -> None:
    now = dt.datetime(2026, 3, 2, 6, tzinfo=dt.timezone.utc)
    expected = ["2026-03-02", "2026-03-01", "2026-02-28", "2026-02-27", "2026-02-26", "2026-02-25"]
    assert requested_days(now, ["2026-02-23", "2026-02-24"]) == expected


def test_a_day_that_is_done_is_not_asked_for_again() -> None:
    now = dt.datetime(2026, 3, 2, 6, tzinfo=dt.timezone.utc)
    week = [str(dt.date(2026, 3, 2) - dt.timedelta(days=ago)) for ago in range(7)]
    assert requested_days(now, week) == []


def test_no_day_before_the_first_is_asked_for() -> None:
    now = dt.datetime(2026, 3, 2, 6, tzinfo=dt.timezone.utc)
    assert requested_days(now, [], start_date="2026-03-01") == ["2026-03-02", "2026-03-01"]
