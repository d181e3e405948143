"""All settings of one deployment, read from the environment. Not here: each setting (a file for each group)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from npi_pipeline.settings.base import SettingsError
from npi_pipeline.settings.checks import CheckSettings
from npi_pipeline.settings.days import DaySettings, MonitoringSettings
from npi_pipeline.settings.deliveries import DeliverySettings
from npi_pipeline.settings.engine import EngineSettings
from npi_pipeline.settings.fetch import FetchSettings
from npi_pipeline.settings.files import FileSettings
from npi_pipeline.settings.logs import LogSettings
from npi_pipeline.settings.npi_list import ListSettings
from npi_pipeline.settings.registry import RegistrySettings
from npi_pipeline.settings.rendering import is_secret
from npi_pipeline.settings.retention import RetentionSettings

ENVIRONMENT_PREFIX = "NPI_"


class Settings(BaseModel):
    """All settings of one deployment, read once by whoever assembles the pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    npi_list: ListSettings = ListSettings()
    registry: RegistrySettings = RegistrySettings()
    fetch: FetchSettings = FetchSettings()
    files: FileSettings = FileSettings()
    checks: CheckSettings = CheckSettings()
    days: DaySettings = DaySettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    deliveries: DeliverySettings = DeliverySettings()
    engine: EngineSettings = EngineSettings()
    retention: RetentionSettings = RetentionSettings()
    logs: LogSettings = LogSettings()

    @property
    def is_list_of_registry(self) -> bool:
        """Whether no list is named, and the list of a day is every NPI that the registry's own files hold."""
        return self.registry.is_bulk and not self.npi_list.list_bucket

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], /, **overrides: object) -> Settings:
        """Settings from the ``NPI_`` variables of ``environment``; ``overrides`` are by setting name and win.

        Raises SettingsError, on one line, for the first value that cannot be used.
        """
        unknown = set(overrides) - {name for _, name, _ in all_settings()}
        if unknown:
            raise SettingsError(f"no setting is called {', '.join(sorted(unknown))}")
        groups: dict[str, dict[str, object]] = {group: {} for group in cls.model_fields}
        for group, name, _ in all_settings():
            text = environment.get(environment_variable(name), "").strip()
            if name in overrides:
                groups[group][name] = overrides[name]
            elif text:
                groups[group][name] = text
        try:
            return cls.model_validate(groups)
        except ValidationError as error:
            raise SettingsError(one_line(error)) from None


def environment_variable(name: str) -> str:
    """The environment variable of the setting ``name``."""
    return ENVIRONMENT_PREFIX + name.upper()


def all_settings() -> Iterator[tuple[str, str, FieldInfo]]:
    """Every setting as (group, name, field), in the order of the documentation's table."""
    for group, group_field in Settings.model_fields.items():
        model: Any = group_field.annotation
        for name, field in model.model_fields.items():
            yield group, name, field


def one_line(error: ValidationError) -> str:
    """The first thing that is wrong: the setting, its value and why it cannot be used."""
    first = error.errors()[0]
    reason = str(first["msg"]).removeprefix("Value error, ")
    name = str(first["loc"][-1]) if first["loc"] else ""
    if name not in {known for _, known, _ in all_settings()}:
        # Said of several settings together, by their group or by who uses them: it is a whole line already.
        return reason
    is_secret_one = any(name == known and is_secret(field) for _, known, field in all_settings())
    value = "" if is_secret_one else f"={first['input']!r}"
    return f"{environment_variable(name)}{value} cannot be used: {reason}"
