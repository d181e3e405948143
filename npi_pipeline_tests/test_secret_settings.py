"""A setting that is a secret is shown and kept nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from npi_pipeline.cli.commands import main
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.daily_job import JOB_NAME
from npi_pipeline.orchestration.engines import executor_of
from npi_pipeline.orchestration.resources import ProviderRegistry
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import Settings, SettingsError, all_settings, environment_variable, is_secret
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3

SECRET = "5ecret-0f-ours"
NO_REQUEST = "no request can be made to that URL"
URLS = {
    "NPI_DELIVER_TO": f"warehouse=postgresql://me:{SECRET}@db.example.org/npi",
    "NPI_ALERT_WEBHOOK_URL": f"https://hooks.example.org/{SECRET}",
    "NPI_ALERT_URLS": f"slack://{SECRET}/b/c mailto://me:{SECRET}@example.org",
    "NPI_REGISTRY_URL": f"https://me:{SECRET}@registry.example.org/{{npi}}?key={SECRET}",
}


def test_what_may_hold_a_key_are_the_secrets() -> None:
    secrets = {environment_variable(name) for _, name, field in all_settings() if is_secret(field)}
    assert secrets == {*URLS, "NPI_EXECUTOR_CONFIG"}


@pytest.mark.parametrize("config", [f'{{"broker": ["{SECRET}"], "backend": 5}}', f'{{"x": "{SECRET}'])
def test_of_an_engines_configuration_no_value_is_told(config: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        executor_of(Settings.from_environment({"NPI_EXECUTOR": "multiprocess", "NPI_EXECUTOR_CONFIG": config}).engine)
    assert SECRET not in "".join(traceback.format_exception(refusal.value))


def test_of_a_secret_no_more_than_its_host_is_shown_among_the_settings_in_force() -> None:
    shown = CliRunner(env=URLS | {"COLUMNS": "300"}).invoke(main, ["settings"])
    assert shown.exit_code == 0
    assert SECRET not in shown.output
    for host in ("hooks.example.org", "registry.example.org"):
        assert f"(set, at {host}; the rest is not shown)" in shown.output
    assert "(set; not shown)" in shown.output


@pytest.mark.parametrize(
    ("variable", "url", "why"),
    [
        (
            "NPI_DELIVER_TO",
            f"kafka://me:{SECRET}@h, {SECRET}",
            "sink 1 is no URL; write it like name=scheme://host/path",
        ),
        ("NPI_DELIVER_TO", f"kafka://me:{SECRET}@h,kafka://me:{SECRET}@i", "two sinks are called kafka"),
        ("NPI_DELIVER_TO", f"Ä=kafka://me:{SECRET}@h", "the name of sink 1 must be small letters"),
        ("NPI_DELIVER_TO", f"kafka://me:[{SECRET}@h", "the URL of sink kafka cannot be read"),
        ("NPI_ALERT_WEBHOOK_URL", f"ftp://hooks.example.org/{SECRET}", "must start with http:// or https://"),
        ("NPI_ALERT_URLS", f"json://h/ {SECRET}", "URL 2 is none; write it like slack://"),
        ("NPI_REGISTRY_URL", f"ftp://example.org/{{npi}}?key={SECRET}", "must start with http:// or https://"),
        ("NPI_REGISTRY_URL", f"https://example.org/?key={SECRET}", "must contain `{npi}` where the NPI goes"),
        ("NPI_REGISTRY_URL", f"http://me:{SECRET}@example.org:99999/{{npi}}?key={SECRET}", NO_REQUEST),
        ("NPI_REGISTRY_URL", f"http://me:{SECRET}/x@example.org/{{npi}}", NO_REQUEST),
        ("NPI_REGISTRY_URL", f"http:///{{npi}}?key={SECRET}", NO_REQUEST),
        ("NPI_ALERT_WEBHOOK_URL", f"https://hooks.example.org:port/{SECRET}", NO_REQUEST),
        ("NPI_ALERT_WEBHOOK_URL", f"https://[::1/{SECRET}", NO_REQUEST),
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_without_being_told(variable: str, url: str, why: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({variable: url})
    assert str(refusal.value).startswith(f"{variable} cannot be used: {why}")
    # Dagster shows and keeps an error with those that it came from.
    assert SECRET not in "".join(traceback.format_exception(refusal.value))


def test_a_url_that_cannot_be_used_is_refused_without_being_told_where_the_settings_are_not_read() -> None:
    with pytest.raises(SettingsError, match=NO_REQUEST) as refusal:
        Registry(FORMATS["nppes"], f"http://me:{SECRET}@example.org:99999/{{npi}}?key={SECRET}")
    assert SECRET not in "".join(traceback.format_exception(refusal.value))


def test_the_launchpad_does_not_show_a_secret_and_uses_it_when_the_field_is_left_empty() -> None:
    # Dagster keeps the types of a configuration by their key: these must not bring back the first one's secret.
    urls = [URLS["NPI_REGISTRY_URL"], URLS["NPI_REGISTRY_URL"].replace(SECRET, f"another-{SECRET}")]
    jobs = [
        build_definitions(Settings.from_environment({"NPI_REGISTRY_URL": url})).resolve_job_def(JOB_NAME)
        for url in urls
    ]
    for job, url in zip(jobs, urls, strict=True):
        assert SECRET not in dg.serialize_value(job.get_config_schema_snapshot())
        assert url_of(job) == url_of(job, registry_url="") == url
        # Without its URL, this format could not be used.
        assert url_of(job, registry_format="affiliated_practices") == url
        assert url_of(job, registry_url="http://elsewhere/{npi}") == "http://elsewhere/{npi}"


def url_of(job: dg.JobDefinition, **fields: str) -> str:
    """The registry's URL in a run of ``job`` with these fields of the launchpad."""
    planned = dg.validate_run_config(job, {"resources": {"provider_registry": {"config": fields}}})
    with dg.build_init_resource_context(config=planned["resources"]["provider_registry"]["config"]) as context:
        registry = job.resource_defs["provider_registry"].resource_fn(context)
    assert isinstance(registry, ProviderRegistry)
    return registry.registry_url


@pytest.mark.long
def test_a_key_of_the_registry_is_neither_logged_nor_kept_whether_the_day_succeeds_or_fails(
    s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path
) -> None:
    s3.put_list(bucket, "npi_list.txt", list(npi_numbers(20)))
    environment = os.environ | {
        "NPI_LIST_BUCKET": bucket,
        "NPI_DATA_ROOT": str(tmp_path / "npi-data"),
        "NPI_START_DATE": "2026-11-01",
        "NPI_REUSE_HOURS": "0",
        "NPI_MAX_RETRIES": "0",
        "NPI_REGISTRY_URL": f"{registry.url}&key={SECRET}".replace("://", f"://me:{SECRET}@"),
        "DAGSTER_HOME": str(tmp_path / "home"),
    }

    def run(day: str, **more: str) -> subprocess.CompletedProcess[bytes]:
        code = "from npi_pipeline.cli.commands import main; main()"
        command = [sys.executable, "-c", code, "run", "--date", day]
        return subprocess.run(command, env=environment | more, capture_output=True, check=False)

    succeeded = run("2026-11-22")
    assert succeeded.returncode == 0, succeeded.stderr
    # It knows no such path, and so every NPI fails; what it answered is kept.
    keyed = run("2026-11-21", NPI_REGISTRY_URL=f"{registry.url.partition('?')[0]}/{SECRET}/{{npi}}")
    assert keyed.returncode == 1, keyed.stderr
    assert b"nppes" in (tmp_path / "npi-data/journal/day=2026-11-21/journal.json").read_bytes()
    registry.close()
    failed = run("2026-11-23")
    assert failed.returncode == 1, failed.stderr

    secret = SECRET.encode()
    assert not [one for one in (succeeded, keyed, failed) if secret in one.stdout + one.stderr]
    assert [path for path in _files(tmp_path) if secret in path.read_bytes()] == []


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
