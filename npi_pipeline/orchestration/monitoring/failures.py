"""Why a run failed, on one line for a person. Not here: who is told (``alert``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import dagster as dg

from npi_pipeline.orchestration.assets.conventions import CANCELLED
from npi_pipeline.orchestration.dagster_internals import ErrorSource, RunFailureReason, SerializableErrorInfo
from npi_pipeline.orchestration.monitoring.day_runs import PARTITION_TAG

NOT_KNOWN = "no reason is known; see the run's events in the UI, and the log of the daemon or the code server"

_TOLD_BY = {
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.ENGINE_EVENT,
    dg.DagsterEventType.RUN_FAILURE,
}
# What Dagster says of a run that somebody else ended; who that was said why right before, in an event of the engine.
_FROM_OUTSIDE = "This run has been marked as failed from outside the execution context."
# How an error of a code server is put into the message of another one: the outermost first, traces in between.
_CAUSED_BY = "The above exception was caused by the following exception:\n"
_TRACE = "\n\nStack Trace:"
# Our own errors are whole lines; the name of their class adds nothing.
_OUR_OWN = re.compile(r"npi_pipeline\.[\w.]+: ")
_MAX_CHARACTERS = 2_000


def reasons(events: Iterable[dg.DagsterEvent]) -> list[str]:
    """A line for each thing that made a run fail, from its ``events`` in their order.

    Checks that do not hold, steps that failed, and what failed before, between or around the steps: resources, a
    worker that died, a code server that could not load.
    """
    told = [event for event in events if event.event_type in _TOLD_BY]
    evaluations = (
        event.asset_check_evaluation_data
        for event in told
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    )
    found = [*broken_checks(evaluations, dg.AssetCheckSeverity.ERROR), *_step_failures(told)]
    return found + [reason for reason in _run_failures(told) if reason not in found]


def _step_failures(events: Iterable[dg.DagsterEvent]) -> Iterator[str]:
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


def _run_failures(events: Iterable[dg.DagsterEvent]) -> Iterator[str]:
    """What failed the run itself and no step of it."""
    said_by_engine = ""
    for event in events:
        if event.event_type is dg.DagsterEventType.ENGINE_EVENT:
            said_by_engine = _said_by_engine(event)
        elif event.event_type is dg.DagsterEventType.RUN_FAILURE:
            data = event.job_failure_data if event.event_specific_data is not None else None
            message = " ".join((event.message or "").split())
            if data is not None and data.failure_reason is RunFailureReason.STEP_FAILURE:
                continue
            if data is not None and data.error is not None:
                yield _root_cause(data.error)
            elif message in {"", _FROM_OUTSIDE}:
                yield said_by_engine or message
            else:
                yield message


def _said_by_engine(event: dg.DagsterEvent) -> str:
    """What an event of the engine tells of a problem; empty for one that tells of the course of things."""
    data = event.engine_event_data
    if data.error is not None:
        return _root_cause(data.error)
    return "" if data.metadata else " ".join((event.message or "").split())


def broken_checks(evaluations: Iterable[dg.AssetCheckEvaluation], severity: dg.AssetCheckSeverity) -> Iterator[str]:
    """A line for each check among ``evaluations`` that does not hold and is as severe as that."""
    for evaluation in evaluations:
        if not evaluation.passed and evaluation.severity is severity:
            asset = evaluation.asset_key.to_user_string()
            yield f"{asset}: {evaluation.check_name}: {evaluation.description}"


def why_again(event: dg.DagsterEvent) -> str:
    """Why a step is tried again, and when, from the event that tells so."""
    data = event.step_retry_data
    why = _root_cause(data.error) if data.error is not None else "it failed"
    return f"{why}; tried again in {data.seconds_to_wait or 0:.0f} s"


def why_failed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The reasons of a failed run, on one line, as its events tell them."""
    records = instance.get_records_for_run(run.run_id, of_type=_TOLD_BY).records
    events = [record.event_log_entry.dagster_event for record in records]
    found = reasons(event for event in events if event is not None)
    return "; ".join(" ".join(reason.split()) for reason in found if reason) or NOT_KNOWN


def name_of_run(run: dg.DagsterRun) -> str:
    """What a person calls a run: its day, when it has one, or its job."""
    day = run.tags.get(PARTITION_TAG)
    return f"{day} (run {run.run_id[:8]})" if day else f"{run.job_name} (run {run.run_id[:8]})"


def _root_cause(error: SerializableErrorInfo) -> str:
    """What was raised first, on one line; an error of ours that something else led to is the better word."""
    chain = [error]
    while chain[-1].cause is not None:
        chain.append(chain[-1].cause)
    messages = [message for link in chain for message in _messages_in(link.message)]
    found = next((message for message in messages if _OUR_OWN.match(message)), messages[-1])
    line = " ".join(_OUR_OWN.sub("", found, count=1).split())
    return line if len(line) <= _MAX_CHARACTERS else f"{line[:_MAX_CHARACTERS]}..."


def _messages_in(text: str) -> list[str]:
    """The message of an error, and of those that are told within it, without their traces."""
    return [part.partition(_TRACE)[0].strip() for part in text.split(_CAUSED_BY)]
