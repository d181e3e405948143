"""A run that goes on with another one began when that one did; what is launched by hand begins anew."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator

import dagster as dg
import pytest

from npi_pipeline.assets.repeats import began_at


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


def test_a_run_began_when_it_started(instance: dg.DagsterInstance, first: dg.DagsterRun) -> None:
    record = instance.get_run_record_by_id(first.run_id)
    assert record is not None
    assert began_at(instance, first).timestamp() == record.start_time


def test_retries_and_what_is_resumed_began_with_the_first_run(
    instance: dg.DagsterInstance, first: dg.DagsterRun
) -> None:
    retry = repeat(instance, first, retry_number="1")
    resumed = repeat(instance, retry, is_resume_retry="true")
    assert began_at(instance, resumed) == began_at(instance, retry) == began_at(instance, first)


def test_what_is_executed_again_as_a_whole_begins_anew(instance: dg.DagsterInstance, first: dg.DagsterRun) -> None:
    again = repeat(instance, repeat(instance, first))
    record = instance.get_run_record_by_id(again.run_id)
    assert record is not None
    assert began_at(instance, again) == record.create_timestamp > began_at(instance, first)


def test_a_run_whose_first_one_was_deleted_began_with_the_earliest_that_is_left(
    instance: dg.DagsterInstance, first: dg.DagsterRun
) -> None:
    retry = repeat(instance, first, retry_number="1")
    instance.delete_run(first.run_id)
    assert dt.datetime.now(dt.timezone.utc) >= began_at(instance, repeat(instance, retry, retry_number="2"))
    assert began_at(instance, repeat(instance, retry, retry_number="2")) == began_at(instance, retry)
