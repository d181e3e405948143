"""What a ``kafka://`` URL says: brokers, topics, and settings of the client. Not here: the client (``cluster``)."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Mapping

from npi_pipeline.settings import SettingsError, SinkUrl

DEFAULT_PREFIX = "npi"
_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)
_DEFAULT_PORT = 9092
_PARTITIONS, _REPLICATION = "partitions", "replication"
# The broker's own default.
_UNSET_REPLICATION = -1
# What is promised rests on these, or the URL says them elsewhere.
_OURS = frozenset(
    {
        "acks", "bootstrap.servers", "delivery.report.only.error", "enable.auto.commit", "enable.idempotence",
        "enable.partition.eof", "group.id", "isolation.level", "metadata.broker.list", "request.required.acks",
        "sasl.password", "sasl.username", "transactional.id",
    }
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Topics:
    """The names of the three topics."""

    changes: str
    providers: str
    deliveries: str


@dataclasses.dataclass(frozen=True)
class Address:
    """Brokers, the beginning of the topics' names, how topics are made, and what the client is told besides.

    ``settings`` are librdkafka's own, by its names; a user and a password are among them, and so it is not shown.
    """

    brokers: str
    prefix: str
    partitions: int
    replication: int
    settings: Mapping[str, str] = dataclasses.field(repr=False)

    @property
    def place(self) -> str:
        """For a person: without user, password and settings."""
        return f"kafka://{self.brokers}/{self.prefix}"

    @property
    def topics(self) -> Topics:
        """The names of the topics."""
        return Topics(*(f"{self.prefix}.{name}" for name in ("changes", "providers", "deliveries")))


def address_of(sink: SinkUrl) -> Address:
    """What the URL of ``sink`` says. Raises SettingsError, without a word of what may be secret."""
    parts = urllib.parse.urlsplit(sink.url)
    login, _, brokers = parts.netloc.rpartition("@")
    prefix = urllib.parse.unquote(parts.path).strip("/") or DEFAULT_PREFIX
    if not brokers.strip(","):
        raise _unusable(sink, "names no broker: kafka://host:9092/npi")
    if not _PREFIX.fullmatch(prefix):
        raise _unusable(sink, "names topics that Kafka does not take: letters, digits, '.', '_' and '-' after the host")
    settings = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    partitions = _number(sink, settings, _PARTITIONS, 4)
    replication = _number(sink, settings, _REPLICATION, _UNSET_REPLICATION)
    if ours := sorted(_OURS & settings.keys()):
        raise _unusable(sink, f"sets {', '.join(ours)}, which the delivery sees to")
    return Address(
        ",".join(_with_port(broker) for broker in brokers.split(",") if broker),
        prefix,
        partitions,
        replication,
        {**_login(login), **settings},
    )


def _login(login: str) -> dict[str, str]:
    """The settings of ``user:password``. A password does not travel as plain text unless the URL says so."""
    if not login:
        return {}
    user, _, password = login.partition(":")
    return {
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "PLAIN",
        "sasl.username": urllib.parse.unquote(user),
        "sasl.password": urllib.parse.unquote(password),
    }


def _with_port(broker: str) -> str:
    return broker if re.search(r":\d+$", broker) else f"{broker}:{_DEFAULT_PORT}"


def _number(sink: SinkUrl, settings: dict[str, str], name: str, default: int) -> int:
    text = settings.pop(name, None)
    if text is None:
        return default
    if not re.fullmatch(r"[1-9]\d{0,3}", text, re.ASCII):
        raise _unusable(sink, f"sets {name}, which must be a whole number from 1 on")
    return int(text)


def _unusable(sink: SinkUrl, why: str) -> SettingsError:
    return SettingsError(f"NPI_DELIVER_TO cannot be used: the URL of the sink {sink.name} {why}")
