"""A broker for all tests of this folder, and topics of each test's own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from npi_pipeline.settings import SinkUrl
from npi_pipeline_tests.delivery.kafka_broker import kafka_broker

_prefixes = itertools.count(1)


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """``host:port``: of the broker that KAFKA_BROKER names, if it does, else of one of the tests' own."""
    if os.environ.get("KAFKA_BROKER"):
        yield os.environ["KAFKA_BROKER"]
        return
    with kafka_broker() as address:
        yield address


@pytest.fixture
def prefix() -> str:
    return f"npi-tests-{os.getpid()}-{next(_prefixes)}"


@pytest.fixture
def sink_url(broker: str, prefix: str) -> SinkUrl:
    """Topics that are not there yet."""
    return SinkUrl("kafka", "kafka", f"kafka://{broker}/{prefix}?partitions=2&replication=1")
