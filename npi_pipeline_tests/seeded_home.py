"""An instance and a data root that a test seeds with runs and published days, and ticks evaluated on them.

Not here: real runs (``pipeline``) and the real daemon (``deployment``).
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import ASSET_RESUME_RETRY_TAG
from dagster._core.test_utils import create_run_for_test

from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.monitoring.day_runs import PARTITION_TAG, SCHEDULE_TAG
from npi_pipeline.orchestration.monitoring.recent_days import DAILY_SCHEDULE_NAME
from npi_pipeline.settings import Settings
from npi_pipeline.state_files.manifest import Manifest
from npi_pipeline_tests.backfills import add_asset_backfill

_REPOSITORY = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("npi_pipeline.definitions"), "__repository__")


class SeededHome:
    """Days that are published in ``data_root`` and runs that are known to ``instance``."""

    def __init__(self, instance: dg.DagsterInstance, data_root: Path) -> None:
        self.instance = instance
        self.data_root = data_root

    def definitions(self, **settings: Any) -> dg.Definitions:
        """The pipeline on this data root."""
        given = {"start_date": "2026-01-01", **settings}
        return build_definitions(Settings.from_environment({}, data_root=str(self.data_root), **given))

    def publish(self, *days: str) -> None:
        """Make days complete."""
        publish_days(self.data_root, *days)

    def add_run(
        self,
        day: str,
        status: dg.DagsterRunStatus,
        *,
        job_name: str = "npi_daily",
        assets: frozenset[dg.AssetKey] | None = None,
        by_schedule: bool = False,
        again_after: dg.DagsterRun | None = None,
    ) -> dg.DagsterRun:
        """Add a run of a day that has come so far; ``again_after`` is the one that it repairs from its failure on."""
        tags = {PARTITION_TAG: day} | ({SCHEDULE_TAG: DAILY_SCHEDULE_NAME} if by_schedule else {})
        if again_after:
            tags |= {ASSET_RESUME_RETRY_TAG: "true"}
        return create_run_for_test(
            self.instance,
            job_name=job_name,
            status=status,
            tags=tags,
            asset_selection=assets,
            parent_run_id=again_after.run_id if again_after else None,
            root_run_id=again_after.run_id if again_after else None,
            remote_job_origin=_REPOSITORY.get_job_origin(job_name),
        )

    def add_backfill(self, *days: str) -> None:
        """Add a backfill of all assets that was asked for and has made no run yet."""
        add_asset_backfill(self.instance, self.definitions(), days)

    def add_job_backfill(self, job_name: str, *days: str) -> None:
        """Add a backfill of a job, as ``dagster job backfill`` asks for it, that has made no run yet."""
        self.instance.add_backfill(
            PartitionBackfill(
                backfill_id=uuid.uuid4().hex[:8],
                status=BulkActionStatus.REQUESTED,
                from_failure=False,
                tags={},
                backfill_timestamp=time.time(),
                partition_set_origin=_REPOSITORY.get_partition_set_origin(f"{job_name}_partition_set"),
                partition_names=list(days),
            )
        )

    def tick(self, now: dt.datetime, **settings: Any) -> Any:
        """What the daily schedule says at ``now``."""
        definitions = self.definitions(**settings)
        schedule = definitions.resolve_schedule_def(DAILY_SCHEDULE_NAME)
        repository = definitions.get_repository_def()
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=now,
            repository_def=repository,
            resources={"day_storage": definitions.resources["day_storage"]},
        ) as context:
            return schedule.evaluate_tick(context)

    def asked_for(self, now: dt.datetime, **settings: Any) -> list[str | None]:
        """The days that the daily schedule asks for at ``now``, in their order."""
        return [request.partition_key for request in self.tick(now, **settings).run_requests or []]

    def why_nothing(self, now: dt.datetime, **settings: Any) -> str:
        """What the daily schedule says when it asks for nothing."""
        return self.tick(now, **settings).skip_message or ""


def publish_days(data_root: Path, *days: str) -> None:
    """Make days complete: their manifest is there, and nothing else."""
    for day in days:
        folder = data_root / "state_files" / day
        folder.mkdir(parents=True)
        now = dt.datetime.now(dt.timezone.utc)
        manifest = Manifest(dt.date.fromisoformat(day), now, {}, {}, (), (), list_sha256="", journal_digest="")
        (folder / "manifest.json").write_bytes(manifest.to_json())


def queued_run(instance: dg.DagsterInstance, day: str) -> dg.DagsterRun:
    """A run of a day that waits in the queue for the daemon."""
    run = create_run_for_test(
        instance,
        job_name="npi_daily",
        status=dg.DagsterRunStatus.QUEUED,
        tags={PARTITION_TAG: day},
        remote_job_origin=_REPOSITORY.get_job_origin("npi_daily"),
    )
    instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run_id=run.run_id)
    return run
