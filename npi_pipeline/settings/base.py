"""What a group of settings is, and the error of a setting that cannot be used. Not here: the groups (a file each)."""

from __future__ import annotations

import unicodedata

from pydantic import BaseModel, ConfigDict, field_validator

from npi_pipeline.errors import PipelineError


class SettingsError(PipelineError, ValueError):
    """A setting has a value that cannot be used: the setting, the value and the remedy.

    A ValueError too, for of those pydantic makes its own, when a validator of a group of settings raises one.
    """


class SettingsGroup(BaseModel):
    """Settings that belong to one part of the pipeline. Immutable; unknown names are refused."""

    # Of a value that is refused, ``one_line`` says what may be said; pydantic's own message would show a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _text_is_trimmed_and_can_be_seen(cls, value: object) -> object:
        """A carriage return that a file of variables left behind is taken off; what is in the middle is refused."""
        if not isinstance(value, str):
            return value
        text = value.strip()
        unseen = next((character for character in text if not character.isprintable()), None)
        if unseen is not None:
            name = unicodedata.name(unseen, "a control character")
            raise ValueError(f"it holds a character that cannot be seen (U+{ord(unseen):04X}, {name}); write it anew")
        return text
