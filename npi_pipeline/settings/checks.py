"""When a day is suspicious."""

from __future__ import annotations

from pydantic import Field

from npi_pipeline.settings.base import SettingsGroup


class CheckSettings(SettingsGroup):
    """When a day is suspicious."""

    failed_share_limit: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Largest share of the list's NPIs that may end as `failed` before the day is not published.",
    )
    not_found_share_limit: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="Largest share of the registry's answers that may be `not_found` or `deactivated`. Above it the "
        "day is believed and published only when the registry still finds NPIs that it found lately. 1: the list is "
        "so, ask no further.",
    )
    not_found_change_limit: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Warn when the share of `not_found`, or of `deactivated`, is by more than this above the median of "
        "recent days.",
    )
    list_change_limit: float = Field(
        default=0.5,
        ge=0,
        le=100,
        description="Warn when the list's size differs by more than this share from the median of its recent days.",
    )
    invalid_share_limit: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Warn when more than this share of the list's distinct NPIs is invalid.",
    )
    bulk_age_limit_days: int = Field(
        default=14,
        ge=1,
        le=366,
        description="Warn when what the dissemination files say is more than so many days older than the day "
        "(`nppes_bulk`; CMS publishes a file each week).",
    )
