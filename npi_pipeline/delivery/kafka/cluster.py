"""Talking to a Kafka cluster: making topics, reading one to its end, writing in one transaction.

Every wait is bounded. Every error becomes a DeliveryError of one line, with the place and without a setting's value.
Not here: which topics there are and what is in them (``sink``, ``messages``).
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]

from npi_pipeline.delivery.kafka.address import Address
from npi_pipeline.delivery.sink import DeliveryError
from npi_pipeline.errors import PipelineError
from npi_pipeline.settings import SettingsError

# For an answer of the cluster, and for the next messages of a topic.
_PATIENCE_SECONDS = 10.0
# For messages to be taken; the client tries again meanwhile. And for a transaction, the longest that a broker allows
# unless it was told otherwise: a delivery of some ten million providers.
_MESSAGE_MILLISECONDS = 30_000
_TRANSACTION_MILLISECONDS = 900_000
_POLL_SECONDS = 0.05
_MESSAGES_AT_A_TIME = 1_000

_COMPACT = "compact"
_SILENT = logging.getLogger(__name__)
_SILENT.disabled = True
_TOO_LARGE = "MSG_SIZE_TOO_LARGE"

Headers = list[tuple[str, bytes]]
Offsets = Mapping[int, int]
"""By partition of a topic."""
TopicSettings = Mapping[str, str]

# Errors by the names that librdkafka gives them (rdkafka.h, rd_kafka_resp_err_t). Of what its own threads say when a
# broker goes away, which one comes depends on the moment, and ``retriable()`` is False for all of them: so of the
# client's own errors, whose names begin with "_", only those are final at which trying again changes nothing.
_NOT_REACHED = {
    *("_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_TIMED_OUT_QUEUE", "_MSG_TIMED_OUT", "_RESOLVE"),
    *("_DESTROY_BROKER", "_NODE_UPDATE", "_UNKNOWN_BROKER", "_FAIL"),
}
_FENCED = {"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"}
_FINAL = {
    *("_AUTHENTICATION", "_SSL", "_UNSUPPORTED_FEATURE", "_UNKNOWN_PROTOCOL", "_NOT_IMPLEMENTED", "_NOT_CONFIGURED"),
    *("_INVALID_TYPE", "_BAD_MSG", "_BAD_COMPRESSION", "_KEY_SERIALIZATION", "_VALUE_SERIALIZATION", "_FS"),
}
_WAITABLE = {"REQUEST_TIMED_OUT", "NOT_ENOUGH_REPLICAS"}
_NOT_TOLD = {"TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "UNSUPPORTED_VERSION"}
_REMEDIES = {
    "INVALID_TRANSACTION_TIMEOUT": "add transaction.timeout.ms to the URL, at most the broker's "
    "transaction.max.timeout.ms",
    _TOO_LARGE: "add message.max.bytes to the URL, and set max.message.bytes of the topic",
    "TOPIC_AUTHORIZATION_FAILED": "let the user describe, read and write the topics",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "let the user write with the transactional id npi-pipeline.*",
    "_AUTHENTICATION": "mend user, password or sasl.mechanism in the URL",
}


class Cluster:
    """The cluster at ``address``, which is not reached before it is asked for something."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._last_error = ""
        self._known_admin: AdminClient | None = None

    def topics(self) -> dict[str, list[int]]:
        """The partitions of every topic by its name."""
        with self._telling():
            # Of all topics: asked for one by its name, some clusters make it.
            found = self._admin().list_topics(timeout=_PATIENCE_SECONDS).topics
        return {name: sorted(topic.partitions) for name, topic in found.items()}

    def make_topics(self, wanted: Mapping[str, TopicSettings], partitions: Mapping[str, int]) -> None:
        """Make those topics that are missing. Raises DeliveryError for one that is compacted and must not be, or not.

        Settings of a topic that is there already are its owner's, but for that.
        """
        missing = wanted.keys() - self.topics().keys()
        new = [
            NewTopic(name, partitions.get(name, self._address.partitions), self._address.replication, config=dict(of))
            for name, of in wanted.items()
            if name in missing
        ]
        with self._telling():
            admin = self._admin()
            if new:
                for made in admin.create_topics(new, request_timeout=_PATIENCE_SECONDS).values():
                    _unless({"TOPIC_ALREADY_EXISTS"}, made)
            self._wait_for(set(missing))
            resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in wanted]
            for resource, told in admin.describe_configs(resources, request_timeout=_PATIENCE_SECONDS).items():
                settings = _unless(_NOT_TOLD, told)
                policy = settings["cleanup.policy"].value if settings and "cleanup.policy" in settings else None
                self._check_policy(resource.name, policy, wanted[resource.name])

    def messages(self, topic: str, beginning: Offsets | None = None) -> Iterator[Message]:
        """The committed messages of a topic up to its end as it is now; none of one that is missing.

        ``beginning`` says from where on; of partitions that it does not name, and offsets that are gone, all.
        """
        partitions = self.topics().get(topic, [])
        if not partitions:
            return
        with self._telling(), contextlib.closing(self._consumer()) as consumer:
            offsets = beginning or {}
            consumer.assign([TopicPartition(topic, number, offsets.get(number, 0)) for number in partitions])
            yield from self._up_to_the_ends(consumer, topic, set(partitions))

    def ends(self, topic: str) -> Offsets:
        """By partition, the offset before which all committed messages of a topic lie."""
        with self._telling(), contextlib.closing(self._consumer()) as consumer:
            return {
                number: consumer.get_watermark_offsets(TopicPartition(topic, number), _PATIENCE_SECONDS)[1]
                for number in self.topics().get(topic, [])
            }

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Messages that are committed at the end of the block, all or none; another transaction ends this one.

        What was begun by whoever is no more, or was paused for long, is undone first, and he can write no more.
        """
        with self._telling():
            producer = Producer(
                {
                    "compression.type": "lz4",
                    "linger.ms": 20,
                    "message.timeout.ms": _MESSAGE_MILLISECONDS,
                    "transaction.timeout.ms": _TRANSACTION_MILLISECONDS,
                    # Instead of a gigabyte.
                    "queue.buffering.max.kbytes": 32_768,
                    **self._settings(),
                    "acks": "all",
                    "enable.idempotence": True,
                    "transactional.id": f"npi-pipeline.{self._address.prefix}",
                    "delivery.report.only.error": True,
                }
            )
            try:
                with _telling_the_cause(producer):
                    producer.init_transactions(_PATIENCE_SECONDS)
                    producer.begin_transaction()
                    transaction = Transaction(producer)
                    yield transaction
                    transaction.flush()
                    producer.commit_transaction(_PATIENCE_SECONDS)
            except BaseException:
                _undo(producer)
                raise

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                **self._settings(),
                "error_cb": self._remember,
                "group.id": "npi-pipeline",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                # Of a topic whose first messages are gone. (Asking for the first offset takes half a second.)
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
                "queued.max.messages.kbytes": 16_384,
            }
        )

    def _settings(self) -> dict[str, Any]:
        return {
            "logger": _SILENT,
            **self._address.settings,
            "bootstrap.servers": self._address.brokers,
        }

    def _admin(self) -> AdminClient:
        self._known_admin = self._known_admin or AdminClient(self._settings() | {"error_cb": self._remember})
        return self._known_admin

    def _remember(self, error: KafkaError) -> None:
        if error.name() != "_ALL_BROKERS_DOWN":
            self._last_error = error.str()

    def _wait_for(self, topics: set[str]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while topics and not topics <= self.topics().keys():
            if time.monotonic() > deadline:
                raise DeliveryError(f"{self._address.place}: new topics do not appear", retryable=True)
            time.sleep(_POLL_SECONDS)

    def _check_policy(self, topic: str, policy: str | None, wanted: TopicSettings) -> None:
        must_be = wanted["cleanup.policy"]
        if policy is None or (_COMPACT in policy) == (_COMPACT in must_be):
            return
        raise DeliveryError(
            f"{self._address.place}: the topic {topic} has cleanup.policy={policy} and needs {must_be}: alter it "
            "(kafka-configs --alter), or name other topics after the host"
        )

    def _up_to_the_ends(self, consumer: Consumer, topic: str, left: set[int]) -> Iterator[Message]:
        """The messages up to the end of each of the partitions that are ``left``."""
        heard_of = time.monotonic()
        while left:
            for message in consumer.consume(_MESSAGES_AT_A_TIME, _POLL_SECONDS):
                heard_of = time.monotonic()
                error = message.error()
                if error is None:
                    yield message
                    # Whoever takes the messages may take his time.
                    heard_of = time.monotonic()
                elif error.name() == "_PARTITION_EOF":
                    left.discard(message.partition() or 0)
                else:
                    raise KafkaException(error)
            if time.monotonic() - heard_of > _PATIENCE_SECONDS:
                why = self._last_error or "nothing came from it"
                raise DeliveryError(
                    f"{self._address.place}: the topic {topic} cannot be read to its end ({why})", retryable=True
                )

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """The client's errors as a DeliveryError, or a SettingsError where the URL is wrong."""
        try:
            yield
        except KafkaException as exception:
            raise self._told(exception.args[0]) from None

    def _told(self, error: KafkaError) -> PipelineError:
        place, name = self._address.place, error.name()
        # The text may have the value that is wrong, which may be a secret in the wrong place.
        text = " ".join(re.sub(r'value ".*" for', "value for", error.str()).split())
        if name == "_INVALID_ARG":
            return SettingsError(f"NPI_DELIVER_TO cannot be used: {place}: {text}")
        if name in _FENCED:
            return DeliveryError(f"{place}: another delivery has begun since: wait for it", retryable=True)
        if name in _NOT_REACHED:
            if self._known_admin:
                self._known_admin.poll(0)
            return DeliveryError(
                f"{place} is not reached ({self._last_error or text}): start it, or mend NPI_DELIVER_TO", retryable=True
            )
        remedy = f": {_REMEDIES[name]}" if name in _REMEDIES else ""
        may_pass = name in _WAITABLE or (name.startswith("_") and name not in _FINAL)
        return DeliveryError(f"{place}: {text}{remedy}", retryable=error.retriable() or may_pass)


class Transaction:
    """Messages on their way. Raises KafkaException, which ``Cluster.transaction`` makes a DeliveryError."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._failure: KafkaError | None = None

    def send(self, topic: str, key: str, value: bytes | None, headers: Headers) -> None:
        """Hand a message to the client; None is a tombstone. Waits while too many are on their way."""
        while not self._is_taken(topic, key, value, headers):
            # A message is given up after a time, so this ends.
            self._producer.poll(1.0)
            self._raise_failure()

    def _is_taken(self, topic: str, key: str, value: bytes | None, headers: Headers) -> bool:
        try:
            self._producer.produce(topic, value, key, headers=list(headers), on_delivery=self._note)
        except BufferError:
            return False
        except KafkaException as exception:
            if exception.args[0].name() != _TOO_LARGE:
                raise
            size = len(value or b"")
            raise DeliveryError(f"{key} has {size:,} bytes in {topic}: {_REMEDIES[_TOO_LARGE]}") from None
        return True

    def flush(self) -> None:
        """Wait until the cluster has every message that was sent."""
        left = len(self._producer)
        while left:
            self._raise_failure()
            # A message is given up after a time, so this ends.
            left = self._producer.flush(_PATIENCE_SECONDS)
        self._producer.poll(0)
        self._raise_failure()

    def _note(self, error: KafkaError | None, _message: Message) -> None:
        self._failure = self._failure or error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise KafkaException(self._failure)


@contextlib.contextmanager
def _telling_the_cause(producer: Producer) -> Iterator[None]:
    """After some errors the client tells only him who tries to commit why it can go on no more.

    A SystemError is one: it has called callbacks after a fatal error.
    """
    try:
        yield
    except (KafkaException, SystemError) as error:
        if isinstance(error, SystemError) or error.args[0].name() in {"_STATE", "_FATAL"}:
            producer.commit_transaction(1.0)
        raise


def _undo(producer: Producer) -> None:
    """Undo what was not committed, as far as the cluster can be told; the next transaction does it if not."""
    producer.purge()
    with contextlib.suppress(KafkaException):
        producer.abort_transaction(1.0)


def _unless(errors: Collection[str], future: Future[Any]) -> Any:
    """The result; None for these errors."""
    try:
        return future.result(2 * _PATIENCE_SECONDS)
    except KafkaException as exception:
        if exception.args[0].name() not in errors:
            raise
        return None
