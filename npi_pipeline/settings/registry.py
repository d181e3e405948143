"""Which provider registry answers."""

from __future__ import annotations

import enum

from pydantic import Field, field_validator, model_validator

from npi_pipeline.settings.base import SettingsGroup
from npi_pipeline.settings.urls import usable_url


class FormatName(str, enum.Enum):
    """How a registry's URL and JSON look: the names of ``registries``."""

    nppes = "nppes"
    affiliated_practices = "affiliated_practices"
    nppes_bulk = "nppes_bulk"


class RegistrySettings(SettingsGroup):
    """Which provider registry answers."""

    registry_format: FormatName = Field(
        default=FormatName.nppes,
        description="Who answers: `nppes` (the NPI Registry's API), `affiliated_practices` (a gateway), or "
        "`nppes_bulk`: the NPI Registry's files in `NPI_BULK_FILES`, with no HTTP.",
    )
    registry_url: str = Field(
        default="",
        description="URL of one lookup, with `{npi}` where the NPI goes. Empty: the format's own public URL.",
        # It may hold a key.
        json_schema_extra={"secret": True},
    )
    bulk_files: str = Field(
        default="",
        description="Folder or `s3://bucket/prefix` of the NPI Registry's dissemination files, as they are downloaded: "
        "monthly and weekly zips and deactivation reports, or what was unpacked from them. Required by `nppes_bulk`.",
    )

    bulk_first: bool = Field(
        default=False,
        description="With `nppes`: take from `NPI_BULK_FILES` what stands there, and ask the API only for the rest. "
        "Each row says which file it is from; a change since the last file is seen with the next one.",
    )

    @field_validator("registry_url")
    @classmethod
    def _url_names_the_npi(cls, value: str) -> str:
        if value and "{npi}" not in value:
            raise ValueError("must contain `{npi}` where the NPI goes")
        return usable_url(value)

    @model_validator(mode="after")
    def _bulk_files_are_named(self) -> RegistrySettings:
        if self.bulk_first and self.registry_format is not FormatName.nppes:
            raise ValueError("NPI_BULK_FIRST=true goes with NPI_REGISTRY_FORMAT=nppes alone: it has the same records")
        if self.has_snapshot and not self.bulk_files:
            raise ValueError(
                f"{'NPI_BULK_FIRST=true' if self.bulk_first else 'NPI_REGISTRY_FORMAT=nppes_bulk'} reads the NPI "
                "Registry's files: set NPI_BULK_FILES to the folder or s3://bucket/prefix that holds them"
            )
        return self

    @property
    def is_bulk(self) -> bool:
        """Whether the registry is its dissemination files, and nobody is asked over HTTP."""
        return self.registry_format is FormatName.nppes_bulk

    @property
    def has_snapshot(self) -> bool:
        """Whether the dissemination files are read."""
        return self.is_bulk or self.bulk_first
