"""Lakes of either kind, in a folder and on S3: they hold what was known, whatever the order of deliveries."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.delivery import delta
from npi_pipeline.delivery.deliver import deliver
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.delivery.published_day import open_published_day
from npi_pipeline.delivery.sink import DeliveryError
from npi_pipeline.settings import SettingsError, SinkUrl
from npi_pipeline.settings.deliveries import sink_urls
from npi_pipeline.storage.data_root import StoredFile
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.complete_days import complete
from npi_pipeline_tests.delivery.days_to_deliver import FILES, FIRST_DAY, NUMBERS_OF_DAYS, World, make_day
from npi_pipeline_tests.delivery.lake_truth import assert_lake_holds, assert_proven, rows_of
from npi_pipeline_tests.lossy_proxy import lossy_proxy
from npi_pipeline_tests.sudden_death import running

SCHEMES = ["parquet", "delta"]


@pytest.fixture(params=SCHEMES)
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> SinkUrl:
    """A fresh lake of each kind in a folder."""
    (sink,) = sink_urls(f"lake={request.param}://{tmp_path}/lake")
    return sink


@pytest.fixture(params=SCHEMES)
def lake_on_s3(request: pytest.FixtureRequest, bucket: str) -> SinkUrl:
    (sink,) = sink_urls(f"lake={request.param}+s3://{bucket}/some/prefix")
    return sink


@pytest.mark.parametrize("world", NUMBERS_OF_DAYS, indirect=True)
def test_days_a_repair_and_a_late_day_leave_what_was_known(
    world: World, days_root: LocalRoot, lake: SinkUrl, tmp_path: Path
) -> None:
    assert_whatever_the_order(world, world.days, days_root, lake, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("lake_on_s3", ["parquet", "delta"], indirect=True)
def test_it_is_the_same_on_s3(world: World, days_root: LocalRoot, lake_on_s3: SinkUrl, tmp_path: Path) -> None:
    assert_whatever_the_order(world, [world.days[2], *world.days[4:6]], days_root, lake_on_s3, tmp_path)


def assert_whatever_the_order(
    world: World, days: Sequence[dt.date], root: LocalRoot, lake: SinkUrl, scratch: Path
) -> None:
    late, repaired, after = world.days[2], world.days[4], world.days[5]
    delivered = {day: world.of_day[day] for day in days if day != late}
    for day in delivered:
        deliver(root, FILES, day, sink_of(lake))
    delivered[repaired] = world.repaired(repaired, seed=1)
    make_day(root, repaired, delivered[repaired])
    # The changes of the day after are other ones too.
    assert [day for day in delivered if not deliver(root, FILES, day, sink_of(lake)).is_unchanged] == [repaired, after]
    delivered[late] = world.of_day[late]
    deliver(root, FILES, late, sink_of(lake))
    before = files_in(lake)
    assert deliver(root, FILES, late, sink_of(lake)).is_unchanged
    assert files_in(lake) == before
    assert not deliver(root, FILES, late, sink_of(lake), again=True).is_unchanged
    assert_lake_holds(lake, root, delivered, scratch)
    assert_proven(lake, root, late, repaired)


def test_what_is_missing_or_too_much_or_another_days_in_the_lake_is_noticed(
    world: World, days_root: LocalRoot, lake: SinkUrl
) -> None:
    root, day = days_root, world.days[1]
    sink = sink_of(lake)
    published = open_published_day(root, FILES, day)
    assert {finding.holds for _, finding in sink.findings(published)} == {False}
    for each in world.days[:2]:
        deliver(root, FILES, each, sink)
    assert_proven(lake, root, day)
    make_day(root, day, world.repaired(day, seed=2))
    anew = open_published_day(root, FILES, day)
    for claim, finding in sink.findings(anew):
        assert not finding.holds, claim
        assert "deliver" in finding.line


@pytest.mark.long
def test_a_lake_that_cannot_be_reached_is_told_on_one_line_and_the_day_can_be_delivered_later(
    world: World, days_root: LocalRoot, s3: LocalS3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npi_pipeline.storage.s3._ATTEMPTS", 1)
    monkeypatch.setitem(delta._PATIENCE, "max_retries", "0")
    root, (first, second) = days_root, world.days[:2]
    for scheme in SCHEMES:
        (lake,) = sink_urls(f"lake={scheme}+s3://{bucket}/{scheme}")
        deliver(root, FILES, first, sink_of(lake))
        with lossy_proxy(s3.port) as proxy, monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
            # After some requests have come through, no more does.
            proxy.lose["PUT"].extend([""] * 3 + ["refused"] * 10_000)
            with pytest.raises(DeliveryError) as refused:
                deliver(root, FILES, second, sink_of(lake))
        assert refused.value.retryable
        assert "\n" not in str(refused.value)
        assert list(sink_of(lake).receipts()) == [first]
        deliver(root, FILES, second, sink_of(lake))
        assert_proven(lake, root, first, second)
        assert_lake_holds(lake, root, {day: world.of_day[day] for day in (first, second)}, tmp_path)
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
            with pytest.raises(DeliveryError, match="AWS_ENDPOINT_URL_S3"):
                sink_of(lake).receipts()


def test_a_schema_that_grows_stops_no_delivery(lake: SinkUrl, tmp_path: Path) -> None:
    root = LocalRoot(tmp_path / "root")
    npi = "1000000004"
    days = [FIRST_DAY + dt.timedelta(days=number) for number in range(3)]
    grown: list[dict[str, Any]] = [
        {"name": "A"},
        {"name": "A", "new": {"field": "x", "a b": 1}, "list": ["one"]},
        {"list": ["one", "two"]},
    ]
    for day, record in zip(days, grown, strict=True):
        complete(
            root,
            day,
            {npi: json.dumps(record | {"affiliatedPractices": {"items": None}})},
            FILES,
            format_name="affiliated_practices",
        )
        find_changes(root, day, FILES)
        deliver(root, FILES, day, sink_of(lake))
    assert_proven(lake, root, *days)
    read = rows_of(lake, "providers", tmp_path).sort("day")
    assert read["new.field"].to_list() == [None, "x", None]
    assert read['new["a b"]'].to_list() == [None, "1", None]
    assert read["list[1]"].to_list() == [None, None, "two"]


def test_a_delivery_reads_the_receipt_of_its_own_day_alone(world: World, days_root: LocalRoot, tmp_path: Path) -> None:
    (lake,) = sink_urls(f"parquet://{tmp_path}/lake")
    first, second = world.days[:2]
    deliver(days_root, FILES, first, sink_of(lake))
    (tmp_path / f"lake/deliveries/{first}.json").write_text("{")
    deliver(days_root, FILES, second, sink_of(lake))
    assert deliver(days_root, FILES, second, sink_of(lake)).is_unchanged
    with pytest.raises(DeliveryError, match=rf"{first}.json cannot be understood .*: remove it, and deliver its day"):
        deliver(days_root, FILES, first, sink_of(lake))


def test_of_two_deliveries_that_know_nothing_of_each_other_one_is_refused_and_leaves_nothing(
    world: World, days_root: LocalRoot, lake_on_s3: SinkUrl
) -> None:
    lake = lake_on_s3
    root, first = days_root, world.days[0]
    published = open_published_day(root, FILES, first)
    sink = sink_of(lake)
    deliver(root, FILES, first, sink)
    calls = 0

    def other_delivery() -> None:
        nonlocal calls
        calls += 1
        # The last time before a receipt: deltalake cannot be used in the midst of its own writing.
        if calls == (1 if lake.scheme.startswith("parquet") else 4):
            make_day(root, first, world.repaired(first, seed=3))
            deliver(root, FILES, first, sink_of(lake))

    with pytest.raises(DeliveryError) as refused:
        sink.deliver(published, other_delivery)
    assert refused.value.retryable
    deliver(root, FILES, first, sink)
    assert_proven(lake, root, first)


def test_a_delivery_that_is_killed_leaves_no_false_receipt_and_is_put_right_by_the_next(
    world: World, days_root: LocalRoot, lake: SinkUrl, tmp_path: Path
) -> None:
    root, (first, second) = days_root, world.days[:2]
    for day in (first, second):
        deliver(root, FILES, day, sink_of(lake))
    killed = 0
    for seed, new_files in enumerate((1, 26), start=1):
        known = world.repaired(second, seed)
        make_day(root, second, known)
        there = {file.path for file in files_in(lake)}
        with running(deliver_in_a_process, root.folder, lake, second) as process:
            while process.is_alive() and len({file.path for file in files_in(lake)} - there) < new_files:
                process.join(0.01)
            process.kill()
            process.join()
            killed += process.exitcode != 0
        receipt = sink_of(lake).receipts().get(second)
        if receipt and receipt.is_of(open_published_day(root, FILES, second)):
            assert_proven(lake, root, second)
        deliver(root, FILES, second, sink_of(lake))
    assert killed
    assert_proven(lake, root, first, second)
    assert_lake_holds(lake, root, {first: world.of_day[first], second: known}, tmp_path)


def deliver_in_a_process(folder: Path, lake: SinkUrl, day: dt.date) -> None:
    deliver(LocalRoot(folder), FILES, day, sink_of(lake))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_url_that_holds_more_than_a_place_is_refused_without_a_word_of_it(scheme: str) -> None:
    for url in (
        f"{scheme}+s3://key:secret@bucket/x",
        f"{scheme}:///lake?key=secret",
        f"{scheme}://",
        f"{scheme}+s3://",
    ):
        (sink,) = sink_urls(f"lake={url}")
        with pytest.raises(SettingsError, match="the URL of the sink lake") as refused:
            sink_of(sink)
        assert "secret" not in str(refused.value)


def files_in(lake: SinkUrl) -> list[StoredFile]:
    return sink_of(lake).root.list("")  # type: ignore[attr-defined, no-any-return]
