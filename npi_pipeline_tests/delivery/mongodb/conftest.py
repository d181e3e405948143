"""Databases of each test's own: in memory, by mongomock, and on the server that MONGO_URL names, if it does."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator
from typing import Any

import mongomock
import pytest
from pymongo import MongoClient

from npi_pipeline.delivery.mongodb.sink import MongoSink, sink_at
from npi_pipeline.settings import SinkUrl

_names = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Store:
    """A sink, and the database behind it as any reader sees it."""

    sink: MongoSink
    database: Any


@pytest.fixture(params=["mongomock", "server"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    name = f"npi_tests_{os.getpid()}_{next(_names)}"
    client: Any
    if request.param == "mongomock":
        client = mongomock.MongoClient()
        yield Store(MongoSink("mongodb", f"mongomock/{name}", name, lambda: client), client[name])
        return
    server = os.environ.get("MONGO_URL", "")
    if not server:
        pytest.skip("MONGO_URL names no MongoDB, so this is tried on mongomock alone")
    client = MongoClient(server)
    yield Store(sink_at(SinkUrl("mongodb", "mongodb", f"{server.rstrip('/')}/{name}")), client[name])
    client.drop_database(name)
