"""A run that goes on with another one has the same first run; what is launched by hand begins anew."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import dagster as dg
import pytest

from npi_pipeline.orchestration.assets.run_lineage import first_run_id


@dg.op
def do_nothing() -> None:
    """An op for a job, which must have one."""


@dg.job
def nothing() -> None:
    """A job that is quick."""
    do_nothing()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def first(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run that was executed."""
    run = instance.get_run_by_id(nothing.execute_in_process(instance=instance).run_id)
    assert run is not None
    return run


def repeat(instance: dg.DagsterInstance, parent: dg.DagsterRun, **tags: str) -> dg.DagsterRun:
    """A run that Dagster made out of ``parent``."""
    return instance.add_run(
        dg.DagsterRun(
            job_name=parent.job_name,
            run_id=str(uuid.uuid4()),
            parent_run_id=parent.run_id,
            root_run_id=parent.root_run_id or parent.run_id,
            tags={f"dagster/{name}": value for name, value in tags.items()},
        )
    )


def test_a_run_is_the_first_of_itself(instance: dg.DagsterInstance, first: dg.DagsterRun) -> None:
    assert first_run_id(instance, first) == first.run_id


def test_retries_and_what_is_resumed_go_on_with_the_first_run(
    instance: dg.DagsterInstance, first: dg.DagsterRun
) -> None:
    retry = repeat(instance, first, retry_number="1")
    resumed = repeat(instance, retry, is_resume_retry="true")
    assert first_run_id(instance, resumed) == first_run_id(instance, retry) == first.run_id


def test_what_is_executed_again_as_a_whole_begins_anew(instance: dg.DagsterInstance, first: dg.DagsterRun) -> None:
    again = repeat(instance, repeat(instance, first))
    assert first_run_id(instance, again) == again.run_id


def test_a_run_that_was_deleted_is_still_the_first_of_those_that_go_on_with_it(
    instance: dg.DagsterInstance, first: dg.DagsterRun
) -> None:
    retry = repeat(instance, first, retry_number="1")
    instance.delete_run(first.run_id)
    assert first_run_id(instance, repeat(instance, retry, retry_number="2")) == first.run_id
