"""Real runs of the daily job, with an instance that remembers, a registry that answers as told, and a list a day."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.pipeline import Pipeline
from npi_pipeline_tests.scripted_registry import ScriptedRegistry, scripted_registry

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class ScriptedDays:
    """The days of one ``pipeline``, as they are run one after the other."""

    def __init__(
        self, pipeline: Pipeline, registry: ScriptedRegistry, s3: LocalS3, instance: dg.DagsterInstance
    ) -> None:
        self.pipeline = pipeline
        self._registry, self._s3, self._instance = registry, s3, instance

    def run(self, day: dt.date, answers: dict[str, Any], *, succeeds: bool = True) -> dg.ExecuteInProcessResult:
        """Run ``day`` with a list of the NPIs that the registry has answers about."""
        settings = self.pipeline.settings
        self._registry.answers = answers
        self._s3.put_list(settings.npi_list.list_bucket, settings.npi_list.key_of(day), list(answers))
        job = build_definitions(settings).resolve_job_def("npi_daily")
        result = job.execute_in_process(
            instance=self._instance, partition_key=str(day), run_config=QUIET, raise_on_error=False
        )
        assert result.success is succeeds
        return result

    def metadata(self, asset: str, day: dt.date) -> list[dict[str, Any]]:
        """What the UI shows of the asset's day, for each time that it was made, the latest first."""
        of_day = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[str(day)])
        records = self._instance.fetch_materializations(of_day, limit=9).records
        made = (record.asset_materialization for record in records)
        return [{name: value.value for name, value in one.metadata.items()} for one in made if one]

    def lines(self, asset: str, run: dg.ExecuteInProcessResult) -> list[str]:
        """What the asset has said in the log of the run."""
        entries = (entry for entry in self._instance.all_logs(run.run_id) if not entry.is_dagster_event)
        return [entry.user_message for entry in entries if entry.step_key == asset]


@contextlib.contextmanager
def scripted_days(data_root: Path | str, s3: LocalS3, bucket: str) -> Iterator[ScriptedDays]:
    """Days whose lists are in ``bucket``; whoever failed is asked for once more, and no answer serves two days."""
    with scripted_registry() as registry, dg.DagsterInstance.ephemeral() as instance:
        pipeline = Pipeline(
            data_root,
            list_bucket=bucket,
            list_key="{date:%Y-%m-%d}.txt",
            max_retries=1,
            registry_url=registry.url,
            reuse_hours=0,
            list_change_limit=100,
        )
        yield ScriptedDays(pipeline, registry, s3, instance)
