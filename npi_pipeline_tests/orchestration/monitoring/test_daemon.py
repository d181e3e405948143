"""The real daemon, its clock moved where a test wants it: days that were missed, backfills, machines that go off."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg
import pytest

from npi_pipeline.orchestration.monitoring.failures import why_failed
from npi_pipeline.proofs.state_files import every_npi_is_accounted_for, state_files_match_the_manifest
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.deployment import Deployment
from npi_pipeline_tests.seeded_home import queued_run
from npi_pipeline_tests.webhook import webhook

pytestmark = pytest.mark.daemon

NPIS = sorted(npi_numbers(60, seed=11))
KEY = "lists/{date:%Y-%m-%d}.txt"
FIRST = dt.date(2026, 2, 23)

Make = Callable[..., Deployment]


def days_from(first: dt.date, number: int) -> list[str]:
    return [str(first + dt.timedelta(days=ahead)) for ahead in range(number)]


def at(day: str, time: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{day}T{time}+00:00")


@pytest.fixture
def put_lists(s3: LocalS3, bucket: str) -> Callable[[Sequence[str]], None]:
    """Put the same list for each of some days."""

    def put(days: Sequence[str]) -> None:
        for day in days:
            s3.put_list(bucket, KEY.format(date=dt.date.fromisoformat(day)), NPIS)

    return put


@pytest.fixture
def make_deployment(s3: LocalS3, bucket: str, registry: EmulatedRegistry, tmp_path: Path) -> Make:
    """A deployment whose lists are in the bucket of the test; settings beside these by variable."""

    def make(**settings: str) -> Deployment:
        environment = {
            "NPI_LIST_BUCKET": bucket,
            "NPI_LIST_KEY": KEY,
            "NPI_REGISTRY_URL": registry.url,
            "NPI_START_DATE": str(FIRST),
        }
        return Deployment(tmp_path, environment | settings)

    return make


def expect_sound_days(deployment: Deployment, days: Sequence[str]) -> None:
    """Just these days are published, and each is whole."""
    root = open_data_root(str(deployment.data_root))
    assert deployment.published_days() == sorted(days)
    for day in map(dt.date.fromisoformat, days):
        for claim in (every_npi_is_accounted_for, state_files_match_the_manifest):
            finding = claim(root, day, deployment.settings.files)
            assert finding.holds, finding.line


@pytest.mark.long
def test_five_days_down_are_made_up_for_and_a_day_that_fails_for_ever_is_reported_and_left_alone(
    make_deployment: Make, put_lists: Callable[[Sequence[str]], None], registry: EmulatedRegistry
) -> None:
    days = days_from(FIRST, 11)
    without_list = days[3]
    put_lists([day for day in days if day != without_list])
    with webhook() as told:
        deployment = make_deployment(
            NPI_SCHEDULE_CRON="0 6 * * *", NPI_CATCH_UP_TRIES="2", NPI_ALERT_WEBHOOK_URL=told.url
        )
        with deployment.daemon(at(days[0], "05:00:00")) as daemon:
            deployment.wait_until(lambda: deployment.knows_schedule("npi_daily_schedule"), daemon)
        with deployment.daemon(at(days[0], "08:30:00")) as daemon:
            deployment.wait_until(lambda: deployment.all_ended(1), daemon)
        assert deployment.requested_days() == [days[0]]

        # Off for five days, and on again after the hour of the sixth.
        with deployment.daemon(at(days[6], "08:30:00")) as daemon:
            deployment.wait_until(lambda: deployment.all_ended(7) and told.messages, daemon)
        assert deployment.requested_days()[1:] == list(reversed(days[1:7]))
        assert registry.requests_by_npi() == dict.fromkeys(NPIS, 1), "the days share their answers"
        expect_sound_days(deployment, [day for day in days[:7] if day != without_list])

        with deployment.daemon(at(days[7], "08:30:00")) as daemon:
            deployment.wait_until(lambda: deployment.all_ended(9) and len(told.messages) == 2, daemon)
        assert deployment.requested_days()[7:] == [days[7], without_list]

        with deployment.daemon(at(days[8], "08:30:00")) as daemon:
            deployment.wait_until(lambda: deployment.all_ended(10), daemon)
        assert deployment.requested_days()[9:] == [days[8]], "it has failed twice"
        assert deployment.statuses()[without_list] == ["FAILURE", "FAILURE"]
        for message in told.messages:
            assert f"{without_list} (run " in message
            assert KEY.format(date=dt.date.fromisoformat(without_list)) in message
            assert "\n" not in message


@pytest.mark.long
def test_a_failing_day_of_a_backfill_leaves_the_others_alone_and_is_repaired_alone(
    make_deployment: Make, put_lists: Callable[[Sequence[str]], None], registry: EmulatedRegistry
) -> None:
    days = days_from(FIRST, 5)
    failing = days[2]
    put_lists([day for day in days if day != failing])
    deployment = make_deployment()
    with deployment.daemon() as daemon:
        launched = deployment.command(
            "dagster", "job", "backfill", "--module-name", "npi_pipeline.definitions", "--job", "npi_daily",
            "--from", days[0], "--to", days[-1], "--noprompt",
        )  # fmt: skip
        assert launched.returncode == 0, launched.stdout + launched.stderr
        deployment.wait_until(lambda: deployment.all_ended(5), daemon)
        assert deployment.statuses() == {day: ["FAILURE" if day == failing else "SUCCESS"] for day in days}
        expect_sound_days(deployment, [day for day in days if day != failing])

        put_lists([failing])
        repair = deployment.backfill([failing])
        deployment.wait_until(lambda: deployment.is_over(repair), daemon)
    assert deployment.statuses()[failing] == ["FAILURE", "SUCCESS"]
    expect_sound_days(deployment, days)
    assert registry.requests_by_npi() == dict.fromkeys(NPIS, 1)
    assert registry.stats().peak_in_flight <= deployment.settings.fetch.threads


@pytest.mark.long
def test_a_machine_that_goes_off_in_mid_backfill_goes_on_from_there_with_no_slot_stuck(
    make_deployment: Make, put_lists: Callable[[Sequence[str]], None], registry: EmulatedRegistry
) -> None:
    days = days_from(FIRST, 3)
    put_lists(days)
    registry.configure(latency=0.5)
    deployment = make_deployment(NPI_THREADS="4")
    with deployment.daemon() as daemon:
        backfill = deployment.backfill(days)
        # Durable a second after arrival: by now something is kept.
        deployment.wait_until(lambda: list(deployment.data_root.glob("journal/*/segments/*/*.parquet")), daemon)
    killed = {run.run_id for run in deployment.instance.get_runs() if not run.is_finished}
    assert killed, "it was to be killed in mid-fetch"
    assert deployment.published_days() == []

    registry.configure(latency=0.0)
    with deployment.daemon() as daemon:
        deployment.wait_until(lambda: deployment.is_over(backfill), daemon)
        deployment.wait_until(lambda: all(run.is_finished for run in deployment.instance.get_runs()), daemon)
    expect_sound_days(deployment, days)
    pool = deployment.instance.event_log_storage.get_concurrency_info("provider_registry")
    assert pool.claimed_slots == []
    reasons = {run.run_id for run in deployment.instance.get_runs() if run.status.value == "FAILURE"}
    assert reasons <= killed
    asked = registry.requests_by_npi()
    assert set(asked) == set(NPIS)
    assert max(asked.values()) <= 2, json.dumps(asked)


def test_a_code_server_that_cannot_load_fails_a_queued_run_in_the_words_of_the_setting(make_deployment: Make) -> None:
    deployment = make_deployment()
    run = queued_run(deployment.instance, days_from(FIRST, 1)[0])
    deployment.environment["NPI_THREADS"] = "many"
    with deployment.daemon() as daemon:
        deployment.wait_until(lambda: deployment.all_ended(1), daemon)
    assert why_failed(deployment.instance, run).startswith("NPI_THREADS='many' cannot be used")


@pytest.mark.long
def test_a_worker_that_is_killed_is_told_as_that(
    make_deployment: Make, put_lists: Callable[[Sequence[str]], None], registry: EmulatedRegistry
) -> None:
    days = days_from(FIRST, 1)
    put_lists(days)
    registry.configure(latency=0.5)
    deployment = make_deployment(NPI_THREADS="2")
    with deployment.daemon() as daemon:
        deployment.backfill(days)
        deployment.wait_until(lambda: list(deployment.data_root.glob("journal/*/segments/*/*.parquet")), daemon)
        (run,) = deployment.instance.get_runs()
        os.kill(process_of(deployment.instance, run), signal.SIGKILL)
        deployment.wait_until(lambda: deployment.statuses()[days[0]][0] == "FAILURE", daemon)
        assert "SIGKILL" in why_failed(deployment.instance, run)


def process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int:
    """The process that a run says it is in."""
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
    said = [event.engine_event_data.metadata for record in records if (event := record.event_log_entry.dagster_event)]
    return next(int(str(metadata["pid"].value)) for metadata in said if "pid" in metadata)
