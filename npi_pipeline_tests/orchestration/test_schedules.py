"""What a tick of the schedules asks for, under a moved clock and with an instance that was seeded.

Not here: the daemon that makes the ticks (``monitoring.test_daemon``).
"""

from __future__ import annotations

import datetime as dt
import itertools

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.daily_job import ASSETS
from npi_pipeline.settings import Settings, SettingsError
from npi_pipeline_tests.seeded_home import SeededHome

UTC = dt.timezone.utc
NOW = dt.datetime(2026, 3, 2, 6, tzinfo=UTC)
TODAY = "2026-03-02"
# The week before NOW, over the end of a month.
MISSED = ["2026-03-01", "2026-02-28", "2026-02-27", "2026-02-26", "2026-02-25"]


def test_after_five_days_down_exactly_those_and_today_are_asked_for_newest_first(home: SeededHome) -> None:
    home.publish("2026-02-23", "2026-02-24")
    assert home.asked_for(NOW) == [TODAY, *MISSED]


def test_a_complete_day_is_not_asked_for_whoever_ran_it(home: SeededHome) -> None:
    home.publish(TODAY, *MISSED, "2026-02-24", "2026-02-23")
    assert home.asked_for(NOW) == []
    assert "no day from 2026-02-23 to 2026-03-02 is due" in home.why_nothing(NOW)


def test_a_day_whose_files_are_gone_is_asked_for_though_dagster_takes_it_for_materialised(home: SeededHome) -> None:
    home.publish(*MISSED, "2026-02-24", "2026-02-23")
    home.instance.report_runless_asset_event(dg.AssetMaterialization("state_files", partition=TODAY))
    assert home.asked_for(NOW) == [TODAY]


def test_no_day_before_the_first_is_asked_for(home: SeededHome) -> None:
    assert home.asked_for(NOW, start_date="2026-03-01") == [TODAY, "2026-03-01"]
    assert home.asked_for(NOW, start_date="2026-03-03") == []
    assert "NPI_START_DATE" in home.why_nothing(NOW, start_date="2026-03-03")


def test_without_catch_up_today_alone_is_asked_for(home: SeededHome) -> None:
    assert home.asked_for(NOW, catch_up_days=0) == [TODAY]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (dt.datetime(2028, 3, 1, 6, tzinfo=UTC), ["2028-03-01", "2028-02-29", "2028-02-28"]),
        (dt.datetime(2027, 1, 1, 6, tzinfo=UTC), ["2027-01-01", "2026-12-31", "2026-12-30"]),
    ],
    ids=["leap day", "new year"],
)
def test_the_window_goes_over_leap_days_and_ends_of_years(
    home: SeededHome, now: dt.datetime, expected: list[str]
) -> None:
    assert home.asked_for(now, catch_up_days=2) == expected


@pytest.mark.parametrize(
    "status",
    [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ],
    ids=lambda status: status.value,
)
def test_a_day_that_is_queued_or_running_is_not_doubled(home: SeededHome, status: dg.DagsterRunStatus) -> None:
    home.add_run(MISSED[0], status)
    home.add_run(MISSED[1], status, job_name="__ASSET_JOB", assets=ASSETS)
    assert home.asked_for(NOW, catch_up_days=3) == [TODAY, MISSED[2]]


def test_a_run_of_somebody_elses_assets_does_not_count(home: SeededHome) -> None:
    others = frozenset({dg.AssetKey("somebody_elses")})
    home.add_run(TODAY, dg.DagsterRunStatus.STARTED, job_name="__ASSET_JOB", assets=others)
    assert home.asked_for(NOW, catch_up_days=0) == [TODAY]


def test_a_published_day_is_asked_for_again_while_its_last_run_failed(home: SeededHome) -> None:
    home.publish(TODAY)
    home.add_run(TODAY, dg.DagsterRunStatus.FAILURE, by_schedule=True)
    assert home.asked_for(NOW, catch_up_days=0) == [TODAY]
    home.add_run(TODAY, dg.DagsterRunStatus.SUCCESS, by_schedule=True)
    assert home.asked_for(NOW, catch_up_days=0) == []


def test_a_repair_of_what_had_failed_counts_as_the_days_last_run(home: SeededHome) -> None:
    home.publish(TODAY)
    failed = home.add_run(TODAY, dg.DagsterRunStatus.FAILURE)
    changes = frozenset({dg.AssetKey("provider_changes")})
    again = home.add_run(TODAY, dg.DagsterRunStatus.FAILURE, assets=changes, again_after=failed)
    assert home.asked_for(NOW, catch_up_days=0) == [TODAY]
    home.add_run(TODAY, dg.DagsterRunStatus.SUCCESS, assets=changes, again_after=again)
    assert home.asked_for(NOW, catch_up_days=0) == []


def test_a_run_of_one_asset_alone_does_not_count_as_the_days_last_run(home: SeededHome) -> None:
    home.publish(TODAY)
    home.add_run(TODAY, dg.DagsterRunStatus.SUCCESS)
    changes = frozenset({dg.AssetKey("provider_changes")})
    alone = home.add_run(TODAY, dg.DagsterRunStatus.FAILURE, assets=changes)
    home.add_run(TODAY, dg.DagsterRunStatus.FAILURE, assets=changes, again_after=alone)
    assert home.asked_for(NOW, catch_up_days=0) == []


def test_a_day_that_was_cancelled_is_asked_for_again(home: SeededHome) -> None:
    home.add_run(TODAY, dg.DagsterRunStatus.CANCELED)
    assert home.asked_for(NOW, catch_up_days=0) == [TODAY]


def test_a_day_in_a_backfill_under_way_is_left_to_it(home: SeededHome) -> None:
    home.add_backfill(MISSED[0], MISSED[2])
    assert home.asked_for(NOW, catch_up_days=3) == [TODAY, MISSED[1]]


@pytest.mark.parametrize(("job_name", "is_ours"), [("npi_daily", True), ("their_job", False)])
def test_a_backfill_of_a_job_counts_when_it_is_the_daily_jobs(
    home: SeededHome, job_name: str, *, is_ours: bool
) -> None:
    home.add_job_backfill(job_name, MISSED[0])
    assert home.asked_for(NOW, catch_up_days=1) == ([TODAY] if is_ours else [TODAY, MISSED[0]])


def test_a_day_that_fails_for_ever_is_tried_a_bounded_number_of_times_then_reported(home: SeededHome) -> None:
    home.publish(TODAY)
    for tries in range(3):
        assert home.asked_for(NOW, catch_up_days=1) == [MISSED[0]], tries
        home.add_run(MISSED[0], dg.DagsterRunStatus.FAILURE, by_schedule=True)
    assert home.asked_for(NOW, catch_up_days=1) == []
    assert f"left alone: {MISSED[0]}" in home.why_nothing(NOW, catch_up_days=1)
    assert home.asked_for(NOW, catch_up_days=1, catch_up_tries=4) == [MISSED[0]]


def test_a_run_that_somebody_made_by_hand_is_no_try_of_the_schedule(home: SeededHome) -> None:
    for _ in range(5):
        home.add_run(TODAY, dg.DagsterRunStatus.FAILURE)
    assert home.asked_for(NOW, catch_up_days=0) == [TODAY]


def test_what_dagster_runs_again_after_a_worker_died_is_the_same_try(home: SeededHome) -> None:
    first = home.add_run(TODAY, dg.DagsterRunStatus.FAILURE, by_schedule=True)
    for _ in range(4):
        home.add_run(TODAY, dg.DagsterRunStatus.FAILURE, by_schedule=True, again_after=first)
    assert home.asked_for(NOW, catch_up_days=0) == [TODAY]


def test_the_days_own_run_goes_before_those_of_a_backfill(home: SeededHome) -> None:
    assert {request.tags["dagster/priority"] for request in home.tick(NOW).run_requests or []} == {"1"}


@pytest.mark.parametrize(
    ("first", "hour"),
    [
        # 02:30 does not exist on 8 March 2026 in New York, and 01:30 exists twice on 1 November.
        (dt.datetime(2026, 3, 5, 12, tzinfo=UTC), "30 2 * * *"),
        (dt.datetime(2026, 10, 29, 12, tzinfo=UTC), "30 1 * * *"),
    ],
    ids=["an hour that does not exist", "an hour that exists twice"],
)
def test_when_the_clocks_change_each_day_is_asked_for_once(home: SeededHome, first: dt.datetime, hour: str) -> None:
    ticks = schedule_execution_time_iterator(first.timestamp(), hour, "America/New_York")
    asked = []
    for tick in itertools.islice(ticks, 6):
        days = home.asked_for(tick, schedule_cron=hour, schedule_timezone="America/New_York", catch_up_days=0)
        asked += days
        home.publish(*days)
    assert asked == [str(first.date() + dt.timedelta(days=ahead)) for ahead in range(1, 7)]


def test_the_day_of_a_tick_is_the_utc_day_whatever_the_hour_is_elsewhere(home: SeededHome) -> None:
    evening_in_new_york = dt.datetime.fromisoformat("2026-03-01T22:00:00-05:00")
    assert home.asked_for(evening_in_new_york, catch_up_days=0) == ["2026-03-02"]


@pytest.mark.parametrize(
    ("setting", "value", "line"),
    [
        ("schedule_cron", "at six", "NPI_SCHEDULE_CRON='at six' cannot be used: it is no cron expression"),
        ("audit_cron", "61 * * * *", "NPI_AUDIT_CRON='61 * * * *' cannot be used: it is no cron expression"),
        ("schedule_timezone", "Mars/Olympus", "NPI_SCHEDULE_TIMEZONE='Mars/Olympus' cannot be used: no time zone"),
    ],
)
def test_an_hour_that_is_none_is_refused_on_one_line(setting: str, value: str, line: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        build_definitions(Settings.from_environment({}, **{setting: value}))
    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)
