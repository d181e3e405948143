"""From a group of settings to the fields of Dagster's launchpad, and back.

The launchpad shows each setting with its description and, as default, the value that the environment gives it.
Not here: the settings themselves (``settings``).
"""

from __future__ import annotations

from typing import Any, TypeVar

import dagster as dg
from pydantic import Field, ValidationError, create_model

from npi_pipeline.settings import SettingsGroup, one_line

Group = TypeVar("Group", bound=SettingsGroup)


def launchpad_config(name: str, defaults: SettingsGroup) -> type[dg.Config]:
    """A config class called ``name`` with a field for each setting of the group, defaulting to its value there.

    Bounds are told in the descriptions and enforced by ``settings_of``: a bound on the class itself would fail the
    step in a way that its retry policy repeats.
    """
    fields: dict[str, Any] = {
        field: (setting.annotation, Field(default=getattr(defaults, field), description=setting.description))
        for field, setting in type(defaults).model_fields.items()
    }
    return create_model(name, __base__=dg.Config, **fields)


def settings_of(config: dg.Config, group: type[Group]) -> Group:
    """The settings that a launchpad config holds. Raises a Failure that is not retried, on one line."""
    try:
        return group.model_validate(config.model_dump())
    except ValidationError as error:
        raise dg.Failure(description=one_line(error), allow_retries=False) from error
