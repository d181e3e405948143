"""From a group of settings to the fields of Dagster's launchpad, and back.

The launchpad shows each setting with its bounds and its description and, as default, the value that the environment
gives it. It refuses a wrong word or type as one writes it. A number out of its bounds, and values that do not go
together, are refused when the run is launched, before there is a run, by any way of launching one: Dagster
post-processes a configuration when it plans a run. A secret is not shown: its field begins empty, which stands for
what the environment says.
Not here: the settings themselves (``settings``).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from npi_pipeline.orchestration.dagster_internals import ConfigScalar, ConfigScalarKind, PostProcessingError
from npi_pipeline.settings import SettingsError, SettingsGroup, bounds, is_secret, one_line

if TYPE_CHECKING:
    from typing_extensions import Self

Group = TypeVar("Group", bound=SettingsGroup)

# A name that Dagster's own scalars do not have: there can be only one of a name.
_SCALARS = {
    int: ("Whole number", ConfigScalarKind.INT),
    float: ("Number", ConfigScalarKind.FLOAT),
    str: ("Text", ConfigScalarKind.STRING),
}

_NOT_SHOWN = (
    " The environment sets it, and it is not shown. Left empty, that stays; what is written here is kept with the run."
)


def launchpad_fields(group: type[SettingsGroup], defaults: SettingsGroup) -> dg.Field:
    """The settings of ``group`` as the schema of an asset's or a resource's configuration.

    ``defaults`` has the value that each field begins with. What comes out of it are valid settings, for ``group``,
    once the secrets that are left empty are filled in: see ``settings_resource``.
    """
    secrets = _secrets(defaults)
    fields = {
        name: dg.Field(
            _field_type(group, name, setting),
            default_value="" if name in secrets else _as_configuration(getattr(defaults, name)),
            description=f"{setting.description}{_NOT_SHOWN if secrets.get(name) else ''}",
        )
        for name, setting in group.model_fields.items()
    }
    return dg.Field(_GroupType(fields, group, secrets))


def settings_resource(resource: type[Group], defaults: SettingsGroup) -> dg.ResourceDefinition:
    """The resource class ``resource``, whose fields are settings, as a resource with the values of ``defaults``.

    Dagster would give its fields no bounds, and would look at them when a step of the run begins.
    Raises SettingsError when these values do not go together.
    """
    try:
        resource(**defaults.model_dump())
    except ValidationError as error:
        raise SettingsError(one_line(error)) from error
    secrets = _secrets(defaults)
    return dg.ResourceDefinition(
        lambda context: resource(**_filled_in(context.resource_config, secrets)),
        config_schema=launchpad_fields(resource, defaults),
        description=resource.__doc__,
    )


class _SettingType(ConfigScalar):
    """One setting. Its name tells the bounds: the launchpad shows it beside the field."""

    def __init__(self, group: type[SettingsGroup], name: str, setting: FieldInfo) -> None:
        kind_name, kind = _SCALARS[setting.annotation]  # type: ignore[index]
        self._group, self._name = group, name
        super().__init__(key=f"{group.__name__}.{name}", given_name=f"{kind_name}{bounds(setting)}", scalar_kind=kind)

    def post_process(self, value: object) -> object:
        """The value as the setting has it. Raises PostProcessingError with the line that tells why it has not."""
        try:
            return getattr(self._group(**{self._name: value}), self._name)
        except ValidationError as error:
            of_this_one = [found for found in error.errors() if found["loc"] == (self._name,)]
            if of_this_one:
                raise PostProcessingError(one_line(error)) from None
            # The other settings have their defaults here: whether it goes with theirs, the group sees.
            return value


class _GroupType(dg.Shape):
    """The settings of a group together, for what only shows when one has them all.

    Dagster keeps one type of each key, and the key tells whether a secret is set but not which: so a secret is looked
    at here and never handed out.
    """

    # Dagster's Shape hands out one object, of its own class, for all shapes of the same fields.
    def __new__(cls, *_arguments: object) -> Self:
        shape = object.__new__(cls)
        shape._initialized = False
        return shape

    def __init__(self, fields: Mapping[str, dg.Field], group: type[SettingsGroup], secrets: Mapping[str, str]) -> None:
        super().__init__(fields)  # type: ignore[no-untyped-call]
        self._group = group
        self._secrets = secrets

    def post_process(self, value: dict[str, Any]) -> dict[str, Any]:
        """The values, when they go together. Raises PostProcessingError with the line that tells why not."""
        try:
            self._group(**_filled_in(value, self._secrets))
        except ValidationError as error:
            raise PostProcessingError(one_line(error)) from None
        return value


def _secrets(settings: SettingsGroup) -> dict[str, str]:
    """Those of the settings that are secrets, by name."""
    secrets = (name for name, setting in type(settings).model_fields.items() if is_secret(setting))
    return {name: getattr(settings, name) for name in secrets}


def _filled_in(configuration: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """The configuration, with the secrets that were left empty."""
    return {**configuration, **{name: secret for name, secret in secrets.items() if not configuration[name]}}


def _field_type(group: type[SettingsGroup], name: str, setting: FieldInfo) -> dg.Enum | _SettingType | type[bool]:
    words = setting.annotation
    if isinstance(words, type) and issubclass(words, enum.Enum):
        return dg.Enum(words.__name__, [dg.EnumValue(word.value, word) for word in words])
    return bool if words is bool else _SettingType(group, name, setting)


def _as_configuration(value: object) -> object:
    return value.value if isinstance(value, enum.Enum) else value
