"""A real broker's topics hold what was known, whatever the order of deliveries and wherever one was killed."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.delivery.deliver import deliver
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.delivery.kafka import cluster
from npi_pipeline.delivery.kafka.address import address_of
from npi_pipeline.delivery.published_day import open_published_day
from npi_pipeline.delivery.sink import CLAIMS, DeliveryError
from npi_pipeline.settings import SinkUrl
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.providers import affiliated_practices_answer, npi_numbers
from npi_pipeline_tests.complete_days import complete
from npi_pipeline_tests.delivery.days_to_deliver import FILES, NUMBERS_OF_DAYS, World, make_day
from npi_pipeline_tests.delivery.first_queries import first_query
from npi_pipeline_tests.delivery.kafka_broker import ends, kafka_broker, messages
from npi_pipeline_tests.delivery.kafka_kills import deliver_and_die
from npi_pipeline_tests.delivery.kafka_truth import assert_holds, providers
from npi_pipeline_tests.deployment import free_port
from npi_pipeline_tests.flattened import nppes_body
from npi_pipeline_tests.sudden_death import running
from npi_pipeline_tests.tcp_proxy import tcp_proxy

PROJECT = Path(__file__).parents[3]
NPI = "1000000004"
FIRST, SECOND = World(npis=4, days=2).days


@pytest.fixture
def root(tmp_path: Path) -> LocalRoot:
    return LocalRoot(tmp_path / "root")


def assert_proven(root: LocalRoot, sink_url: SinkUrl, day: dt.date) -> None:
    for claim, finding in sink_of(sink_url).findings(open_published_day(root, FILES, day)):
        assert claim in CLAIMS
        assert finding.holds, (claim, finding.line)


@pytest.mark.parametrize("world", NUMBERS_OF_DAYS, indirect=True)
def test_days_a_repair_and_a_late_day_leave_the_newest_day_and_all_changes(
    world: World, days_root: LocalRoot, broker: str, prefix: str, sink_url: SinkUrl
) -> None:
    late, repaired = world.days[2], world.days[4]
    delivered = {day: known for day, known in world.of_day.items() if day != late}
    for day in delivered:
        deliver(days_root, FILES, day, sink_of(sink_url))
    assert_holds(broker, prefix, days_root, delivered)
    assert any(provider["unknown_fields"] for provider in providers(broker, prefix).values())
    delivered[repaired] = world.repaired(repaired, seed=1)
    make_day(days_root, repaired, delivered[repaired])
    # The repair made the changes of the day after it others, too.
    for day in (repaired, world.days[5]):
        deliver(days_root, FILES, day, sink_of(sink_url))
    delivered[late] = world.of_day[late]
    deliver(days_root, FILES, late, sink_of(sink_url))
    assert_holds(broker, prefix, days_root, delivered)
    for day in (late, repaired, world.days[-1]):
        assert_proven(days_root, sink_url, day)


def test_the_same_publication_sends_nothing_and_again_sends_no_provider_that_is_there(
    root: LocalRoot, broker: str, prefix: str, sink_url: SinkUrl
) -> None:
    world = World(npis=20, days=2)
    for day in world.days:
        make_day(root, day, world.of_day[day])
        deliver(root, FILES, day, sink_of(sink_url))
    before = ends(broker, prefix)
    assert deliver(root, FILES, SECOND, sink_of(sink_url)).is_unchanged
    assert ends(broker, prefix) == before
    sent = list(messages(broker, f"{prefix}.providers"))
    assert not deliver(root, FILES, SECOND, sink_of(sink_url), again=True).is_unchanged
    assert len(list(messages(broker, f"{prefix}.providers"))) == len(sent)
    assert_holds(broker, prefix, root, world.of_day)


def test_what_was_changed_in_the_topics_by_others_is_found_and_put_right(
    root: LocalRoot, broker: str, prefix: str, sink_url: SinkUrl
) -> None:
    world = World(npis=20, days=1)
    make_day(root, FIRST, world.of_day[FIRST])
    sink = sink_of(sink_url)
    deliver(root, FILES, FIRST, sink)
    gone, other = sorted(world.of_day[FIRST])[:2]
    with cluster.Cluster(address_of(sink_url)).transaction() as transaction:
        transaction.send(f"{prefix}.providers", gone, None, [])
        transaction.send(f"{prefix}.providers", other, b"{}", [])
        transaction.send(f"{prefix}.providers", "1999999992", b"{}", [])
    findings = dict(sink.findings(open_published_day(root, FILES, FIRST)))
    assert findings["receipt_is_of_the_publication"].holds
    assert findings["rows_agree"].line == (
        "2 providers are not there as they are known; 1 providers are there who were not found: "
        f"deliver {FIRST} with --again"
    )
    deliver(root, FILES, FIRST, sink, again=True)
    assert_proven(root, sink_url, FIRST)
    assert_holds(broker, prefix, root, world.of_day)


@pytest.mark.parametrize(
    ("before", "is_receipt_sent"), [(9, False), pytest.param(None, False, marks=pytest.mark.long), (None, True)]
)
def test_a_killed_delivery_leaves_no_receipt_that_lies_and_the_next_puts_it_right(
    tmp_path: Path, broker: str, prefix: str, sink_url: SinkUrl, before: int | None, is_receipt_sent: bool
) -> None:
    root = LocalRoot(tmp_path / "root")
    world = World(npis=20, days=2)
    for day in world.days:
        make_day(root, day, world.of_day[day])
    deliver(root, FILES, FIRST, sink_of(sink_url))
    with running(deliver_and_die, tmp_path / "root", SECOND, sink_url, before, is_receipt_sent) as process:
        process.join(60)
    assert process.exitcode == -signal.SIGKILL
    receipts = sink_of(sink_url).receipts()
    if SECOND in receipts:
        # The broker of the tests shows what was never committed: then it is whole, for the receipt is the last message.
        assert is_receipt_sent
        assert_holds(broker, prefix, root, world.of_day)
    deliver(root, FILES, SECOND, sink_of(sink_url))
    assert_holds(broker, prefix, root, world.of_day)
    assert_proven(root, sink_url, SECOND)


def test_a_delivery_that_was_paused_while_another_began_writes_nothing_more(
    root: LocalRoot, broker: str, prefix: str, sink_url: SinkUrl
) -> None:
    world = World(npis=20, days=2)
    for day in world.days:
        make_day(root, day, world.of_day[day])

    def meanwhile() -> None:
        sink_of(sink_url).deliver(open_published_day(root, FILES, SECOND), lambda: None)

    with pytest.raises(DeliveryError, match="another delivery has begun since: wait for it") as fenced:
        sink_of(sink_url).deliver(open_published_day(root, FILES, FIRST), meanwhile)
    assert fenced.value.retryable
    assert list(sink_of(sink_url).receipts()) == [SECOND]
    assert_holds(broker, prefix, root, {SECOND: world.of_day[SECOND]})


def test_a_day_that_is_published_anew_meanwhile_gets_no_receipt(root: LocalRoot, sink_url: SinkUrl) -> None:
    world = World(npis=20, days=2)
    make_day(root, FIRST, world.of_day[FIRST])
    published = open_published_day(root, FILES, FIRST)

    def ensure_current() -> None:
        make_day(root, FIRST, world.of_day[SECOND])
        published.ensure_current()

    with pytest.raises(DeliveryError, match="published anew while it was delivered"):
        sink_of(sink_url).deliver(published, ensure_current)
    assert not sink_of(sink_url).receipts()
    published = open_published_day(root, FILES, FIRST)
    assert not dict(sink_of(sink_url).findings(published))["receipt_is_of_the_publication"].holds


@pytest.mark.parametrize("bytes_left", [0, 2_000, 12_000])
def test_a_broker_that_vanishes_in_mid_delivery_is_told_and_caught_up_with(
    root: LocalRoot, monkeypatch: pytest.MonkeyPatch, bytes_left: int
) -> None:
    world = World(npis=60, days=1)
    make_day(root, FIRST, world.of_day[FIRST])
    port = free_port()
    with tcp_proxy(port) as proxy, kafka_broker(f"127.0.0.1:{proxy.port}", port) as broker:
        sink_url = SinkUrl("kafka", "kafka", f"kafka://127.0.0.1:{proxy.port}/npi?message.timeout.ms=500")
        proxy.bytes_left = bytes_left
        with monkeypatch.context() as patch:
            patch.setattr(cluster, "_PATIENCE_SECONDS", 0.5)
            with pytest.raises(DeliveryError, match=f"kafka://127.0.0.1:{proxy.port}/npi") as vanished:
                deliver(root, FILES, FIRST, sink_of(sink_url))
        assert vanished.value.retryable, vanished.value
        proxy.reopen()
        assert not sink_of(sink_url).receipts()
        deliver(root, FILES, FIRST, sink_of(sink_url))
        assert_proven(root, sink_url, FIRST)
        assert sorted(providers(broker, "npi")) == sorted(world.of_day[FIRST])


# What the client says of a broker that goes away depends on which of its threads sees it first.
@pytest.mark.parametrize(
    ("code", "may_pass"),
    [
        (KafkaError._DESTROY_BROKER, True),
        (KafkaError._UNKNOWN_PARTITION, True),
        (KafkaError._WAIT_COORD, True),
        (KafkaError._AUTHENTICATION, False),
        (KafkaError._SSL, False),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, False),
    ],
)
def test_what_the_client_says_can_be_tried_again_unless_that_changes_nothing(
    sink_url: SinkUrl, monkeypatch: pytest.MonkeyPatch, code: int, *, may_pass: bool
) -> None:
    def fails(_: AdminClient, *__: object, **___: object) -> None:
        raise KafkaException(KafkaError(code))

    monkeypatch.setattr(AdminClient, "list_topics", fails)
    with pytest.raises(DeliveryError) as failed:
        sink_of(sink_url).receipts()
    assert failed.value.retryable is may_pass


def test_a_broker_that_is_not_there_is_told_with_its_place_and_without_the_password(
    root: LocalRoot, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE_SECONDS", 0.5)
    make_day(root, FIRST, {NPI: nppes_body(NPI)})
    port = free_port()
    url = f"kafka://reader:s3cret-word@127.0.0.1:{port}/npi?security.protocol=sasl_plaintext"
    with pytest.raises(DeliveryError) as missing:
        deliver(root, FILES, FIRST, sink_of(SinkUrl("kafka", "kafka", url)))
    assert missing.value.retryable
    assert str(missing.value).startswith(f"kafka://127.0.0.1:{port}/npi is not reached (")
    assert "Connection refused" in str(missing.value)
    assert "s3cret" not in str(missing.value) + "".join(capfd.readouterr())


def test_topics_that_others_made_for_something_else_are_not_written_to(
    root: LocalRoot, broker: str, prefix: str, sink_url: SinkUrl
) -> None:
    make_day(root, FIRST, {NPI: nppes_body(NPI)})
    topic = NewTopic(f"{prefix}.providers", 1, 1, config={"cleanup.policy": "delete"})
    admin = AdminClient({"bootstrap.servers": broker})
    (made,) = admin.create_topics([topic]).values()
    made.result()
    with pytest.raises(DeliveryError, match=r"providers has cleanup.policy=delete and needs compact: alter it"):
        deliver(root, FILES, FIRST, sink_of(sink_url))
    assert not any(messages(broker, f"{prefix}.providers"))


def test_a_provider_that_is_too_large_for_a_message_is_named(root: LocalRoot, sink_url: SinkUrl) -> None:
    make_day(root, FIRST, {NPI: nppes_body(NPI, basic={"organization_name": "X" * 1_100_000})})
    with pytest.raises(DeliveryError, match=rf"{NPI} has 1,1\d\d,\d\d\d bytes in .*: add message.max.bytes to the URL"):
        deliver(root, FILES, FIRST, sink_of(sink_url))
    larger = sink_url._replace(url=f"{sink_url.url}&message.max.bytes=4000000")
    deliver(root, FILES, FIRST, sink_of(larger))
    assert_proven(root, larger, FIRST)


def test_records_of_a_format_without_declared_columns_are_as_the_registry_gave_them(
    root: LocalRoot, broker: str, prefix: str, sink_url: SinkUrl
) -> None:
    answers = {npi: affiliated_practices_answer(npi).decode() for npi in sorted(npi_numbers(20))}
    complete(root, FIRST, answers, format_name="affiliated_practices")
    find_changes(root, FIRST, FILES)
    deliver(root, FILES, FIRST, sink_of(sink_url))
    held = providers(broker, prefix)
    assert {npi: provider["record"] for npi, provider in held.items()} == {
        npi: json.loads(answer) for npi, answer in answers.items()
    }
    assert_proven(root, sink_url, FIRST)


def test_the_reader_of_the_documentation_has_the_changes_that_count(
    root: LocalRoot, broker: str, prefix: str, sink_url: SinkUrl
) -> None:
    world = World(npis=20, days=3)
    for day in world.days:
        make_day(root, day, world.of_day[day])
        deliver(root, FILES, day, sink_of(sink_url))
    make_day(root, SECOND, world.repaired(SECOND, seed=3))
    for day in world.days:
        deliver(root, FILES, day, sink_of(sink_url), again=True)
    (reader,) = re.findall(r"```python\n(.*?changes.*?)```", _section("Kafka"), re.DOTALL)
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(reader.replace("broker-1:9092", broker).replace("npi.", f"{prefix}."), names)
    true = sum(open_published_day(root, FILES, day).rows["changes"] for day in world.days)
    assert true > 10
    assert len(names["changes"]) == true  # type: ignore[arg-type]
    assert len(list(messages(broker, f"{prefix}.changes"))) > true


def test_a_proof_reads_the_changes_from_where_its_delivery_began(
    root: LocalRoot, sink_url: SinkUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(npis=20, days=3)
    for day in world.days:
        make_day(root, day, world.of_day[day])
        deliver(root, FILES, day, sink_of(sink_url))
    read: list[Message] = []
    all_messages = cluster.Cluster.messages

    def noted(self: cluster.Cluster, topic: str, *beginning: cluster.Offsets) -> Iterator[Message]:
        for message in all_messages(self, topic, *beginning):
            read.extend([message] * topic.endswith(".changes"))
            yield message

    monkeypatch.setattr(cluster.Cluster, "messages", noted)
    for newest_first in (0, 1):
        read.clear()
        assert_proven(root, sink_url, world.days[-1 - newest_first])
        days = world.days[-1 - newest_first :]
        assert len(read) == sum(open_published_day(root, FILES, day).rows["changes"] for day in days) > 0


def test_the_first_query_that_the_page_gives_finds_a_receipt(
    root: LocalRoot, broker: str, prefix: str, sink_url: SinkUrl, capsys: pytest.CaptureFixture[str]
) -> None:
    make_day(root, FIRST, {NPI: nppes_body(NPI)})
    deliver(root, FILES, FIRST, sink_of(sink_url))
    query = first_query("Kafka: ").replace("broker:9092", broker).replace("npi.", f"{prefix}.")
    exec(query, {"Consumer": Consumer, "TopicPartition": TopicPartition})
    assert f'"day":"{FIRST}"' in capsys.readouterr().out


def _section(title: str) -> str:
    text = (PROJECT / "docs/deliveries.md").read_text()
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]
