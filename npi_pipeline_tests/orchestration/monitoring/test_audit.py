"""Which days the audit looks at: none that the schedule has not asked for yet, whatever the time zone and the hours."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from npi_pipeline.orchestration.monitoring.audit import days_audited, days_left_behind
from npi_pipeline.orchestration.monitoring.recent_days import recent_days
from npi_pipeline.settings import Settings
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline_tests.seeded_home import SeededHome

UTC = dt.timezone.utc
# A Sunday after which the clocks change in New York and, three weeks later, in Berlin.
FIRST = dt.datetime(2026, 3, 1, tzinfo=UTC)


def settings_of(home: SeededHome, zone: str, hour: str, audit_hour: str) -> Settings:
    return Settings.from_environment(
        {},
        data_root=str(home.data_root),
        start_date="2026-02-20",
        schedule_timezone=zone,
        schedule_cron=hour,
        audit_cron=audit_hour,
    )


def ticks(cron: str, zone: str, number: int) -> list[dt.datetime]:
    return list(itertools.islice(schedule_execution_time_iterator(FIRST.timestamp(), cron, zone), number))


@pytest.mark.parametrize(
    "zone",
    ["UTC", "America/Chicago", "America/Los_Angeles", "Asia/Tokyo", "Asia/Kolkata", "Pacific/Kiritimati"],
)
@pytest.mark.parametrize(
    ("hour", "audit_hour"),
    [
        ("0 6 * * *", "0 18 * * *"),
        ("0 20 * * *", "0 18 * * *"),
        ("30 2 * * *", "0 12 * * *"),
        ("0 6 * * 1-5", "0 9 * * *"),
    ],
    ids=["by default", "asked for after the audit", "an hour that does not exist once", "on weekdays"],
)
def test_the_audit_is_quiet_when_each_day_is_complete_an_hour_after_it_is_asked_for(
    home: SeededHome, zone: str, hour: str, audit_hour: str
) -> None:
    settings = settings_of(home, zone, hour, audit_hour)
    # Before the first tick somebody had made everything.
    home.publish(*(str(FIRST.date() - dt.timedelta(days=ago)) for ago in range(10)))
    made = home.data_root / "state_files"
    audits = iter(ticks(audit_hour, zone, 20))
    now = next(audits)
    for tick in ticks(hour, zone, 10):
        while now <= tick:
            assert behind(home, settings, now) == [], now
            now = next(audits)
        home.publish(*(str(day) for day in days_audited(settings, tick) if not (made / str(day)).exists()))
        assert str(tick.astimezone(UTC).date()) in {path.name for path in made.iterdir()}


def behind(home: SeededHome, settings: Settings, now: dt.datetime) -> list[dt.date]:
    """The days that an audit at ``now`` would tell of."""
    days = days_audited(settings, now)
    recent = recent_days(home.instance, open_data_root(settings.files.data_root), settings.files, days)
    return [day for day, _ in days_left_behind(home.instance, recent)]


def test_a_day_that_was_asked_for_and_is_not_there_is_told_of(home: SeededHome) -> None:
    settings = settings_of(home, "America/Chicago", "0 6 * * *", "0 18 * * *")
    # 6 p.m. in Chicago, in winter: it is the 3rd in UTC, and the schedule asked for the 2nd twelve hours before.
    now = dt.datetime(2026, 3, 3, 0, 0, 5, tzinfo=UTC)
    assert days_audited(settings, now)[0] == dt.date(2026, 3, 2)
    assert behind(home, settings, now) == days_audited(settings, now)


def test_the_audit_looks_back_as_far_as_the_schedule_catches_up(home: SeededHome) -> None:
    settings = settings_of(home, "Asia/Tokyo", "0 6 * * *", "0 18 * * *")
    for tick in ticks("0 6 * * *", "Asia/Tokyo", 5):
        later = tick + dt.timedelta(hours=12)
        start = str(settings.days.start_date)
        asked = home.asked_for(tick, schedule_timezone="Asia/Tokyo", start_date=start)
        assert [str(day) for day in days_audited(settings, later)] == asked
