"""Why a run failed, on one line for a person. Not here: who is told (``alert``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import dagster as dg
from dagster._core.execution.plan.objects import ErrorSource
from dagster_shared.error import SerializableErrorInfo

from npi_pipeline.assets.conventions import CANCELLED
from npi_pipeline.watch.day_runs import PARTITION_TAG


def step_failures(events: Iterable[dg.DagsterEvent]) -> Iterator[str]:
    """A line for each step among ``events`` that failed by itself."""
    for event in events:
        if not event.is_step_failure:
            continue
        data = event.step_failure_data
        if data.error_source is ErrorSource.INTERRUPT:
            yield f"{event.step_key}: {CANCELLED}"
        elif data.user_failure_data is not None and data.user_failure_data.description:
            yield f"{event.step_key}: {data.user_failure_data.description}"
        elif data.error is not None and data.error.cls_name != "DagsterAssetCheckFailedError":
            yield f"{event.step_key}: {_root_cause(data.error)}"


def broken_checks(evaluations: Iterable[dg.AssetCheckEvaluation], severity: dg.AssetCheckSeverity) -> Iterator[str]:
    """A line for each check among ``evaluations`` that does not hold and is as severe as that."""
    for evaluation in evaluations:
        if not evaluation.passed and evaluation.severity is severity:
            asset = evaluation.asset_key.to_user_string()
            yield f"{asset}: {evaluation.check_name}: {evaluation.description}"


def why_failed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The reasons of a failed run, on one line, as its events tell them."""
    events = _events(instance, run, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    evaluations = (event.asset_check_evaluation_data for event in events)
    reasons = [*broken_checks(evaluations, dg.AssetCheckSeverity.ERROR)]
    reasons += step_failures(_events(instance, run, dg.DagsterEventType.STEP_FAILURE))
    if not reasons:
        reasons = [event.message or "" for event in _events(instance, run, dg.DagsterEventType.RUN_FAILURE)]
    return "; ".join(" ".join(reason.split()) for reason in reasons if reason) or "no reason is known"


def name_of_run(run: dg.DagsterRun) -> str:
    """What a person calls a run: its day, when it has one, or its job."""
    day = run.tags.get(PARTITION_TAG)
    return f"{day} (run {run.run_id[:8]})" if day else f"{run.job_name} (run {run.run_id[:8]})"


def _events(
    instance: dg.DagsterInstance, run: dg.DagsterRun, of_type: dg.DagsterEventType
) -> Iterator[dg.DagsterEvent]:
    for record in instance.get_records_for_run(run.run_id, of_type=of_type).records:
        if record.event_log_entry.dagster_event is not None:
            yield record.event_log_entry.dagster_event


def _root_cause(error: SerializableErrorInfo) -> str:
    """The message of what was raised first, on one line."""
    while error.cause is not None:
        error = error.cause
    return " ".join(error.message.split())
