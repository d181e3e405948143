"""How what is logged is written."""

from __future__ import annotations

import enum

from pydantic import Field

from npi_pipeline.settings.base import SettingsGroup


class LogFormat(str, enum.Enum):
    """How a line is written."""

    text = "text"
    json = "json"


class LogSettings(SettingsGroup):
    """How what is logged is written."""

    log_format: LogFormat = Field(
        default=LogFormat.text,
        description="How the lines of a run, launched or of the command line, are written: `text` for a person, `json` "
        "(an object a line) for what collects logs. Dagster's own services have `--log-format json`.",
    )
