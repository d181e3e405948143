"""The launchpad: its fields are the settings, and what cannot be used is refused before there is a run.

Not here: how it looks (``browser``), nor what else the settings refuse (``test_settings``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.daily_job import JOB_NAME
from npi_pipeline.settings import FetchMode, FetchSettings, Settings, SettingsError, SettingsGroup
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3

DAY = "2026-11-23"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
RESOURCES = {"npi_list_source": "npi_list", "provider_registry": "registry", "day_storage": "files"}


def job(**settings: object) -> dg.JobDefinition:
    return build_definitions(Settings.from_environment({}, start_date="2026-11-01", **settings)).resolve_job_def(
        JOB_NAME
    )


def of_records(**fields: object) -> dict[str, Any]:
    return {"ops": {"npi_records": {"config": fields}}}


def of_resource(name: str, **fields: object) -> dict[str, Any]:
    return {"resources": {name: {"config": fields}}}


def test_a_run_without_a_configuration_has_the_values_of_the_environment() -> None:
    settings = Settings.from_environment({"NPI_THREADS": "7", "NPI_FETCH_MODE": "all", "NPI_FILE_PREFIX": "x_"})
    planned = dg.validate_run_config(build_definitions(settings).resolve_job_def(JOB_NAME))
    assert FetchSettings(**planned["ops"]["npi_records"]["config"]) == settings.fetch
    for resource, group in RESOURCES.items():
        assert planned["resources"][resource]["config"] == getattr(settings, group).model_dump()


def test_what_is_set_at_the_launchpad_wins_and_the_rest_stays() -> None:
    planned = dg.validate_run_config(job(threads=7), of_records(fetch_mode="failed", wait=3))
    fetch = FetchSettings(**planned["ops"]["npi_records"]["config"])
    assert fetch == FetchSettings(threads=7, fetch_mode=FetchMode.failed, wait=3.0)


def test_every_setting_of_the_fetch_and_the_resources_is_a_field_with_its_description_and_bounds() -> None:
    schema = job(threads=7).run_config_schema.run_config_schema_type
    of_job = {name: field.config_type for name, field in schema.fields.items()}  # type: ignore[attr-defined]

    def fields_of(kind: str, name: str) -> dict[str, dg.Field]:
        fields: dict[str, dg.Field] = of_job[kind].fields[name].config_type.fields["config"].config_type.fields
        return fields

    shown: dict[str, tuple[dict[str, dg.Field], type[SettingsGroup]]] = {
        "fetch": (fields_of("ops", "npi_records"), FetchSettings),
        **{
            group: (fields_of("resources", resource), type(getattr(Settings(), group)))
            for resource, group in RESOURCES.items()
        },
    }
    for fields, group in shown.values():
        descriptions = {name: setting.description for name, setting in group.model_fields.items()}
        assert {name: field.description for name, field in fields.items()} == descriptions
    fetch = shown["fetch"][0]
    assert fetch["threads"].default_value == 7
    assert fetch["threads"].config_type.given_name == "Whole number (≥ 1, ≤ 1000)"
    assert fetch["read_timeout"].config_type.given_name == "Number (> 0, ≤ 600)"
    assert fetch["fetch_mode"].config_type.config_values == [mode.value for mode in FetchMode]


@pytest.mark.parametrize(
    ("configuration", "line"),
    [
        (of_records(threads=0), "NPI_THREADS=0 cannot be used: Input should be greater than or equal to 1"),
        (of_records(read_timeout=0), "NPI_READ_TIMEOUT=0 cannot be used: Input should be greater than 0"),
        (of_records(threads=1.5), 'not valid for expected type "Whole number (≥ 1, ≤ 1000)"'),
        (of_records(fetch_mode="some"), "not in enum type FetchMode"),
        (of_records(thread=3), 'unexpected config entry "thread"'),
        (of_resource("npi_list_source", list_key="{day}"), "only `{date:...}` may stand in braces"),
        (of_resource("provider_registry", registry_format="hl7"), "not in enum type FormatName"),
        (of_resource("provider_registry", registry_url="http://example.org"), "must contain `{npi}`"),
        (of_resource("day_storage", failed_name="None"), "NPI_FAILED_NAME='None' cannot be used"),
        (of_resource("day_storage", data_root="gs://bucket"), "give a folder or s3://bucket/prefix"),
        # Right each, wrong together.
        (of_resource("provider_registry", registry_format="affiliated_practices"), "set NPI_REGISTRY_URL"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason_before_there_is_a_run(
    configuration: dict[str, Any], line: str
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(dg.DagsterInvalidConfigError) as refusal:
            job().execute_in_process(run_config=configuration, partition_key=DAY, instance=instance)
        assert instance.get_runs_count() == 0
    reasons = [error.message for error in refusal.value.errors]
    assert len(reasons) == 1
    assert line in reasons[0]


def test_every_wrong_value_is_told_and_not_only_the_first() -> None:
    with pytest.raises(dg.DagsterInvalidConfigError) as refusal:
        dg.validate_run_config(job(), of_records(threads=0, wait=-1))
    assert len(refusal.value.errors) == 2


def test_settings_of_the_environment_that_do_not_go_together_are_refused_when_the_definitions_load() -> None:
    with pytest.raises(SettingsError, match="affiliated_practices has no public URL; set NPI_REGISTRY_URL"):
        job(registry_format="affiliated_practices")


def test_a_width_for_a_list_that_the_format_lacks_is_refused_when_the_definitions_load() -> None:
    with pytest.raises(SettingsError, match="NPI_LIST_WIDTHS='taxonomy=3' cannot be used: no list is called taxonomy"):
        job(list_widths="taxonomy=3")
    job(list_widths="items=3", registry_format="affiliated_practices", registry_url="http://127.0.0.1/{npi}")


def test_a_width_that_the_launchpad_gives_to_no_list_fails_the_run_before_the_registry_is_asked(
    s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path
) -> None:
    s3.put_list(bucket, "npi_list.txt", ["1003101296"])
    daily = job(list_bucket=bucket, registry_url=registry.url, data_root=str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        result = daily.execute_in_process(
            instance=instance,
            partition_key=DAY,
            run_config=of_resource("day_storage", list_widths="taxonomy=3") | QUIET,
            raise_on_error=False,
        )
        kinds = [event.event_type_value for event in result.all_events]
    (failure,) = result.get_step_failure_events()
    assert failure.step_key == "npi_records"
    assert failure.step_failure_data.user_failure_data is not None
    line = failure.step_failure_data.user_failure_data.description or ""
    assert line.startswith("NPI_LIST_WIDTHS='taxonomy=3' cannot be used: no list is called taxonomy: a width can be")
    assert "STEP_UP_FOR_RETRY" not in kinds
    assert registry.stats().requests == 0
