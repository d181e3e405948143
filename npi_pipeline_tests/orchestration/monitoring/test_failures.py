"""Why a run failed, whatever failed: a check, a step, or what lies before, between and around the steps."""

from __future__ import annotations

import os
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.events import EngineEventData, JobFailureData, RunFailureReason
from dagster_shared.error import SerializableErrorInfo

from npi_pipeline.orchestration.monitoring.failures import reasons, why_failed
from npi_pipeline.settings import SettingsError
from npi_pipeline.storage.data_root import StorageError


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


class Broken(dg.ConfigurableResource[None]):
    """A resource that cannot be had."""

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        raise StorageError("the share is not mounted; mount it")


def run_of(instance: dg.DagsterInstance, op: dg.OpDefinition, **resources: object) -> dg.ExecuteInProcessResult:
    """A job of this op alone, run in this process."""
    job = dg.GraphDefinition(name="job", node_defs=[op]).to_job(resource_defs=dict(resources))
    return job.execute_in_process(instance=instance, raise_on_error=False)


def test_a_resource_that_fails_before_the_first_step_is_the_reason_in_its_own_words(
    instance: dg.DagsterInstance,
) -> None:
    @dg.op
    def step(broken: Broken) -> None:
        """Is not reached."""

    result = run_of(instance, step, broken=Broken())
    assert reasons(result.all_events) == ["the share is not mounted; mount it"]
    assert why_failed(instance, result.dagster_run) == "the share is not mounted; mount it"


def test_a_step_that_fails_is_told_once_though_its_run_fails_with_it(instance: dg.DagsterInstance) -> None:
    @dg.op
    def step() -> None:
        raise dg.Failure("no list; put one there", allow_retries=False)

    assert reasons(run_of(instance, step).all_events) == ["step: no list; put one there"]


def test_an_error_of_ours_is_told_and_not_what_led_to_it(instance: dg.DagsterInstance) -> None:
    @dg.op
    def step() -> None:
        try:
            int("many")
        except ValueError as error:
            raise SettingsError("NPI_THREADS='many' cannot be used") from error

    @dg.op
    def unforeseen() -> None:
        try:
            int("many")
        except ValueError as error:
            raise RuntimeError("wrapped") from error

    assert reasons(run_of(instance, step).all_events) == ["step: NPI_THREADS='many' cannot be used"]
    (reason,) = reasons(run_of(instance, unforeseen).all_events)
    assert reason == "unforeseen: ValueError: invalid literal for int() with base 10: 'many'"


def a_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    @dg.job
    def nothing() -> None:
        """Has no step."""

    return instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)


def test_what_the_engine_said_before_a_run_was_marked_as_failed_is_the_reason(instance: dg.DagsterInstance) -> None:
    run = a_run(instance)
    instance.report_engine_event("Executing steps in process", run, EngineEventData.in_process(os.getpid()))
    instance.report_engine_event("Run execution process was terminated by signal 9 (SIGKILL).", run)
    instance.report_run_failed(run)
    assert why_failed(instance, run) == "Run execution process was terminated by signal 9 (SIGKILL)."


def test_the_course_of_things_is_no_reason(instance: dg.DagsterInstance) -> None:
    run = a_run(instance)
    instance.report_engine_event("Executing steps in process", run, EngineEventData.in_process(os.getpid()))
    instance.report_run_failed(run)
    assert why_failed(instance, run) == "This run has been marked as failed from outside the execution context."


def test_a_code_server_that_cannot_load_the_settings_is_told_in_the_words_of_the_setting(
    instance: dg.DagsterInstance,
) -> None:
    run = a_run(instance)
    # As a code server puts an error, with its trace, into the message of its own.
    message = (
        "Failure loading npi_pipeline.definitions: Error occurred during the loading of definitions\n\nStack Trace:\n"
        "  File ...\n\nThe above exception was caused by the following exception:\n"
        "npi_pipeline.settings.SettingsError: NPI_THREADS='many' cannot be used: not a number\n\nStack Trace:\n  File"
    )
    error = SerializableErrorInfo(message, [], "DagsterCodeLocationLoadError")
    instance.report_engine_event("Caught an unrecoverable error", run, EngineEventData.engine_error(error))
    instance.report_run_failed(run)
    assert why_failed(instance, run) == "NPI_THREADS='many' cannot be used: not a number"


def test_a_message_of_whoever_ended_the_run_is_the_reason(instance: dg.DagsterInstance) -> None:
    run = a_run(instance)
    instance.report_run_failed(run, "Exceeded maximum runtime of 60 seconds.")
    assert why_failed(instance, run) == "Exceeded maximum runtime of 60 seconds."


def test_a_reason_is_told_when_none_is_known(instance: dg.DagsterInstance) -> None:
    run = a_run(instance)
    instance.report_run_failed(
        run, "", JobFailureData(error=None, failure_reason=RunFailureReason.STEP_FAILURE, first_step_failure_event=None)
    )
    assert "see the run's events in the UI" in why_failed(instance, run)
