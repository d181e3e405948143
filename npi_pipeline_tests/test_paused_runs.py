"""A run that is paused at a decisive moment: on S3 past its lease, to go on when another has done the day.

Not here: pauses at random moments (``benchmarks/pauses.py``).
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import polars as pl
import pytest

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.days.lock import DayLockedError
from npi_pipeline.days.shard import Shard
from npi_pipeline.journal import compacted_parts
from npi_pipeline.npi_list import parse_npi_list
from npi_pipeline.npi_records.asking import Asking
from npi_pipeline.npi_records.record_outcomes import record_outcomes
from npi_pipeline.npi_records.shards import plan_shards, record_shard, seal_day
from npi_pipeline.providers.flatten_records import flatten_records
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import CheckSettings, FetchMode, FetchSettings, FileSettings
from npi_pipeline.state_files.publish_state_files import publish_state_files
from npi_pipeline.storage import s3_lease
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline_tests.complete_days import assert_complete, keep
from npi_pipeline_tests.ministack import MINISTACK, MiniStack, ministack
from npi_pipeline_tests.sudden_death import running

DAY = dt.date(2026, 11, 23)
FILES = FileSettings()
NPIS = list(npi_numbers(40, seed=4))
LIST = "\n".join(["npi", *NPIS]).encode()
LOCKED = 3
BUCKET = "days-of-ours"


@pytest.fixture(scope="module")
def second_server() -> Iterator[MiniStack]:
    with ministack() as server:
        server.client("s3").create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(
    params=[
        "moto",
        pytest.param(
            "ministack",
            marks=[
                pytest.mark.long,
                pytest.mark.skipif(not MINISTACK.exists(), reason="MiniStack is not there: make test installs it"),
                pytest.mark.xdist_group("ministack"),
            ],
        ),
    ]
)
def s3_root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a fresh root on either S3; the second one checks signatures."""
    if request.param == "moto":
        return f"s3://{request.getfixturevalue('bucket')}/root"
    server: MiniStack = request.getfixturevalue("second_server")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "test")
    return f"s3://{BUCKET}/{request.node.name}"


def do_the_day(root: DataRoot, url: str) -> None:
    """What a run does of a day whose list is kept; every NPI is asked for again."""
    nppes = FORMATS["nppes"]
    settings = FetchSettings(threads=10, fetch_mode=FetchMode.all)
    record_outcomes(root, DAY, parse_npi_list(LIST), Registry(nppes, url), settings)
    flatten_records(root, DAY, nppes.layout, FILES.pinned_widths())
    publish_state_files(root, DAY, FILES)
    find_changes(root, DAY, FILES)


def do_with_a_pause(
    data_root: str, url: str, module: str, function: str, paused: Connection, shard: str | None = None
) -> None:
    """The day, or a shard of it, in a process that stops itself right before its first call of ``function``."""
    has_stopped = threading.Lock()

    def stop(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        is_moment = event == "call" and code.co_name == function and code.co_filename.endswith(module)
        if is_moment and has_stopped.acquire(blocking=False):
            paused.send(True)
            os.kill(os.getpid(), signal.SIGSTOP)

    sys.setprofile(stop)
    threading.setprofile(stop)
    try:
        root = open_data_root(data_root)
        if shard is None:
            do_the_day(root, url)
        else:
            record_the_shard(root, url, shard)
    except DayLockedError:
        sys.exit(LOCKED)
    finally:
        sys.setprofile(None)


def record_the_shard(root: DataRoot, url: str, name: str) -> None:
    """What a worker does of its shard."""
    shard = Shard.called(name)
    assert shard is not None
    record_shard(asking(root, url), shard, planned_by="run")


def asking(root: DataRoot, url: str) -> Asking:
    return Asking(
        root=root,
        day=DAY,
        npis=parse_npi_list(LIST).npis,
        registry=Registry(FORMATS["nppes"], url),
        settings=FetchSettings(threads=10),
        checks=CheckSettings(),
    )


@pytest.mark.parametrize(
    ("module", "function", "is_asked_twice"),
    [
        # Right before the lock is asked, which is right before a segment or the report is written.
        pytest.param("storage/s3_lease.py", "ensure_held", True, id="before its outcomes are written"),
        pytest.param(
            "npi_records/shard_plan.py", "plan_of", False, marks=pytest.mark.long, id="before it asks for anything"
        ),
    ],
)
def test_a_shard_that_is_paused_past_its_lease_writes_nothing_more(
    s3_root: str,
    registry: EmulatedRegistry,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    function: str,
    *,
    is_asked_twice: bool,
) -> None:
    root = open_data_root(s3_root)
    of = asking(root, registry.url)
    plan = plan_shards(of, 2, at_once=2, planned_by="run", asked_by="run")
    first, second = plan.shards
    here, there = Pipe(duplex=False)
    with running(do_with_a_pause, s3_root, registry.url, module, function, there, first.name) as paused:
        assert here.poll(60)
        monkeypatch.setattr(s3_lease, "LEASE_SECONDS", -1.0)
        for shard in (first, second):
            record_shard(of, shard, planned_by="run")
        seal_day(of, planned_by="run")
        files = [(file.path, file.size) for file in root.list("journal")]
        os.kill(paused.pid or 0, signal.SIGCONT)
        paused.join(60)
    assert paused.exitcode == LOCKED, "it is told that it lost the shard"
    assert [(file.path, file.size) for file in root.list("journal")] == files
    asked = registry.requests_by_npi()
    assert {asked[npi] for npi in NPIS if npi >= second.first} == {1}
    assert (max(asked.values()) == 2) is is_asked_twice


@pytest.mark.parametrize(
    ("module", "function"),
    [
        pytest.param(
            "journal/segments.py",
            "save_compacted_journal",
            marks=pytest.mark.long,
            id="before the journal's index is written",
        ),
        pytest.param(
            "providers/kept_table.py",
            "keep_provider_table",
            marks=pytest.mark.long,
            id="before the provider table is uploaded",
        ),
        pytest.param(
            "state_files/publish.py", "publish", marks=pytest.mark.long, id="before the state files are uploaded"
        ),
        pytest.param("state_files/manifest.py", "to_json", id="right before the manifest is written"),
        pytest.param(
            "changes/kept_changes.py", "keep_changes", marks=pytest.mark.long, id="before the changes are uploaded"
        ),
    ],
)
def test_a_run_that_is_paused_past_its_lease_tears_nothing_of_what_another_has_done(
    s3_root: str, registry: EmulatedRegistry, monkeypatch: pytest.MonkeyPatch, module: str, function: str
) -> None:
    root = open_data_root(s3_root)
    keep(root, DAY, dict.fromkeys(NPIS, ""))
    here, there = Pipe(duplex=False)
    with running(do_with_a_pause, s3_root, registry.url, module, function, there) as paused:
        assert here.poll(60)
        # For this run the lease of the paused one has run out already.
        monkeypatch.setattr(s3_lease, "LEASE_SECONDS", -1.0)
        do_the_day(root, registry.url)
        manifest = root.read(f"state_files/{DAY}/manifest.json")
        os.kill(paused.pid or 0, signal.SIGCONT)
        paused.join(60)
    assert paused.exitcode == LOCKED, "it is told that it lost the day"
    assert root.read(f"state_files/{DAY}/manifest.json") == manifest
    assert_complete(root, DAY)
    outcomes = dict(pl.concat(compacted_parts(root, DAY)).select("npi", "outcome").iter_rows())
    assert outcomes == {npi: outcome_of(npi).value for npi in NPIS}


@pytest.mark.long
def test_in_a_folder_nobody_takes_the_place_of_a_shard_that_is_paused(
    tmp_path: Path, registry: EmulatedRegistry
) -> None:
    root = open_data_root(str(tmp_path))
    of = asking(root, registry.url)
    first, second = plan_shards(of, 2, at_once=2, planned_by="run", asked_by="run").shards
    here, there = Pipe(duplex=False)
    moment = ("journal/segments.py", "write_part")
    with running(do_with_a_pause, str(tmp_path), registry.url, *moment, there, first.name) as paused:
        assert here.poll(60)
        with pytest.raises(DayLockedError):
            record_shard(of, first, planned_by="run")
        with pytest.raises(DayLockedError):
            plan_shards(of, 2, at_once=2, planned_by="another", asked_by="another")
        record_shard(of, second, planned_by="run")
        os.kill(paused.pid or 0, signal.SIGCONT)
        paused.join(180)
    assert paused.exitcode == 0
    seal_day(of, planned_by="run")
    assert registry.requests_by_npi() == dict.fromkeys(NPIS, 1)


@pytest.mark.long
def test_in_a_folder_nobody_publishes_while_a_publisher_is_paused(tmp_path: Path, registry: EmulatedRegistry) -> None:
    root = open_data_root(str(tmp_path))
    keep(root, DAY, dict.fromkeys(NPIS, ""))
    here, there = Pipe(duplex=False)
    moment = ("state_files/manifest.py", "to_json")
    with running(do_with_a_pause, str(tmp_path), registry.url, *moment, there) as paused:
        assert here.poll(60)
        with pytest.raises(DayLockedError):
            publish_state_files(root, DAY, FILES)
        os.kill(paused.pid or 0, signal.SIGCONT)
        paused.join(180)
    assert paused.exitcode == 0
    assert_complete(root, DAY)
