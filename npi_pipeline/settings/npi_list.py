"""Where the day's NPI list is."""

from __future__ import annotations

import datetime as dt

from pydantic import Field, field_validator, model_validator

from npi_pipeline.settings.base import SettingsGroup

# A day, the next one, and those a week, a month and a year later: a format that tells these apart names the whole date.
_DAYS_TO_TELL_APART = tuple(
    dt.date(*numbers) for numbers in ((2026, 11, 23), (2026, 11, 24), (2026, 11, 30), (2026, 12, 23), (2027, 11, 23))
)


class ListSettings(SettingsGroup):
    """Where the day's NPI list is."""

    list_bucket: str = Field(
        default="",
        description="S3 bucket that holds the NPI list. Required, but for `nppes_bulk`: without it, every NPI of the "
        "registry's files is looked up.",
    )
    list_key: str = Field(
        default="npi_list.txt",
        min_length=1,
        description="S3 key of the NPI list; may hold the day, e.g. `lists/{date:%Y-%m-%d}.txt`. Without it, "
        "a past day has the object's version as of its end (UTC).",
    )
    list_column: str = Field(
        default="",
        description="Which column of the list holds the NPIs: its header, or its position from 1. Empty: found by "
        "header and values; what was not clear is a warning.",
    )
    list_max_bytes: int = Field(
        default=1_073_741_824,
        ge=1024,
        le=17_179_869_184,
        description="Largest list accepted, in bytes. A list is held in memory: about five times its bytes.",
    )
    list_unsigned: bool = Field(
        default=False,
        description="Read the bucket without credentials (a public bucket).",
    )
    list_requester_pays: bool = Field(
        default=False,
        description="Pay for the requests to the bucket (a requester-pays bucket).",
    )

    @field_validator("list_key")
    @classmethod
    def _key_is_a_template_of_the_date(cls, value: str) -> str:
        try:
            value.format(date=dt.date(2026, 1, 1))
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(f"only `{{date:...}}` may stand in braces ({error})") from error
        return value

    @model_validator(mode="after")
    def _who_pays_is_known(self) -> ListSettings:
        if self.list_requester_pays and self.list_unsigned:
            raise ValueError("NPI_LIST_REQUESTER_PAYS takes credentials to pay with: set NPI_LIST_UNSIGNED=false")
        return self

    def key_of(self, day: dt.date) -> str:
        """The key of the list of ``day``."""
        return self.list_key.format(date=day)

    @property
    def key_is_dated(self) -> bool:
        """Whether each day has a key of its own. One that comes again, such as ``{date:%a}.txt``, is not dated."""
        return len({self.key_of(day) for day in _DAYS_TO_TELL_APART}) == len(_DAYS_TO_TELL_APART)
