"""What a URL of Kafka says, and that its password is shown nowhere."""

from __future__ import annotations

import pytest

from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.delivery.kafka.address import Topics, address_of
from npi_pipeline.settings import SettingsError, SinkUrl


def sink(rest: str) -> SinkUrl:
    return SinkUrl("events", "kafka", f"kafka://{rest}")


def test_brokers_topics_and_settings_are_told_apart() -> None:
    address = address_of(sink("one:9093,two/team.npi?partitions=8&replication=3&linger.ms=5"))
    assert (address.brokers, address.partitions, address.replication) == ("one:9093,two:9092", 8, 3)
    assert address.topics == Topics("team.npi.changes", "team.npi.providers", "team.npi.deliveries")
    assert address.settings == {"linger.ms": "5"}
    assert address_of(sink("one")).place == "kafka://one:9092/npi"


def test_a_password_travels_encrypted_unless_the_url_says_otherwise() -> None:
    settings = address_of(sink("me:p%40ss@one/npi")).settings
    assert (settings["sasl.password"], settings["security.protocol"]) == ("p@ss", "sasl_ssl")
    plain = address_of(sink("me:p%40ss@one/npi?security.protocol=sasl_plaintext&sasl.mechanism=SCRAM-SHA-256")).settings
    assert (plain["security.protocol"], plain["sasl.mechanism"]) == ("sasl_plaintext", "SCRAM-SHA-256")


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ("me:s3cret@/npi", "names no broker"),
        ("me:s3cret@one/a/b", "names topics that Kafka does not take"),
        ("me:s3cret@one/npi?acks=0", "sets acks, which the delivery sees to"),
        ("me:s3cret@one/npi?sasl.password=s3cret", "sets sasl.password"),
        ("me:s3cret@one/npi?partitions=s3cret", "sets partitions, which must be a whole number"),
    ],
)
def test_a_url_that_cannot_be_used_is_told_without_the_password(rest: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as error:
        sink_of(sink(rest))
    assert "events" in str(error.value)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("sasl.pasword=s3cret", 'No such configuration property: "sasl.pasword"'),
        ("security.protocol=s3cret", 'Invalid value for configuration property "security.protocol"'),
    ],
)
def test_a_setting_that_the_client_refuses_is_told_without_its_value(query: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as error:
        sink_of(sink(f"me:s3cret@127.0.0.1:1/npi?{query}")).receipts()
    assert "s3cret" not in str(error.value)


def test_an_address_does_not_show_its_password() -> None:
    assert "s3cret" not in repr(address_of(sink("me:s3cret@one/npi")))
