"""Runs and steps as Jobs: what Dagster makes of our settings, Kubernetes takes, and its commands make the day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget

from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.deploy_files import DEPLOY
from npi_pipeline_tests.deployment import PATIENCE_SECONDS, poll_until
from npi_pipeline_tests.kubernetes_api import KubernetesApi, kubernetes_api

TODAY = dt.datetime.now(dt.timezone.utc).date()
NPIS = sorted(npi_numbers(20, seed=3))


@pytest.fixture
def api(tmp_path: Path) -> Iterator[KubernetesApi]:
    with kubernetes_api(tmp_path) as api:
        yield api


@pytest.fixture
def instance(
    api: KubernetesApi,
    s3: LocalS3,
    bucket: str,
    registry: EmulatedRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dg.DagsterInstance]:
    """The instance that `deploy/` says, but for PostgreSQL, on a cluster outside of which it is."""
    s3.put_list(bucket, f"lists/{TODAY}.txt", NPIS)
    config = yaml.safe_load((DEPLOY / "dagster.yaml").read_text() + (DEPLOY / "k8s_launcher.yaml").read_text())
    config["run_launcher"]["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(api.kubeconfig)}
    home = tmp_path / "dagster-home"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    environment = {
        "DAGSTER_HOME": str(home),
        "DAGSTER_CURRENT_IMAGE": "registry.example.com/npi-pipeline:1",
        "NPI_LIST_BUCKET": bucket,
        "NPI_LIST_KEY": "lists/{date:%Y-%m-%d}.txt",
        "NPI_DATA_ROOT": f"s3://{bucket}/npi",
        "NPI_REGISTRY_URL": registry.url,
        "NPI_START_DATE": str(TODAY),
        "NPI_EXECUTOR": "k8s",
        "NPI_EXECUTOR_CONFIG": '{"max_concurrent": 2, "step_k8s_config": {"container_config": {"resources": '
        '{"limits": {"memory": "3Gi"}}}}}',
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.mark.long
@pytest.mark.daemon
def test_a_run_and_each_of_its_steps_is_a_job_that_kubernetes_takes_and_the_day_is_made_by_them(
    api: KubernetesApi, instance: dg.DagsterInstance
) -> None:
    with (
        WorkspaceProcessContext(
            instance, ModuleTarget("npi_pipeline.definitions", None, str(Path.cwd()), None)
        ) as workspace,
        workspace.create_request_context() as request,
    ):
        (location,) = request.code_locations
        (repository,) = location.get_repositories().values()
        job = repository.get_full_job("npi_daily")
        made = create_run_for_test(
            instance,
            job_name="npi_daily",
            tags={"dagster/partition": str(TODAY)},
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
            job_snapshot=job.job_snapshot,
        )
        instance.launch_run(made.run_id, request)
        # Each of eleven steps is a process that imports everything.
        assert poll_until(lambda: instance.get_run_by_id(made.run_id).is_finished, 3 * PATIENCE_SECONDS)
    assert instance.get_run_by_id(made.run_id).status is dg.DagsterRunStatus.SUCCESS
    assert api.refusals == []
    steps = [job for name, job in api.jobs.items() if name.startswith("dagster-step-")]
    assert {job["metadata"]["labels"]["dagster/op"] for job in steps} >= {"npi_list", "providers", "state_files"}
    for job in api.jobs.values():
        pod = job["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == "npi-pipeline-dagster"
        assert pod["securityContext"]["runAsNonRoot"]
        (container,) = pod["containers"]
        assert container["image"] == "registry.example.com/npi-pipeline:1"
        assert {"secretRef": {"name": "npi-pipeline-env"}} in container["envFrom"]
    assert {job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] for job in steps} == {
        "3Gi"
    }
