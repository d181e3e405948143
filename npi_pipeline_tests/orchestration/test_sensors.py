"""What the sensors do: with real runs, a real S3, processes that really die and a webhook that really answers."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from urllib3 import HTTPResponse

from npi_pipeline.orchestration.assets.npi_records import REGISTRY_POOL
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.day_run import DayRun, run_days
from npi_pipeline.orchestration.monitoring import alert
from npi_pipeline.orchestration.monitoring.alert import AlertError, alert_of
from npi_pipeline.orchestration.monitoring.orphaned_runs import HOST_TAG, LOST, fail_orphaned_runs, orphaned_runs
from npi_pipeline.settings import MonitoringSettings, Settings, SettingsError
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.seeded_home import SeededHome
from npi_pipeline_tests.webhook import Webhook, webhook

NPIS = sorted(npi_numbers(5, seed=12))
# After these Dagster ends the call of a sensor, whose cursor stays where it was.
SENSOR_SECONDS = 60
KEY = "lists/{date:%Y-%m-%d}.txt"
TODAY = dt.datetime.now(dt.timezone.utc).date()


@pytest.fixture(autouse=True)
def _today_is_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Midnight may have passed since this was imported."""
    monkeypatch.setitem(globals(), "TODAY", dt.datetime.now(dt.timezone.utc).date())


class Watched:
    """A deployment whose runs are known to an instance, as with the daemon, and whose sensors a test asks."""

    def __init__(self, home: Path, settings: Settings) -> None:
        self.home = home
        self.settings = settings

    def run(self, day: dt.date | None = None) -> DayRun:
        """Run ``day``, or today."""
        return next(run_days(self.settings, [day or TODAY], log_level="CRITICAL"))

    def requests_of_late_lists(self) -> list[tuple[str | None, str | None]]:
        """The days and run keys that the sensor of late lists asks for."""
        definitions = build_definitions(self.settings)
        sensor = definitions.resolve_sensor_def("npi_late_list_sensor")
        with (
            dg.DagsterInstance.from_config(str(self.home)) as instance,
            dg.build_sensor_context(
                instance=instance, definitions=definitions, resources=definitions.resources
            ) as context,
        ):
            tick = sensor.evaluate_tick(context)
            return [(request.partition_key, request.run_key) for request in tick.run_requests or []]


@pytest.fixture
def watched(
    s3: LocalS3,
    bucket: str,
    registry: EmulatedRegistry,
    tmp_path: Path,
    dagster_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Watched:
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home))
    settings = Settings.from_environment(
        {},
        data_root=str(tmp_path / "npi-data"),
        start_date=str(TODAY - dt.timedelta(days=2)),
        list_bucket=bucket,
        list_key=KEY,
        registry_url=registry.url,
    )
    return Watched(dagster_home, settings)


def test_a_list_that_comes_late_is_run_once_it_is_there_and_then_no_more(
    watched: Watched, s3: LocalS3, bucket: str
) -> None:
    assert watched.requests_of_late_lists() == [], "before the schedule's hour nobody waits for a list"
    assert not watched.run().ok
    assert watched.requests_of_late_lists() == [], "it is not there yet"

    s3.put_list(bucket, KEY.format(date=TODAY), NPIS)
    ((day, key),) = watched.requests_of_late_lists()
    assert day == str(TODAY)
    assert watched.requests_of_late_lists() == [(day, key)], "the same key, which the daemon runs once"

    assert watched.run().ok
    assert watched.requests_of_late_lists() == []


def test_a_late_list_in_a_public_bucket_is_seen_without_credentials(
    watched: Watched, s3: LocalS3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    watched.settings = watched.settings.model_copy(
        update={"npi_list": watched.settings.npi_list.model_copy(update={"list_unsigned": True})}
    )
    # Else the missing list would be told as denied, which S3 says to whoever may not list the bucket.
    s3.client().put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert not watched.run().ok
    s3.put_list(bucket, KEY.format(date=TODAY), NPIS)
    s3.client().put_object_acl(Bucket=bucket, Key=KEY.format(date=TODAY), ACL="public-read")
    assert [day for day, _ in watched.requests_of_late_lists()] == [str(TODAY)]


def test_a_list_that_came_empty_is_tried_again_only_when_it_is_another(
    watched: Watched, s3: LocalS3, bucket: str
) -> None:
    s3.put_list(bucket, KEY.format(date=TODAY), "")
    watched.run()
    ((_, empty),) = watched.requests_of_late_lists()
    s3.put_list(bucket, KEY.format(date=TODAY), NPIS)
    ((_, full),) = watched.requests_of_late_lists()
    assert empty != full


def test_a_day_that_failed_for_another_reason_is_not_taken_for_one_without_a_list(
    watched: Watched, s3: LocalS3, bucket: str, registry: EmulatedRegistry
) -> None:
    s3.put_list(bucket, KEY.format(date=TODAY), NPIS)
    registry.configure(fault_share=1.0, fault_tries=3, fault_kinds=["500"])
    watched.settings = watched.settings.model_copy(
        update={"fetch": watched.settings.fetch.model_copy(update={"max_retries": 0, "wait": 0.0})}
    )
    assert not watched.run().ok
    assert watched.requests_of_late_lists() == []


def with_a_key_without_date(watched: Watched) -> str:
    """Have the list lie at a key that is written over from day to day; the key."""
    npi_list = watched.settings.npi_list.model_copy(update={"list_key": "npi_list.txt"})
    watched.settings = watched.settings.model_copy(update={"npi_list": npi_list})
    return npi_list.list_key


@pytest.mark.long
def test_a_list_that_is_written_over_during_its_day_is_run_again_once(
    watched: Watched, s3: LocalS3, bucket: str
) -> None:
    key = with_a_key_without_date(watched)
    s3.put_list(bucket, key, NPIS)
    assert watched.run().ok
    s3.put_list(bucket, key, NPIS)
    assert watched.requests_of_late_lists() == [], "it is the same list, put once more"

    s3.put_list(bucket, key, NPIS[:3])
    assert [day for day, _ in watched.requests_of_late_lists()] == [str(TODAY)]
    again = watched.run()
    assert again.status.npis == 3
    assert watched.requests_of_late_lists() == []


def test_a_day_that_was_run_before_its_last_list_came_is_run_again_the_day_after(
    watched: Watched, s3: LocalS3, bucket: str
) -> None:
    key = with_a_key_without_date(watched)
    s3.create_bucket(bucket, versioned=True)
    yesterday = TODAY - dt.timedelta(days=1)
    morning, evening = (dt.datetime.combine(yesterday, dt.time(hour), dt.timezone.utc) for hour in (6, 20))
    s3.put_list(bucket, key, NPIS, last_modified=morning)
    assert watched.run(yesterday).ok
    assert watched.requests_of_late_lists() == []

    s3.put_list(bucket, key, NPIS[:3], last_modified=evening)
    s3.put_list(bucket, key, NPIS[:2])
    assert [day for day, _ in watched.requests_of_late_lists()] == [str(yesterday)]
    assert watched.run(yesterday).status.npis == 3
    assert watched.requests_of_late_lists() == []


def test_the_list_of_a_dated_key_is_kept_as_it_was_read(watched: Watched, s3: LocalS3, bucket: str) -> None:
    s3.put_list(bucket, KEY.format(date=TODAY), NPIS)
    assert watched.run().ok
    s3.put_list(bucket, KEY.format(date=TODAY), NPIS[:3])
    assert watched.requests_of_late_lists() == []


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a run's."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def started_in(
    home: SeededHome, process: subprocess.Popen[bytes], tags: dict[str, str], job_name: str = "npi_daily"
) -> dg.DagsterRun:
    """A run that Dagster takes for running in ``process``."""
    run = home.add_run(str(TODAY), dg.DagsterRunStatus.STARTED, job_name=job_name)
    home.instance.add_run_tags(run.run_id, tags)
    home.instance.report_engine_event("Executing steps in process", run, EngineEventData.in_process(process.pid))
    return run


LAUNCHED_HERE = {".dagster/grpc_info": '{"host": "localhost", "socket": "/tmp/gone"}'}
RUN_HERE = {HOST_TAG: os.uname().nodename}


@pytest.mark.parametrize("tags", [LAUNCHED_HERE, RUN_HERE], ids=["from the queue", "from the command line"])
def test_a_run_whose_process_is_gone_is_ended_as_failed_and_holds_no_slot(
    home: SeededHome, worker: subprocess.Popen[bytes], tags: dict[str, str]
) -> None:
    run = started_in(home, worker, tags)
    assert list(orphaned_runs(home.instance)) == []
    pools = home.instance.event_log_storage
    pools.set_concurrency_slots(REGISTRY_POOL, 1)
    pools.claim_concurrency_slot(REGISTRY_POOL, run.run_id, "npi_records")
    worker.kill()
    worker.wait()
    assert [lost.run_id for lost in orphaned_runs(home.instance)] == [run.run_id]

    sensor = home.definitions().resolve_sensor_def("npi_lost_run_sensor")
    with dg.build_sensor_context(instance=home.instance) as context:
        assert run.run_id[:8] in (sensor.evaluate_tick(context).skip_message or "")
    ended = home.instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE
    assert pools.get_concurrency_info(REGISTRY_POOL).claimed_slots == []
    assert list(orphaned_runs(home.instance)) == []


def test_the_code_server_ends_runs_that_were_launched_by_its_hosts_name_and_nobody_else_does(
    home: SeededHome, worker: subprocess.Popen[bytes]
) -> None:
    run = started_in(home, worker, {".dagster/grpc_info": json.dumps({"host": os.uname().nodename, "port": 4000})})
    worker.kill()
    worker.wait()
    assert fail_orphaned_runs(home.instance) == []

    sensor = home.definitions().resolve_sensor_def("npi_lost_run_sensor")
    with dg.build_sensor_context(instance=home.instance) as context:
        assert run.run_id[:8] in (sensor.evaluate_tick(context).skip_message or "")


def test_a_lost_run_that_somebody_had_terminated_is_ended_as_cancelled_and_not_run_again(
    home: SeededHome, worker: subprocess.Popen[bytes]
) -> None:
    run = started_in(home, worker, LAUNCHED_HERE)
    home.instance.report_run_canceling(run)
    worker.kill()
    worker.wait()
    assert [lost.run_id for lost in fail_orphaned_runs(home.instance)] == [run.run_id]
    ended = home.instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.CANCELED


def test_a_number_that_another_process_has_by_now_is_not_the_runs_process(
    home: SeededHome, worker: subprocess.Popen[bytes]
) -> None:
    run = home.add_run(str(TODAY), dg.DagsterRunStatus.STARTED)
    home.instance.add_run_tags(run.run_id, RUN_HERE)
    before_the_restart = dt.datetime.now(dt.timezone.utc).timestamp() - 3600
    event = dg.DagsterEvent(
        dg.DagsterEventType.ENGINE_EVENT.value,
        run.job_name,
        event_specific_data=EngineEventData.in_process(worker.pid),
    )
    home.instance.report_dagster_event(event, run.run_id, timestamp=before_the_restart)
    assert [lost.run_id for lost in orphaned_runs(home.instance)] == [run.run_id]


@pytest.mark.parametrize(
    "tags",
    [{HOST_TAG: "another-host"}, {".dagster/grpc_info": '{"host": "another-host", "port": 4000}'}, {}],
    ids=["run elsewhere", "launched elsewhere", "unknown"],
)
def test_a_run_of_which_nothing_is_known_for_certain_is_left_alone(
    home: SeededHome, worker: subprocess.Popen[bytes], tags: dict[str, str]
) -> None:
    started_in(home, worker, tags)
    worker.kill()
    worker.wait()
    assert list(orphaned_runs(home.instance)) == []


def test_a_lost_run_of_somebody_elses_job_is_somebody_elses(home: SeededHome, worker: subprocess.Popen[bytes]) -> None:
    started_in(home, worker, RUN_HERE, job_name="their_job")
    worker.kill()
    worker.wait()
    assert list(orphaned_runs(home.instance)) == []


def test_the_alert_names_day_reason_and_run_on_one_line(watched: Watched, bucket: str) -> None:
    run_id = watched.run().run_id
    told: list[str] = []
    definitions = build_definitions(watched.settings, alert=told.append)
    sensor = definitions.resolve_sensor_def("npi_failed_run_sensor")
    with dg.DagsterInstance.from_config(str(watched.home)) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        (failure,) = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
        assert failure.event_log_entry.dagster_event is not None
        sensor(
            dg.build_run_status_sensor_context(
                "npi_failed_run_sensor", failure.event_log_entry.dagster_event, instance, run
            ).for_run_failure()
        )
    (line,) = told
    assert line.startswith(f"npi_pipeline: {TODAY} (run {run_id[:8]}) failed: npi_list: the NPI list s3://{bucket}/")
    assert "\n" not in line


def test_the_alert_is_posted_to_the_webhook_and_a_passing_refusal_is_survived_whatever_pause_it_asks_for() -> None:
    begun = time.monotonic()
    with webhook(503, 429) as told:
        alert_of(MonitoringSettings(alert_webhook_url=told.url))("a line")
    assert (told.messages, told.requests) == (["a line"], 3)
    assert time.monotonic() - begun < SENSOR_SECONDS


def test_a_webhook_that_takes_the_alert_and_does_not_answer_gets_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert, "TIMEOUT_SECONDS", (1.0, 0.3))
    with webhook(is_slow=True) as told, pytest.raises(AlertError, match=r"no answer within 0\.3 s, it may have come"):
        alert_of(MonitoringSettings(alert_webhook_url=told.url))("a line")
    assert (told.messages, told.requests) == (["a line"], 1)


def test_whatever_a_webhook_does_the_sensor_is_done_before_dagster_ends_its_call() -> None:
    pauses, retries = 0.0, alert.RETRIES
    while not retries.is_exhausted() and retries.total != 0:
        retries = retries.increment(method="POST", response=HTTPResponse(status=503))
        pauses += retries.get_backoff_time()
    assert (alert.RETRIES.total or 0) > 0
    assert pauses + sum(alert.TIMEOUT_SECONDS) * (1 + int(alert.RETRIES.total or 0)) < SENSOR_SECONDS - 10


def test_a_webhook_that_refuses_is_told_by_its_host_and_never_by_its_secret_url() -> None:
    with webhook(404) as told, pytest.raises(AlertError) as refusal:
        alert_of(MonitoringSettings(alert_webhook_url=told.url))("a line")
    assert "127.0.0.1" in str(refusal.value)
    assert "404" in str(refusal.value)
    assert "a-secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_without_a_webhook_the_alert_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    alert_of(MonitoringSettings())("a line")
    assert [record.getMessage() for record in caplog.records] == ["a line"]


def as_apprise(hook: Webhook) -> str:
    """The hook as apprise's service ``json`` writes it."""
    return hook.url.replace("http://", "json://") + "?:message=text"


def test_the_alert_is_sent_to_each_service_of_apprise_and_to_the_webhook() -> None:
    with webhook() as first, webhook() as second, webhook() as posted:
        urls = f"{as_apprise(first)} {as_apprise(second)}"
        alert_of(MonitoringSettings(alert_webhook_url=posted.url, alert_urls=urls))("a line: *of* <text>\\n")
    assert first.messages == second.messages == posted.messages == ["a line: *of* <text>\\n"]


def test_services_that_do_not_take_the_alert_are_told_without_a_secret_and_the_others_have_it(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    with webhook(404) as refuses, webhook() as takes:
        urls = f"{as_apprise(refuses)} {as_apprise(takes)} slakc://a-secret/b/c slack://a-secret"
        tell = alert_of(MonitoringSettings(alert_urls=urls))
        with pytest.raises(AlertError) as refusal:
            tell("a line")
    assert takes.messages == ["a line"]
    line = str(refusal.value)
    assert line.startswith("URL 1 of NPI_ALERT_URLS (json://...) did not take the alert; ")
    assert "; URL 3 of NPI_ALERT_URLS (slakc://...) is none that apprise can use; " in line
    assert "; URL 4 of NPI_ALERT_URLS (slack://...) is none that apprise can use; " in line
    assert line.endswith(": a line")
    assert "\n" not in line
    logged = [record.getMessage() for record in caplog.records if record.name != "urllib3.connectionpool"]
    assert "a-secret" not in f"{line}{logged}{capfd.readouterr()}"


def test_services_without_their_extra_are_told_before_a_run_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"needs apprise, which is not installed: pip install '\.\[alerts\]'"):
        alert_of(MonitoringSettings(alert_urls="json://localhost"))


def test_a_lost_run_is_told_with_what_to_make_of_it() -> None:
    assert "outcomes so far are kept" in LOST
