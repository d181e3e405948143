"""A setting that is a secret is shown nowhere."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from npi_pipeline.cli import main
from npi_pipeline.settings import Settings, SettingsError, all_settings, is_secret

SECRET = "hooks.example.org/a-secret"


def test_the_webhook_is_the_only_secret_among_the_settings() -> None:
    assert [name for _, name, field in all_settings() if is_secret(field)] == ["alert_webhook_url"]


def test_a_secret_is_not_shown_among_the_settings_in_force() -> None:
    shown = CliRunner(env={"NPI_ALERT_WEBHOOK_URL": f"https://{SECRET}", "COLUMNS": "300"}).invoke(main, ["settings"])
    assert shown.exit_code == 0
    assert SECRET not in shown.output
    assert "(set, not shown)" in shown.output


def test_a_secret_that_cannot_be_used_is_refused_without_being_told() -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({"NPI_ALERT_WEBHOOK_URL": f"ftp://{SECRET}"})
    assert str(refusal.value) == "NPI_ALERT_WEBHOOK_URL cannot be used: must start with http:// or https://"
