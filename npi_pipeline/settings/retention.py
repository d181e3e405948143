"""How long what a day leaves is kept."""

from __future__ import annotations

from pydantic import Field, model_validator

from npi_pipeline.settings.base import SettingsGroup


class RetentionSettings(SettingsGroup):
    """How long what a day leaves is kept."""

    keep_days: int = Field(
        default=0,
        ge=0,
        le=36_600,
        description="Days after which the journal and the provider table of a published day are removed, and what was "
        "prepared of the registry's own files and no day that is kept names; 0: never. Lists, state files, changes and "
        "reports stay.",
    )
    keep_files_days: int = Field(
        default=0,
        ge=0,
        le=36_600,
        description="Days after which its list, state files, changes and report are removed too; 0: never.",
    )

    keep_runs_days: int = Field(
        default=0,
        ge=0,
        le=36_600,
        description="Days after which Dagster's runs are removed with their events and logs, but for the last ones of "
        "each day whose files are kept; 0: never.",
    )

    @model_validator(mode="after")
    def _files_stay_as_long_as_what_they_are_made_from(self) -> RetentionSettings:
        if self.keep_files_days and not 0 < self.keep_days <= self.keep_files_days:
            raise ValueError(
                f"NPI_KEEP_FILES_DAYS={self.keep_files_days} removes files of days whose journals are kept longer: set "
                "NPI_KEEP_DAYS to as many days or fewer"
            )
        return self

    @property
    def is_any_removed(self) -> bool:
        """Whether there is anything that does not stay for ever."""
        return bool(self.keep_days or self.keep_runs_days)
