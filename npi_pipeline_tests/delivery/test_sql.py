"""A database as a sink: real PostgreSQL, DuckDB and SQLite hold what was known, whatever the order of deliveries."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from npi_pipeline.delivery.deliver import deliver
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.delivery.published_day import open_published_day
from npi_pipeline.settings import SinkUrl
from npi_pipeline.settings.deliveries import sink_urls
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.delivery.days_to_deliver import FILES, World, make_day
from npi_pipeline_tests.delivery.postgresql import postgresql_server
from npi_pipeline_tests.delivery.sql_truth import Reader, assert_holds

_schemas = itertools.count()


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    with postgresql_server() as url:
        yield url


@pytest.fixture(params=["postgresql", "duckdb", "sqlite"])
def sink_url(request: pytest.FixtureRequest, tmp_path: Path) -> SinkUrl:
    """A fresh database of each kind."""
    if request.param == "postgresql":
        url = f"{request.getfixturevalue('postgresql_url')}?schema=npi_{next(_schemas)}"
    else:
        url = f"{request.param}:///{tmp_path}/delivered.db"
    (sink,) = sink_urls(url)
    return sink


def assert_proven(root: LocalRoot, sink_url: SinkUrl, day: dt.date) -> None:
    findings = dict(sink_of(sink_url).findings(open_published_day(root, FILES, day)))
    assert len(findings) == 3
    for claim, finding in findings.items():
        assert finding.holds, (claim, finding.line)


def test_thirty_days_a_repair_and_a_late_day_leave_the_newest_day_and_the_whole_history(
    world: World, thirty_days: LocalRoot, sink_url: SinkUrl
) -> None:
    root = thirty_days
    late = world.days[4]
    delivered = {day: known for day, known in world.of_day.items() if day != late}
    for day in delivered:
        deliver(root, FILES, day, sink_of(sink_url))
    reader = Reader(sink_url)
    assert_holds(reader, delivered)
    repaired = world.days[11]
    delivered[repaired] = world.repaired(repaired, seed=1)
    make_day(root, repaired, delivered[repaired])
    deliver(root, FILES, repaired, sink_of(sink_url))
    assert_holds(reader, delivered)
    delivered[late] = world.of_day[late]
    deliver(root, FILES, late, sink_of(sink_url))
    assert_holds(reader, delivered)
    for day in (late, repaired, world.days[-1]):
        assert_proven(root, sink_url, day)
