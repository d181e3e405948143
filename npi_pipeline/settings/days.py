"""Which days exist, which are monitored, and who hears of one that fails."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo

from pydantic import Field, field_validator

from npi_pipeline.settings.base import SettingsGroup
from npi_pipeline.settings.urls import usable_url

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


class DaySettings(SettingsGroup):
    """Which days exist."""

    start_date: dt.date = Field(
        default=dt.date(2026, 1, 1),
        description="First day (UTC) of the daily partitions.",
    )


class MonitoringSettings(SettingsGroup):
    """Which days are monitored, when, and who hears of it when one fails."""

    schedule_cron: str = Field(
        default="0 6 * * *",
        min_length=1,
        description="When the daily schedule asks for today and for the days that were missed, as a cron expression.",
    )
    schedule_timezone: str = Field(
        default="UTC",
        description="Time zone of the schedule and of the audit, e.g. `America/New_York`. The days themselves are UTC.",
    )
    catch_up_days: int = Field(
        default=7,
        ge=0,
        le=366,
        description="So many days before today are monitored: made up for when they were missed, and audited.",
    )
    catch_up_tries: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Runs of one day that the schedule lets fail; then it reports the day and leaves it alone.",
    )
    audit_cron: str = Field(
        default="0 18 * * *",
        min_length=1,
        description="When the audit looks whether any of these days is incomplete or failed, as a cron expression.",
    )
    fresh_hours: float = Field(
        default=36.0,
        gt=0,
        le=8784,
        description="Hours after which the newest state files count as stale in the UI; it warns after three quarters.",
    )
    alert_webhook_url: str = Field(
        default="",
        description='Where the line about a failed run is posted, as JSON `{"text": ...}` (Slack and others take it). '
        "Empty: it is logged.",
        json_schema_extra={"secret": True},
    )

    alert_urls: str = Field(
        default="",
        description="Where that line is sent besides, as apprise writes it, with blanks between them: `slack://...`, "
        "`mailto://...`, `pagerduty://...` and a hundred others. It needs the extra `alerts`.",
        json_schema_extra={"secret": True},
    )

    @field_validator("schedule_timezone")
    @classmethod
    def _timezone_is_known(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("no time zone has that name; write it like `Europe/Berlin`") from error
        return value

    @field_validator("alert_webhook_url")
    @classmethod
    def _url_is_http(cls, value: str) -> str:
        return usable_url(value)

    @field_validator("alert_urls")
    @classmethod
    def _each_is_a_url(cls, value: str) -> str:
        for number, url in enumerate(value.split(), start=1):
            if not _URL.fullmatch(url):
                raise ValueError(
                    f"URL {number} is none; write it like slack://..., with %20 for a blank, and blanks between them"
                )
        return value
