"""Settings: one name everywhere, the environment below what is given, and a reason for what is refused."""

from __future__ import annotations

import datetime as dt

import pytest

from npi_pipeline.registries import FORMATS
from npi_pipeline.settings import (
    FetchSettings,
    FormatName,
    ListSettings,
    Settings,
    SettingsError,
    all_settings,
    environment_variable,
    unknown_variables,
)

# The script's variables and where each has its home.
SCRIPTS_VARIABLES = {
    "NPI_FILE": "NPI_LIST_KEY",
    "BUCKET_NAME": "NPI_LIST_BUCKET",
    "CMS_API_URL": "NPI_REGISTRY_URL",
    "BASE_FILE_PATH": "NPI_DATA_ROOT",
    "NPI_DATA_DIRECTORY": "NPI_STATE_FILES_DIR",
    "NPI_DATA_FILE_PREFIX": "NPI_FILE_PREFIX",
    "FAILED_NPI_FILE": "NPI_FAILED_NAME",
    "CURRENT_DATE_KEY": "NPI_DATE_FORMAT",
    **{
        name: f"NPI_{name}"
        for name in (
            "MAX_RETRIES",
            "WAIT",
            "MAX_WAIT",
            "THREADS",
            "PRE_REQUEST_SLEEP_RANGE",
            "ASYNC_WRITES",
            "LOOP_TILL_DONE",
        )
    },
}


def test_every_variable_of_the_script_has_a_home() -> None:
    variables = {environment_variable(name) for _, name, _ in all_settings()}
    assert set(SCRIPTS_VARIABLES.values()) <= variables


def test_every_setting_has_a_description_and_a_name_of_its_own() -> None:
    names = [name for _, name, _ in all_settings()]
    assert len(names) == len(set(names))
    assert all(field.description for _, _, field in all_settings())


def test_the_environment_sets_and_what_is_given_wins() -> None:
    environment = {"NPI_THREADS": "7", "NPI_LOOP_TILL_DONE": "true", "NPI_START_DATE": "2026-02-03", "NPI_WAIT": ""}
    settings = Settings.from_environment(environment, threads="9")
    assert settings.fetch.threads == 9
    assert settings.fetch.loop_till_done is True
    assert settings.days.start_date == dt.date(2026, 2, 3)
    assert settings.fetch.wait == FetchSettings().wait


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("NPI_THREADS", "0", "greater than or equal to 1"),
        ("NPI_THREADS", "many", "valid integer"),
        ("NPI_LIST_KEY", "lists/{day}.txt", "only `{date:...}` may stand in braces"),
        ("NPI_FAILED_NAME", "None", "the name of the file of providers without a state"),
        ("NPI_REGISTRY_FORMAT", "hl7", "should be 'nppes', 'affiliated_practices' or 'nppes_bulk'"),
        ("NPI_DATE_FORMAT", "%Y/%m/%d", "no slash"),
        ("NPI_DATE_FORMAT", "%Y-%m", "tell two days apart"),
        ("NPI_FILE_PREFIX", "../x", "pattern"),
        ("NPI_STATE_FILES_DIR", "../x", "pattern"),
        ("NPI_START_DATE", "yesterday", "date"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_on_one_line_with_its_name(variable: str, value: str, why: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({variable: value})
    line = str(refusal.value)
    assert line.startswith(f"{variable}=")
    assert why in line
    assert "\n" not in line


@pytest.mark.parametrize("around", ["{}\r", " {}\n", "\t{} "])
def test_what_stands_around_a_value_is_taken_off(around: str) -> None:
    values = {
        "NPI_LIST_BUCKET": "lists",
        "NPI_REGISTRY_URL": "https://example.org/{npi}",
        "NPI_LIST_UNSIGNED": "true",
        "NPI_FETCH_MODE": "all",
        "NPI_THREADS": "7",
        "NPI_START_DATE": "2026-02-03",
    }
    settings = Settings.from_environment({name: around.format(value) for name, value in values.items()})
    assert settings == Settings.from_environment(values)
    assert Settings.from_environment({"NPI_THREADS": around.format("")}).fetch.threads == FetchSettings().threads


@pytest.mark.parametrize(
    ("variable", "value", "character"),
    [
        ("NPI_LIST_KEY", "lists/\rlist.txt", "U+000D"),
        ("NPI_LIST_BUCKET", "my\u200bbucket", "U+200B, ZERO WIDTH SPACE"),
        ("NPI_DATA_ROOT", "s3://bucket/\x00", "U+0000"),
        ("NPI_LIST_BUCKET", "\ufeffbucket", "U+FEFF"),
        ("NPI_DATA_ROOT", "npi\udcffdata", "U+DCFF"),
    ],
)
def test_a_character_that_cannot_be_seen_is_refused_by_name(variable: str, value: str, character: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({variable: value})
    line = str(refusal.value)
    assert line.startswith(f"{variable}=")
    assert f"({character}" in line
    assert line.isprintable()


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("NPI_THREDS", "NPI_THREADS"),
        ("NPI_RETRIES", "NPI_MAX_RETRIES"),
        ("NPI_BUCKET", "NPI_LIST_BUCKET"),
        ("npi_data_root", "NPI_DATA_ROOT"),
        ("NPI_LIST_UNSINGED", "NPI_LIST_UNSIGNED"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_likely_one(variable: str, meant: str) -> None:
    line = unknown_variables({variable: "1", "NPI_THREADS": "3", "PATH": "/bin"}) or ""
    assert f"{variable} ({meant} is meant?)" in line
    assert "NPI_THREADS," not in line


def test_a_variable_of_another_program_is_named_and_neither_refused_nor_guessed_at() -> None:
    assert "is meant" not in (unknown_variables({"NPI_OAUTH_ISSUER": "x"}) or "is meant")
    Settings.from_environment({"NPI_OAUTH_ISSUER": "x"})


def test_of_variables_that_are_all_settings_nothing_is_said() -> None:
    assert unknown_variables({environment_variable(name): "" for _, name, _ in all_settings()}) is None


@pytest.mark.parametrize(
    ("key", "is_dated"),
    [
        ("npi_list.txt", False),
        ("lists/{date:%Y-%m-%d}.txt", True),
        ("{date}.txt", True),
        ("{date:%y%j}", True),
        ("{date:%Y-%m}.txt", False),
        ("{date:%Y-%U}.txt", False),
        ("{date:%Y-%d}.txt", False),
        ("{date:%Y-%A}.txt", False),
        ("{date:%d}.txt", False),
        ("{date:%m-%d}.txt", False),
    ],
)
def test_a_key_is_dated_when_no_two_days_share_it(key: str, is_dated: bool) -> None:
    assert ListSettings(list_key=key).key_is_dated is is_dated


def test_settings_that_do_not_go_together_are_refused_on_one_line_that_names_them() -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({"NPI_LIST_REQUESTER_PAYS": "true", "NPI_LIST_UNSIGNED": "true"})
    assert str(refusal.value) == ("NPI_LIST_REQUESTER_PAYS takes credentials to pay with: set NPI_LIST_UNSIGNED=false")


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(SettingsError, match="no setting is called thread"):
        Settings.from_environment({}, thread=3)


def test_the_names_of_registry_formats_are_those_of_the_formats() -> None:
    assert [name.value for name in FormatName] == list(FORMATS)
