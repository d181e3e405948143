"""The SQL that the pages of deliveries and examples show runs as it stands, and gives the right answers."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from npi_pipeline.delivery.deliver import deliver
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.settings import SinkUrl
from npi_pipeline.settings.deliveries import sink_urls
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.delivery.days_to_deliver import FILES, World, found, versions
from npi_pipeline_tests.delivery.first_queries import first_query
from npi_pipeline_tests.delivery.sql_truth import Reader

# Each database is filled once.
pytestmark = pytest.mark.xdist_group("queries")

PROJECT = Path(__file__).parents[2]
EXAMPLES = (PROJECT / "examples/queries/README.md").read_text()
DELIVERIES = (PROJECT / "docs/deliveries.md").read_text()
SQL_SECTION = DELIVERIES.partition("\n## SQL\n")[2].partition("\n## ")[0]


def queries(text: str) -> list[str]:
    return re.findall(r"```sql\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module", params=["postgresql", "duckdb", "sqlite"])
def delivered(
    request: pytest.FixtureRequest, world: World, made_days: Path, tmp_path_factory: pytest.TempPathFactory
) -> SinkUrl:
    if request.param == "postgresql":
        url = f"{request.getfixturevalue('postgresql_url')}?schema=queries"
    else:
        url = f"{request.param}:///{tmp_path_factory.mktemp('queries')}/delivered.db"
    (sink_url,) = sink_urls(url)
    for day in world.days:
        deliver(LocalRoot(made_days), FILES, day, sink_of(sink_url))
    return sink_url


def test_each_query_runs_as_it_stands(delivered: SinkUrl) -> None:
    for query in [*queries(EXAMPLES), *queries(SQL_SECTION), first_query("PostgreSQL, DuckDB, SQLite")]:
        Reader(delivered).rows(query.replace("2026-11-24", "2026-10-07"))


def test_who_moved_and_who_was_deactivated_are_those_by_what_was_known(world: World, delivered: SinkUrl) -> None:
    moved, deactivated = (Reader(delivered).rows(query) for query in queries(EXAMPLES)[:2])
    known = {day: world.of_day[day] for day in world.days}
    history = versions(known)
    states = {day: {npi: _state(record) for npi, record in found(of_day).items()} for day, of_day in known.items()}
    assert moved
    for npi, _, was_in, is_in, since in moved:
        before = dt.date.fromisoformat(str(since)) - dt.timedelta(days=1)
        assert states[before][npi] in was_in
        assert states[before + dt.timedelta(days=1)][npi] in is_in
    assert [(npi, str(since)) for npi, _, since in deactivated] == sorted(
        ((npi, str(first)) for npi, of_npi in history.items() for first, _, what in of_npi if what == "deactivated"),
        key=lambda row: (row[1], row[0]),
    )
    assert deactivated


def _state(record: dict[str, object]) -> str:
    addresses = record["addresses"]
    assert isinstance(addresses, list)
    return str(next(a["state"] for a in addresses if a["address_purpose"] == "LOCATION"))
