"""Where a day's files lie and what they are called."""

from __future__ import annotations

import datetime as dt

from pydantic import Field, field_validator

from npi_pipeline.settings.base import SettingsGroup


class FileSettings(SettingsGroup):
    """Where a day's files lie and what they are called."""

    data_root: str = Field(
        default="npi-data",
        min_length=1,
        description="Where everything of a day is kept: a folder, or `s3://bucket/prefix`.",
    )
    state_files_dir: str = Field(
        default="state_files",
        pattern=r"^[A-Za-z0-9_\-]+(/[A-Za-z0-9_\-]+)*$",
        description="Folder of the state files below the data root.",
    )
    file_prefix: str = Field(
        default="npi_data_",
        pattern=r"^([A-Za-z0-9_\-][A-Za-z0-9_.\-]*)?$",
        description="First part of a state file's name.",
    )
    failed_name: str = Field(
        default="Failed",
        pattern=r"^[A-Za-z0-9_\-]{3,}$",
        description="Stands for the state in the name of the file of NPIs that could not be had.",
    )
    date_format: str = Field(
        default="%Y-%m-%d",
        min_length=2,
        description="The day in a state file's name, as `strftime` writes it.",
    )
    escape_formulas: bool = Field(
        default=True,
        description="Put `'` before a cell that a spreadsheet would run as a formula.",
    )
    byte_order_mark: bool = Field(
        default=False,
        description="Begin each CSV with a byte-order mark, by which Excel knows UTF-8 when a file is opened with a "
        "double click. Databases may take it for a part of the first column's name.",
    )
    list_widths: str = Field(
        default="",
        pattern=r"^\s*([^=,\s]+=[0-9]{1,4}\s*(,\s*[^=,\s]+=[0-9]{1,4}\s*)*)?$",
        description="Pins how many items of a list have columns, e.g. `taxonomies=15,identifiers=50`; further items "
        "are kept in `unknown_fields`. Lists not named are as wide as the day's widest record, up to a width that "
        "databases take (see The files).",
    )

    report_keep: int = Field(
        default=366,
        ge=0,
        le=36_600,
        description="So many days keep their report, the newest; those of older days are removed when one is made. "
        "0: all are kept.",
    )

    def pinned_widths(self) -> dict[str, int]:
        """``list_widths`` as the number of items by name of the list."""
        pairs = (pair.split("=") for pair in self.list_widths.split(",") if pair.strip())
        return {name.strip(): int(width) for name, width in pairs}

    @field_validator("failed_name")
    @classmethod
    def _name_is_not_taken(cls, value: str) -> str:
        if value == "None":
            raise ValueError("it is the name of the file of providers without a state")
        return value

    @field_validator("date_format")
    @classmethod
    def _format_is_a_safe_file_name(cls, value: str) -> str:
        a, b = (dt.date(2026, 11, day).strftime(value) for day in (23, 24))
        if a == b or a.startswith(".") or any(character in a for character in "/\\\0"):
            raise ValueError("must tell two days apart, hold no slash and begin with no dot")
        return value
