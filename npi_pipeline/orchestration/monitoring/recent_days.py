"""How the monitored days stand: today and the days before it, by their files and by their runs.

Not here: what is made of it (``schedules``, ``sensors``, ``audit``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable

import dagster as dg

from npi_pipeline.orchestration.dagster_internals import get_latest_completed_cron_tick
from npi_pipeline.orchestration.monitoring.day_runs import DayRuns, runs_of_days
from npi_pipeline.settings import FileSettings, MonitoringSettings, Settings
from npi_pipeline.state_files.publish import is_published
from npi_pipeline.storage.data_root import DataRoot

DAILY_SCHEDULE_NAME = "npi_daily_schedule"


@dataclasses.dataclass(frozen=True)
class RecentDay:
    """One monitored day. It is published when its manifest is there, whoever ran it."""

    day: dt.date
    is_published: bool
    runs: DayRuns

    @property
    def is_left_behind(self) -> bool:
        """Whether it is incomplete, or was made anew and failed: its state files, or what changed, may be of old."""
        return not self.is_published or self.runs.last_failed

    @property
    def is_due(self) -> bool:
        """Whether somebody should run it: it is left behind, and nobody is at it."""
        return self.is_left_behind and not self.runs.in_flight


def monitored_days(settings: Settings, today: dt.date) -> list[dt.date]:
    """Today and the days before it that are monitored, newest first."""
    window = (today - dt.timedelta(days=ago) for ago in range(settings.monitoring.catch_up_days + 1))
    return [day for day in window if day >= settings.days.start_date]


def day_last_asked_for(monitoring: MonitoringSettings, now: dt.datetime) -> dt.date:
    """The newest day that the daily schedule has asked for at ``now``: the UTC day of its last tick.

    It may be the day before today in UTC, when the schedule's hour in its time zone is still to come.
    """
    tick = get_latest_completed_cron_tick(monitoring.schedule_cron, now, monitoring.schedule_timezone)
    return tick.astimezone(dt.timezone.utc).date()


def recent_days(
    instance: dg.DagsterInstance, root: DataRoot, files: FileSettings, days: Iterable[dt.date]
) -> list[RecentDay]:
    """How each of ``days`` stands, in their order. Raises StorageError."""
    days = list(days)
    runs = runs_of_days(instance, days, DAILY_SCHEDULE_NAME)
    return [RecentDay(day, is_published(root, files.state_files_dir, day), runs[day]) for day in days]


@dataclasses.dataclass(frozen=True)
class DueDays:
    """What the schedule makes of the days: those it asks for, newest first, and those it has tried often enough."""

    asked_for: tuple[str, ...]
    left_alone: tuple[str, ...]


def due_days(recent: Iterable[RecentDay], tries: int) -> DueDays:
    """Which of ``recent`` are asked for when a day may fail ``tries`` times."""
    due = [day for day in recent if day.is_due]
    return DueDays(
        asked_for=tuple(day.day.isoformat() for day in due if day.runs.failed_tries < tries),
        left_alone=tuple(day.day.isoformat() for day in due if day.runs.failed_tries >= tries),
    )
