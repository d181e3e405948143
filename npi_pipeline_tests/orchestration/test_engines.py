"""Which executor runs the steps: by a setting, its package imported only then, and one line for what is missing."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg
import pytest

from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.daily_job import JOB_NAME
from npi_pipeline.orchestration.engines import executor_of
from npi_pipeline.settings import EngineSettings, Settings, SettingsError


@pytest.mark.parametrize("name", ["in_process", "multiprocess"])
def test_every_job_has_the_executor_of_the_setting_and_so_have_backfills_of_the_ui(name: str) -> None:
    definitions = build_definitions(Settings.from_environment({}, executor=name, shards=3))
    jobs = [definitions.resolve_job_def(JOB_NAME), definitions.resolve_implicit_global_asset_job_def()]
    assert [job.executor_def.name for job in jobs] == [name, name]


def test_with_several_processes_each_shard_has_one_unless_the_configuration_says_otherwise() -> None:
    assert _config(shards=5)["max_concurrent"] == 5
    assert _config(shards=5, shards_at_once=3)["max_concurrent"] == 3
    assert _config(shards=5, executor_config='{"max_concurrent": 2}')["max_concurrent"] == 2


def _config(**settings: object) -> dict[str, object]:
    executor = executor_of(EngineSettings.model_validate({"executor": "multiprocess", **settings}))
    evaluated = executor.apply_config_mapping({"config": {}})
    assert evaluated.value is not None
    config: dict[str, object] = evaluated.value["config"]
    return config


@pytest.mark.parametrize("extra", ["celery", "k8s"])
def test_a_missing_extra_is_one_line_with_the_remedy(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"dagster_{extra}", None)
    with pytest.raises(SettingsError, match=rf"^NPI_EXECUTOR={extra} cannot be used: .*pip install '\.\[{extra}\]'"):
        executor_of(EngineSettings.model_validate({"executor": extra}))


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("{", "it is no JSON"),
        ("[1]", "it must be a JSON object"),
        ('{"max_concurent": 2}', r"field not defined \(max_concurent\)"),
    ],
)
def test_a_configuration_that_the_executor_does_not_know_is_refused_on_one_line(config: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as refused:
        executor_of(Settings.from_environment({}, executor="multiprocess", executor_config=config).engine)
    assert "NPI_EXECUTOR_CONFIG" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_engine_is_imported_that_is_not_chosen() -> None:
    code = (
        "import sys; from npi_pipeline.definitions import defs; defs();"
        "print([name for name in ('dagster_celery', 'dagster_k8s') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_one_shard_is_the_one_step_that_it_always_was() -> None:
    assert isinstance(build_definitions(Settings()).resolve_assets_def("npi_records").node_def, dg.OpDefinition)
