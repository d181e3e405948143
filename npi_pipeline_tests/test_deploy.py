"""What stands in ``deploy/`` is what Dagster takes, and what it says is done."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy import create_engine

from npi_pipeline.orchestration.assets.npi_records import REGISTRY_POOL
from npi_pipeline.orchestration.dagster_home import NEW_HOME, is_limited, make_home
from npi_pipeline.settings import FetchSettings, MonitoringSettings, all_settings, environment_variable
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.deploy_files import COMPOSE, DEPLOY, env_example, unit
from npi_pipeline_tests.deployment import free_port, poll_until
from npi_pipeline_tests.kubernetes_api import refuse_what_is_no_manifest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dagster.yaml").write_text((DEPLOY / "dagster.yaml").read_text())
    return tmp_path


def test_every_setting_of_the_production_instance_is_one_that_dagster_knows_and_obeys(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert is_limited(instance, REGISTRY_POOL)
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
        assert instance.run_monitoring_enabled
        # A run's clock goes while it waits for the day that fetches before it.
        assert instance.run_monitoring_max_runtime_seconds > 2 * FetchSettings().run_deadline
        assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 2)
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert not instance.telemetry_enabled


def test_a_misspelt_setting_would_be_refused(home: Path) -> None:
    content = (home / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(content.replace("free_slots_after_run_end_seconds", "free_slots_after_end"))
    with pytest.raises(dg.DagsterInvalidConfigError):
        dagster_instance_config(str(home))


def test_the_block_for_postgres_completes_the_file_and_names_a_driver_that_is_there(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = with_block(home, "postgres.yaml")
    storage = InstanceRef.from_dir(str(home)).storage_data
    assert storage is not None
    assert (storage.module_name, storage.class_name) == ("dagster_postgres", "DagsterPostgresStorage")

    database = block["storage"]["postgres"]["postgres_db"]
    assert {value["env"] for value in database.values() if isinstance(value, dict)} <= set(env_example())
    known = {
        name: env_example()[value["env"]] if isinstance(value, dict) else value for name, value in database.items()
    }
    # Without the scheme SQLAlchemy 2.1 looks for a driver that dagster-postgres does not bring.
    engine = create_engine(pg_url_from_config({"postgres_db": known}))
    assert (engine.driver, engine.url.port) == ("psycopg2", 5432)


def test_the_block_for_logs_in_s3_completes_the_file(home: Path, s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    with_block(home, "s3_logs.yaml")
    monkeypatch.setenv("DAGSTER_LOGS_BUCKET", "logs")
    assert "DAGSTER_LOGS_BUCKET" in env_example()
    s3.create_bucket("logs")
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        instance.compute_log_manager.open_log_stream(["a_run", "a_step"], ComputeIOType.STDERR) as stream,
    ):
        assert stream is not None
        stream.write("said by a step")
    (key,) = (file["Key"] for file in s3.client().list_objects_v2(Bucket="logs")["Contents"])
    assert s3.client().get_object(Bucket="logs", Key=key)["Body"].read() == b"said by a step"


def with_block(home: Path, name: str) -> dict[str, Any]:
    """Add a block to the file of ``home``, as the README does; what stands in it."""
    text = (DEPLOY / name).read_text()
    with (home / "dagster.yaml").open("a") as file:
        file.write(text)
    block: dict[str, Any] = yaml.safe_load(text)
    return block


def test_a_new_home_of_the_command_line_keeps_the_budget_and_one_that_is_there_stays(tmp_path: Path) -> None:
    made = tmp_path / "made"
    make_home(made, "nux: {enabled: false}\n")
    content = yaml.safe_load((made / "dagster.yaml").read_text())
    assert content == yaml.safe_load(NEW_HOME) | {"nux": {"enabled": False}}
    with dg.DagsterInstance.from_config(str(made)) as instance:
        assert is_limited(instance, REGISTRY_POOL)

    (made / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    make_home(made)
    with dg.DagsterInstance.from_config(str(made)) as instance:
        assert not is_limited(instance, REGISTRY_POOL)
        instance.event_log_storage.set_concurrency_slots(REGISTRY_POOL, 1)
        assert is_limited(instance, REGISTRY_POOL)


def test_a_new_home_runs_again_what_died_as_production_does(tmp_path: Path) -> None:
    production = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    assert yaml.safe_load(NEW_HOME)["run_retries"] == production["run_retries"]


@pytest.mark.long
def test_serving_migrates_an_empty_storage_first_and_ends_everything_with_it(home: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [DEPLOY / "serve"],
        env=os.environ
        | {
            "DAGSTER_HOME": str(home),
            "PORT": str(port),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONWARNINGS": "ignore",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        poll_until(lambda: process.poll() is not None or _answers(port))
        assert process.poll() is None, process.communicate()[0]
        with dg.DagsterInstance.from_config(str(home)) as instance:
            poll_until(lambda: "SCHEDULER" in instance.get_daemon_heartbeats())
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[0]
        assert process.returncode == 143, said
        assert "more than one head" not in said
        assert not _answers(port)
    finally:
        # If it has not ended everything, nobody else does.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=60):
            return True
    except OSError:
        return False


def test_the_readme_names_the_settings_of_what_runs_by_itself_and_their_defaults() -> None:
    text = (DEPLOY / "README.md").read_text()
    known = {environment_variable(name) for _, name, _ in all_settings()}
    assert set(re.findall(r"NPI_\w+", text)) - {"NPI_"} <= known
    assert MonitoringSettings().schedule_cron == "0 6 * * *"
    assert MonitoringSettings().audit_cron == "0 18 * * *"
    assert f"the {MonitoringSettings().catch_up_days} days before it" in text


# The services of all three: compose, systemd, Kubernetes.
SERVICES = ("migrate", "code", "daemon", "webserver")
MANIFESTS = [
    manifest
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for manifest in yaml.safe_load_all(path.read_text())
]


def workloads() -> dict[str, Any]:
    """The pods of the manifests by what they are of."""
    return {
        of["metadata"]["name"]: of["spec"]["template"]["spec"]
        for of in MANIFESTS
        if of["kind"] in {"Deployment", "Job"}
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_the_same_command_in_containers_and_on_a_plain_host(name: str) -> None:
    in_container = COMPOSE["services"][name]["command"]
    on_host = shlex.split(unit(name)["Service"]["ExecStart"])
    on_host[0] = Path(on_host[0]).name
    of_the_place = {"/var/lib/npi-pipeline/dagster-home/workspace.yaml": "workspace.yaml"}
    hosts = {"localhost": "0.0.0.0", "127.0.0.1": "0.0.0.0"}
    assert in_container == [(of_the_place | hosts).get(word, word) for word in on_host]
    (container,) = workloads()[name]["containers"]
    assert container["command"] == in_container


def test_the_image_is_the_code_location_with_its_health_check_and_not_of_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    said = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line and not line.startswith("#")}
    code = COMPOSE["services"]["code"]
    assert json.loads(said["CMD"]) == code["command"]
    assert json.loads(said["HEALTHCHECK"].partition("CMD")[2]) == code["healthcheck"]["test"][1:]
    assert said["USER"] == "10001"
    # Pinned: a version, down to the patch.
    assert re.fullmatch(
        r"PYTHON=python:3\.\d+\.\d+-slim-\w+", next(line[4:] for line in lines if line.startswith("ARG"))
    )


def test_every_image_of_others_is_pinned() -> None:
    images = [service["image"] for service in COMPOSE["services"].values()]
    assert all(re.search(r":[\w.-]*\d", image) for image in images if image != "npi-pipeline:local")


def test_no_secret_stands_in_a_file_and_each_variable_is_one_that_somebody_reads() -> None:
    secrets = {name: value for name, value in env_example().items() if re.search("SECRET|PASSWORD|KEY_ID", name)}
    assert set(secrets.values()) == {""}
    assert not {name for name in env_example() if name.startswith("NPI_")} - {
        environment_variable(name) for _, name, _ in all_settings()
    }
    compose = (DEPLOY / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)", compose)) <= set(env_example())
    for service in COMPOSE["services"].values():
        for value in service.get("environment", {}).values():
            assert value.startswith("${")


def test_every_service_but_those_that_end_is_started_again_and_has_a_health_check() -> None:
    for name, service in COMPOSE["services"].items():
        if name not in {"migrate", "buckets"}:
            assert service["restart"] == "unless-stopped", name
            assert "test" in service["healthcheck"], name
    for name in ("code", "daemon", "webserver"):
        assert COMPOSE["services"][name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
        assert unit(name)["Service"]["Restart"] == "always"
        assert unit(name)["Unit"]["Requires"] == "npi-pipeline-migrate.service"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_understands_the_units() -> None:
    units = sorted((DEPLOY / "systemd").iterdir())
    assert len(units) == 7
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    # Of the programs that are not installed here it complains, too.
    assert [line for line in done.stderr.splitlines() if "/opt/npi-pipeline/bin/" not in line] == []


@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda manifest: f"{manifest['kind']} {manifest['metadata']['name']}"
)
def test_a_manifest_is_what_kubernetes_takes(manifest: dict[str, Any]) -> None:
    refuse_what_is_no_manifest(manifest)


def test_a_manifest_with_a_misspelt_key_would_be_refused() -> None:
    (job,) = (manifest for manifest in MANIFESTS if manifest["kind"] == "Job")
    with pytest.raises(AssertionError, match="backOffLimit"):
        refuse_what_is_no_manifest(job | {"spec": job["spec"] | {"backOffLimit": 1}})


def test_every_pod_has_resources_and_no_rights_of_root_and_every_server_a_probe() -> None:
    for name, pod in workloads().items():
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"], name
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert {"requests", "limits"} == set(container["resources"]), name
        assert name == "migrate" or any(key.endswith("Probe") for key in container), name


def test_the_kustomization_names_every_manifest() -> None:
    files = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]) == files
