"""Which of Dagster's runs are removed, and that no kept day is missing for it, in either of its databases."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.dagster_internals import REPOSITORY_LABEL_TAG
from npi_pipeline.orchestration.in_process import CODE_LOCATION
from npi_pipeline.orchestration.old_runs import remove_old_runs
from npi_pipeline.settings import Settings, SettingsError
from npi_pipeline_tests.delivery.postgresql import postgresql_server

DAYS = dg.DailyPartitionsDefinition("2026-11-01")
LONG_AGO, FIRST, SECOND = "2026-11-02", "2026-11-20", "2026-11-21"


@dg.asset(partitions_def=DAYS)
def state_files(context: dg.AssetExecutionContext) -> None:
    if context.run.tags.get("fails"):
        raise dg.Failure


@dg.asset(partitions_def=DAYS, deps=[state_files])
def provider_changes() -> None:
    """Comes after the other one."""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    if request.param == "sqlite":
        with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
            yield instance
        return
    with postgresql_server() as url:
        storage = f"storage: {{postgres: {{postgres_url: '{url.replace('postgresql:', 'postgresql+psycopg2:')}'}}}}"
        (tmp_path / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{storage}\n")
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            yield instance


def run(instance: dg.DagsterInstance, day: str, *, fails: bool = False, location: str = CODE_LOCATION) -> str:
    tags = {REPOSITORY_LABEL_TAG: location, **({"fails": "yes"} if fails else {})}
    ran = dg.materialize(
        [state_files, provider_changes], partition_key=day, instance=instance, tags=tags, raise_on_error=False
    )
    assert ran.success is not fails
    return ran.run_id


def test_what_no_day_rests_on_goes_with_its_events_and_logs_and_no_kept_day_is_missing(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    gone = [run(instance, LONG_AGO), run(instance, FIRST), run(instance, SECOND, fails=True)]
    others = [run(instance, FIRST, location="theirs"), not_ours := run(instance, FIRST)]
    rested_on = [run(instance, SECOND), run(instance, SECOND, fails=True)]
    before = dt.datetime.now(dt.timezone.utc)
    young = [run(instance, FIRST), run(instance, FIRST)]

    def remove(*, dry_run: bool = False) -> int:
        return remove_old_runs(
            instance,
            {CODE_LOCATION},
            lambda run: run.run_id != not_ours,
            before,
            kept_since=dt.date.fromisoformat(FIRST),
            dry_run=dry_run,
        )

    assert remove(dry_run=True) == len(gone)
    assert len(instance.get_runs()) == len([*gone, *others, *rested_on, *young])
    assert remove() == len(gone)
    assert {left.run_id for left in instance.get_runs()} == {*others, *rested_on, *young}
    for run_id in gone:
        assert not list(tmp_path.rglob(f"{run_id}*"))
    for asset in (state_files, provider_changes):
        materializations = instance.fetch_materializations(asset.key, limit=100).records
        assert not {record.run_id for record in materializations} & set(gone)
        assert instance.get_materialized_partitions(asset.key) == {FIRST, SECOND}
    assert remove() == 0


def test_the_retention_job_removes_runs_where_that_alone_is_set(tmp_path: Path) -> None:
    settings = Settings.from_environment({}, data_root=str(tmp_path / "data"), keep_runs_days="30")
    job = build_definitions(settings).resolve_job_def("npi_retention")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
        lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert "0 runs of Dagster removed" in lines


def test_runs_that_the_schedule_still_looks_at_cannot_be_given_up() -> None:
    with pytest.raises(SettingsError, match="NPI_KEEP_RUNS_DAYS=8 would remove days that the schedule still looks"):
        build_definitions(Settings.from_environment({}, keep_runs_days="8"))
