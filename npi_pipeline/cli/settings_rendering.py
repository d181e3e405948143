"""How the command line shows the settings in force: it loads neither Dagster nor polars, so that it answers at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping

from rich.console import Console
from rich.table import Table

from npi_pipeline.settings import Settings, all_settings, as_shown, environment_variable


@dataclasses.dataclass(frozen=True)
class SettingInForce:
    """One setting: its value as anybody may see it, and whether that is the default or comes from elsewhere."""

    variable: str
    value: str
    source: str
    meaning: str

    def as_json(self) -> dict[str, str]:
        """The setting for machines."""
        return dataclasses.asdict(self)


def settings_in_force(
    settings: Settings, environment: Mapping[str, str], given: Collection[str]
) -> list[SettingInForce]:
    """Every setting of ``settings``, which were read from ``environment`` and from those ``given`` as options."""
    shown = []
    for group, name, field in all_settings():
        variable = environment_variable(name)
        is_set = environment.get(variable, "").strip()
        source = "option" if name in given else "environment" if is_set else "default"
        value = as_shown(field, getattr(getattr(settings, group), name))
        shown.append(SettingInForce(variable, value, source, field.description or ""))
    return shown


def show_settings(settings: Iterable[SettingInForce]) -> None:
    """Every setting: its variable, its value, where that comes from, what it means."""
    table = Table(box=None, pad_edge=False)
    for name in ("variable", "value", "from", "meaning"):
        table.add_column(name, overflow="fold")
    for setting in settings:
        table.add_row(setting.variable, setting.value, setting.source, setting.meaning)
    Console(highlight=False).print(table)
