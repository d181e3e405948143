"""Collections hold what was known, whatever the order of deliveries and wherever one was broken off."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from npi_pipeline.delivery.deliver import deliver
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.delivery.mongodb import sink as mongodb_sink
from npi_pipeline.delivery.published_day import open_published_day
from npi_pipeline.delivery.sink import CLAIMS, DeliveryError
from npi_pipeline.outcomes import Outcome
from npi_pipeline.settings import SettingsError, SinkUrl
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import Outcomes
from npi_pipeline_tests.delivery.days_to_deliver import FILES, NUMBERS_OF_DAYS, World, found, make_day
from npi_pipeline_tests.delivery.first_queries import first_query
from npi_pipeline_tests.delivery.mongodb.conftest import Store
from npi_pipeline_tests.deployment import free_port
from npi_pipeline_tests.flattened import nppes_body

PROJECT = Path(__file__).parents[3]
NPI = "1000000004"
FIRST, SECOND = World(npis=4, days=2).days


@pytest.fixture
def root(tmp_path: Path) -> LocalRoot:
    return LocalRoot(tmp_path / "root")


def assert_holds(store: Store, root: LocalRoot, delivered: Mapping[dt.date, Outcomes]) -> None:
    """What a reader finds is what was known."""
    newest = delivered[max(delivered)]
    assert {provider["_id"]: provider["record"] for provider in store.database["providers"].find()} == found(newest)
    assert {outcome["_id"]: outcome["outcome"] for outcome in store.database["outcomes"].find()} == {
        npi: known.value if isinstance(known, Outcome) else "found" for npi, known in newest.items()
    }
    receipts = {receipt["_id"]: receipt for receipt in store.database["deliveries"].find()}
    assert sorted(receipts) == sorted(map(str, delivered))
    names = ("npi", "change", "field", "old", "new")
    for day in delivered:
        receipt = receipts[str(day)]
        of_receipt = {
            "day": str(day), "publication": receipt["manifest_sha256"], "changes": receipt["changes_sha256"]
        }  # fmt: skip
        held = [tuple(change[name] for name in names) for change in store.database["changes"].find(of_receipt)]
        true = [row for rows in open_published_day(root, FILES, day).changes() for row in rows.iter_rows()]
        assert sorted(held, key=str) == sorted(true, key=str), day
        assert store.database["changes"].count_documents({"day": str(day)}) == len(true)


def assert_proven(store: Store, root: LocalRoot, day: dt.date) -> None:
    for claim, finding in store.sink.findings(open_published_day(root, FILES, day)):
        assert claim in CLAIMS
        assert finding.holds, (claim, finding.line)


@pytest.mark.parametrize("world", NUMBERS_OF_DAYS, indirect=True)
def test_days_a_repair_and_a_late_day_leave_the_newest_day_and_all_changes(
    store: Store, world: World, days_root: LocalRoot
) -> None:
    late, repaired = world.days[2], world.days[4]
    delivered = {day: known for day, known in world.of_day.items() if day != late}
    for day in delivered:
        deliver(days_root, FILES, day, store.sink)
    assert_holds(store, days_root, delivered)
    delivered[repaired] = world.repaired(repaired, seed=1)
    make_day(days_root, repaired, delivered[repaired])
    # The repair made the changes of the day after it others, too.
    for day in (repaired, world.days[5]):
        deliver(days_root, FILES, day, store.sink)
    delivered[late] = world.of_day[late]
    deliver(days_root, FILES, late, store.sink)
    assert_holds(store, days_root, delivered)
    for day in (late, repaired, world.days[-1]):
        assert_proven(store, days_root, day)


def test_only_what_differs_is_written(root: LocalRoot, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(npis=20, days=2)
    for day in world.days:
        make_day(root, day, world.of_day[day])
        deliver(root, FILES, day, store.sink)
    same = {
        npi for npi in found(world.of_day[SECOND]) if world.of_day[FIRST].get(npi) == world.of_day[SECOND][npi]
    }  # fmt: skip
    days = {provider["_id"]: provider["day"] for provider in store.database["providers"].find()}
    assert {npi for npi, day in days.items() if day == str(FIRST)} == same
    before = list(store.database["deliveries"].find())
    assert deliver(root, FILES, SECOND, store.sink).is_unchanged
    assert list(store.database["deliveries"].find()) == before


class BrokenOffError(BaseException):
    """No error that anything catches, as no code runs when a process is killed."""


def is_broken_off(store: Store, root: LocalRoot, day: dt.date, write: int, patch: pytest.MonkeyPatch) -> bool:
    """Deliver ``day`` until before the ``write``-th write (from 0); False when it came to its end before that."""
    left = write

    def broken_off(really_write: Any) -> Any:
        def write_or_break_off(self: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                raise BrokenOffError
            left -= 1
            return really_write(self, *arguments, **options)

        return write_or_break_off

    collection = type(store.database["providers"])
    for name in ("bulk_write", "replace_one"):
        patch.setattr(collection, name, broken_off(getattr(collection, name)))
    try:
        deliver(root, FILES, day, store.sink)
    except BrokenOffError:
        return True
    return False


def test_a_delivery_that_is_broken_off_at_any_write_leaves_no_receipt_and_the_next_puts_it_right(
    store: Store, root: LocalRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(npis=12, days=2)
    for day in world.days:
        make_day(root, day, world.of_day[day])
    monkeypatch.setattr(mongodb_sink, "_BATCH", 3)
    for write in itertools.count():
        for name in ("providers", "outcomes", "changes", "deliveries"):
            store.database.drop_collection(name)
        deliver(root, FILES, FIRST, store.sink)
        with monkeypatch.context() as patch:
            if not is_broken_off(store, root, SECOND, write, patch):
                break
        assert list(store.sink.receipts()) == [FIRST]
        deliver(root, FILES, SECOND, store.sink)
        assert_holds(store, root, world.of_day)
    assert write > 5
    assert_proven(store, root, SECOND)


def test_the_queries_of_the_documentation_give_what_was_known(root: LocalRoot, store: Store) -> None:
    world = World(npis=20, days=2)
    for day in world.days:
        make_day(root, day, world.of_day[day])
        deliver(root, FILES, day, store.sink)
    changes = next(open_published_day(root, FILES, SECOND).changes())
    npi, (state, *_) = changes["npi"][0], store.database["providers"].find_one()["states"]
    page = (PROJECT / "docs/deliveries.md").read_text().partition("\n## MongoDB\n")[2]
    (queries,) = re.findall(r"```python\nfrom pymongo import MongoClient\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"MongoClient": lambda _url: {"npi": store.database}}
    asked_for = {"1124642624": npi, "2026-11-24": str(SECOND), "VT": state}
    exec(re.sub("|".join(asked_for), lambda found: asked_for[found[0]], queries), names)
    there = {provider["_id"] for provider in store.database["providers"].find() if state in provider["states"]}
    assert {provider["_id"] for provider in names["in_vermont"]} == there
    assert [change["npi"] for change in names["of_npi"]] == [npi] * changes.filter(npi=npi).height
    assert len(names["of_day"]) == changes.height
    assert eval(first_query("MongoDB: ").replace("TX", state), names) == len(there)


def test_what_others_changed_is_found_and_put_right(root: LocalRoot, store: Store) -> None:
    world = World(npis=20, days=1)
    make_day(root, FIRST, world.of_day[FIRST])
    deliver(root, FILES, FIRST, store.sink)
    gone, other = sorted(world.of_day[FIRST])[:2]
    store.database["providers"].delete_one({"_id": gone})
    store.database["providers"].update_one({"_id": other}, {"$set": {"record.basic.status": "X"}})
    store.database["outcomes"].insert_one({"_id": "1999999992"})
    findings = dict(store.sink.findings(open_published_day(root, FILES, FIRST)))
    assert findings["receipt_is_of_the_publication"].holds
    assert findings["rows_agree"].line == (
        "2 of the providers are not there as they are known; 1 outcomes are there that the day does not have: "
        f"deliver {FIRST} with --again"
    )
    deliver(root, FILES, FIRST, store.sink, again=True)
    assert_proven(store, root, FIRST)


def test_a_day_that_is_published_anew_meanwhile_gets_no_receipt(root: LocalRoot, store: Store) -> None:
    world = World(npis=20, days=2)
    make_day(root, FIRST, world.of_day[FIRST])
    published = open_published_day(root, FILES, FIRST)

    def ensure_current() -> None:
        make_day(root, FIRST, world.of_day[SECOND])
        published.ensure_current()

    with pytest.raises(DeliveryError, match="published anew while it was delivered"):
        store.sink.deliver(published, ensure_current)
    assert not store.sink.receipts()


def test_keys_and_values_that_no_document_takes_are_there_all_the_same(
    root: LocalRoot, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    npis = ["1000000004", "1000000012", "1000000020", "1000000038"]
    basics = [
        {"first.name": "A", "$set": {"a": 1}, "nul\0": "x\0y"},
        {"large": 2**63},
        {"a.b": 1, "a\N{FULLWIDTH FULL STOP}b": 2},
        {"long": "X" * 5_000},
    ]
    make_day(root, FIRST, {npi: nppes_body(npi, basic=basic) for npi, basic in zip(npis, basics, strict=True)})
    monkeypatch.setattr("npi_pipeline.delivery.mongodb.documents._MAX_BYTES", 4_000)
    with pytest.raises(DeliveryError, match=r"the record of 1000000038 has [\d,]+ bytes, more than MongoDB takes"):
        deliver(root, FILES, FIRST, store.sink)
    monkeypatch.undo()
    deliver(root, FILES, FIRST, store.sink)
    held = {provider["_id"]: provider for provider in store.database["providers"].find()}
    assert held[npis[0]]["record"]["basic"] == {"first．name": "A", "＄set": {"a": 1}, "nul␀": "x\0y"}  # noqa: RUF001
    assert held[npis[1]]["record"] is None
    assert f'"large":{2**63}' in held[npis[1]]["record_json"]
    assert '"a.b":1' in held[npis[2]]["record_json"]
    assert len(held[npis[3]]["record"]["basic"]["long"]) == 5_000
    assert_proven(store, root, FIRST)


def test_a_server_that_is_not_there_is_told_with_its_place_and_without_the_password(root: LocalRoot) -> None:
    make_day(root, FIRST, {NPI: nppes_body(NPI)})
    port = free_port()
    url = f"mongodb://me:s3cret-word@127.0.0.1:{port}/npi?serverSelectionTimeoutMS=100"
    with pytest.raises(DeliveryError) as missing:
        deliver(root, FILES, FIRST, sink_of(SinkUrl("mongodb", "mongodb", url)))
    assert missing.value.retryable
    line = str(missing.value)
    assert line.startswith(
        f"mongodb://127.0.0.1:{port}/npi is not reached (127.0.0.1:{port}: [Errno 111] Connection ref"
    )
    assert "s3cret" not in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "url", ["mongodb://me:s3cret@host/a.b", "mongodb://me:s3cret@/npi", "mongodb://me:s3cret@ret@host/npi"]
)
def test_a_url_that_cannot_be_used_is_told_without_the_password(url: str) -> None:
    with pytest.raises(SettingsError) as error:
        sink_of(SinkUrl("mongodb", "mongodb", url)).receipts()
    assert "s3cret" not in str(error.value)
