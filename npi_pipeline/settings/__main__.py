"""Prints the settings as a Markdown table, for whoever updates docs/settings.md."""

from __future__ import annotations

from npi_pipeline.settings.models import all_settings, environment_variable
from npi_pipeline.settings.rendering import as_text, bounds


def settings_table() -> str:
    """The settings as a Markdown table, for docs/settings.md."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for _, name, field in all_settings():
        default = as_text(field.default)
        shown = f"`{default}`" if default else ""
        rows.append(f"| `{environment_variable(name)}` | {shown} | {field.description}{bounds(field)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(settings_table())  # noqa: T201 - this is what it is for
