"""Which provider registry answers."""

from __future__ import annotations

import enum

from pydantic import Field, field_validator

from npi_pipeline.settings.base import SettingsGroup
from npi_pipeline.settings.urls import usable_url


class FormatName(str, enum.Enum):
    """How a registry's URL and JSON look: the names of ``registries``."""

    nppes = "nppes"
    affiliated_practices = "affiliated_practices"


class RegistrySettings(SettingsGroup):
    """Which provider registry answers."""

    registry_format: FormatName = Field(
        default=FormatName.nppes,
        description="How the registry's URL and JSON look: `nppes` or `affiliated_practices`.",
    )
    registry_url: str = Field(
        default="",
        description="URL of one lookup, with `{npi}` where the NPI goes. Empty: the format's own public URL.",
        # It may hold a key.
        json_schema_extra={"secret": True},
    )

    @field_validator("registry_url")
    @classmethod
    def _url_names_the_npi(cls, value: str) -> str:
        if value and "{npi}" not in value:
            raise ValueError("must contain `{npi}` where the NPI goes")
        return usable_url(value)
