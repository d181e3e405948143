"""A database as a sink: real PostgreSQL, DuckDB and SQLite hold what was known, whatever the order of deliveries."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import random
import re
import signal
import socket
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from npi_pipeline.delivery import destinations
from npi_pipeline.delivery.deliver import deliver
from npi_pipeline.delivery.destinations import check_destinations, sink_of
from npi_pipeline.delivery.published_day import open_published_day
from npi_pipeline.delivery.sink import DeliveryError
from npi_pipeline.delivery.sql import database as sql_database
from npi_pipeline.delivery.sql import digests as sql_digests
from npi_pipeline.delivery.sql import loading as sql_loading
from npi_pipeline.outcomes import Outcome
from npi_pipeline.settings import SettingsError, SinkUrl
from npi_pipeline.settings.deliveries import sink_urls
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import Outcomes
from npi_pipeline_tests.delivery.days_to_deliver import FILES, NUMBERS_OF_DAYS, World, make_day
from npi_pipeline_tests.delivery.sql_kills import COMMIT, deliver_and_die
from npi_pipeline_tests.delivery.sql_truth import Reader, assert_holds
from npi_pipeline_tests.delivery.vanishing_proxy import vanishing_proxy
from npi_pipeline_tests.flattened import nppes_body
from npi_pipeline_tests.sudden_death import running

_schemas = itertools.count()


@pytest.fixture(params=["postgresql", "duckdb", "sqlite", pytest.param("mariadb", marks=pytest.mark.long)])
def sink_url(request: pytest.FixtureRequest, tmp_path: Path) -> SinkUrl:
    """A fresh database of each kind; MariaDB is one that gets plain SQL alone."""
    if request.param in {"postgresql", "mariadb"}:
        url = f"{request.getfixturevalue(f'{request.param}_url')}?schema=npi_{next(_schemas)}"
    else:
        url = f"{request.param}:///{tmp_path}/delivered.db"
    (sink,) = sink_urls(url)
    return sink


@pytest.fixture
def plain_sql_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets every database be one that nothing is known of."""
    monkeypatch.setattr(sql_database, "KNOWN", frozenset())
    monkeypatch.setattr(sql_digests, "DIGESTS", {})
    monkeypatch.setattr(sql_loading, "LOADERS", {})


def assert_proven(root: LocalRoot, sink_url: SinkUrl, day: dt.date) -> None:
    findings = dict(sink_of(sink_url).findings(open_published_day(root, FILES, day)))
    assert len(findings) == 3
    for claim, finding in findings.items():
        assert finding.holds, (claim, finding.line)


@pytest.mark.usefixtures("plain_sql_alone")
def test_plain_sql_alone_leaves_the_same_in_a_database_that_nothing_is_known_of(
    world: World, days_root: LocalRoot, tmp_path: Path
) -> None:
    (sink_url,) = sink_urls(f"sqlite:///{tmp_path}/delivered.db")
    first, late, third, newest = world.days[:4]
    delivered = {day: world.of_day[day] for day in (first, third, newest, late)}
    for day in delivered:
        deliver(days_root, FILES, day, sink_of(sink_url))
    delivered[third] = world.repaired(third, seed=1)
    make_day(days_root, third, delivered[third])
    deliver(days_root, FILES, third, sink_of(sink_url))
    deliver(days_root, FILES, newest, sink_of(sink_url), again=True)
    assert_holds(Reader(sink_url), delivered)
    for day in delivered:
        assert_proven(days_root, sink_url, day)
    assert Reader(sink_url).rows("select npi from npi_listed") == []
    with sqlite3.connect(tmp_path / "delivered.db") as connection:
        connection.execute("update provider_addresses_history set city = 'ELSEWHERE' where position = 0")
    findings = dict(sink_of(sink_url).findings(open_published_day(days_root, FILES, newest)))
    assert re.search(r"provider_addresses has \d+ rows, but not the same", findings["rows_agree"].line)


@pytest.mark.usefixtures("plain_sql_alone")
def test_a_database_without_transactions_is_refused_in_one_line(
    days_root: LocalRoot, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commit_each_statement(engine: sa.Engine) -> None:
        sa.event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))

    monkeypatch.setattr(sql_database, "_make_transactions_whole", commit_each_statement)
    (sink_url,) = sink_urls(f"warehouse=sqlite:///{tmp_path}/delivered.db")
    with pytest.raises(DeliveryError, match=r"the sink warehouse \(sqlite at .*\) has no transactions, so") as refused:
        deliver(days_root, FILES, world.days[0], sink_of(sink_url))
    assert not refused.value.retryable
    assert Reader(sink_url).rows("select npi from npi_listed union all select npi from providers") == []


def test_schemes_that_cannot_be_used_and_clients_that_are_missing_are_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for scheme in ("postgress", "mysql+nothing", "postgresql+asyncpg"):
        with pytest.raises(SettingsError, match=f"the sink a has the scheme {re.escape(scheme)}, and there are "):
            check_destinations(sink_urls(f"a={scheme}://me:5ecret@host/npi"))
    (sink_url,) = sink_urls("a=mysql+mysqldb://me:5ecret@host/npi")
    check_destinations([sink_url])
    with pytest.raises(DeliveryError, match="the sink a needs MySQLdb, which is not installed"):
        sink_of(sink_url)
    # As of DuckDB's without its extra.
    monkeypatch.setitem(destinations._MADE_BY, "absent", ("sql.sink", "deliver-absent"))
    with pytest.raises(DeliveryError, match=r"SQLAlchemy's dialect absent, .* pip install '\.\[deliver-absent"):
        sink_of(SinkUrl("a", "absent", "absent:///file"))


@pytest.mark.parametrize("world", NUMBERS_OF_DAYS, indirect=True)
@pytest.mark.parametrize(
    "sink_url",
    ["postgresql", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("duckdb", "sqlite", "mariadb"))],
    indirect=True,
)
def test_days_a_repair_and_a_late_day_leave_the_newest_day_and_the_whole_history(
    world: World, days_root: LocalRoot, sink_url: SinkUrl
) -> None:
    root = days_root
    late = world.days[2]
    delivered = {day: known for day, known in world.of_day.items() if day != late}
    for day in delivered:
        deliver(root, FILES, day, sink_of(sink_url))
    reader = Reader(sink_url)
    assert_holds(reader, delivered)
    repaired = world.days[4]
    delivered[repaired] = world.repaired(repaired, seed=1)
    make_day(root, repaired, delivered[repaired])
    deliver(root, FILES, repaired, sink_of(sink_url))
    assert_holds(reader, delivered)
    delivered[late] = world.of_day[late]
    deliver(root, FILES, late, sink_of(sink_url))
    assert_holds(reader, delivered)
    for day in (late, repaired, world.days[-1]):
        assert_proven(root, sink_url, day)


def test_the_same_publication_is_delivered_once_and_again_only_when_it_is_asked_for(
    world: World, days_root: LocalRoot, sink_url: SinkUrl
) -> None:
    first, second = world.days[:2]
    for day in (first, second):
        deliver(days_root, FILES, day, sink_of(sink_url))
    assert deliver(days_root, FILES, first, sink_of(sink_url)).is_unchanged
    for day in (first, second):
        assert not deliver(days_root, FILES, day, sink_of(sink_url), again=True).is_unchanged
    assert_holds(Reader(sink_url), {day: world.of_day[day] for day in (first, second)})


# Statement by statement in the benchmark delivery_kills; here, the first, the last and one of those between.
@pytest.mark.parametrize("before", [0, pytest.param(60, marks=pytest.mark.long), COMMIT])
def test_a_delivery_that_is_killed_is_not_there_at_all_and_is_repeated_by_the_next(
    world: World, days_root: LocalRoot, sink_url: SinkUrl, before: int
) -> None:
    first, second = world.days[:2]
    deliver(days_root, FILES, first, sink_of(sink_url))
    with running(deliver_and_die, Path(days_root.uri()), second, sink_url, before) as process:
        process.join()
    assert process.exitcode == -signal.SIGKILL
    assert set(sink_of(sink_url).receipts()) == {first}
    assert_holds(Reader(sink_url), {first: world.of_day[first]})
    deliver(days_root, FILES, second, sink_of(sink_url))
    assert_holds(Reader(sink_url), {day: world.of_day[day] for day in (first, second)})
    assert_proven(days_root, sink_url, second)


def test_a_database_that_vanishes_in_mid_delivery_is_told_in_one_line_and_delivered_to_when_it_is_back(
    world: World, days_root: LocalRoot, postgresql_url: str
) -> None:
    first = world.days[0]
    host = postgresql_url.partition("@")[2].partition("/")[0]
    schema = f"npi_{next(_schemas)}"
    (direct,) = sink_urls(f"{postgresql_url}?schema={schema}")
    with vanishing_proxy(int(host.rpartition(":")[2])) as proxy:
        (by_proxy,) = sink_urls(f"{postgresql_url.replace(host, f'127.0.0.1:{proxy.port}')}?schema={schema}")
        # At once, while tables are made (36 KB are sent for that), and while rows are (42 KB).
        for sent in (0, 20_000, 38_000):
            proxy.vanish_after(sent)
            with pytest.raises(DeliveryError, match=r"the sink postgresql \(postgresql at 127.*\) says: Oper") as told:
                deliver(days_root, FILES, first, sink_of(by_proxy))
            assert told.value.retryable
            assert "\n" not in str(told.value)
            assert "secret" not in str(told.value)
            assert sink_of(direct).receipts() == {}
        proxy.vanish_after(None)
        deliver(days_root, FILES, first, sink_of(by_proxy))
    assert_holds(Reader(direct), {first: world.of_day[first]})


def test_a_schema_that_grows_does_not_stop_a_delivery(tmp_path: Path, sink_url: SinkUrl) -> None:
    root = LocalRoot(tmp_path / "root")
    npi, day = "1000000004", dt.date(2026, 11, 23)
    known = [
        nppes_body(npi),
        nppes_body(npi, basic={"new_field": 1}),
        nppes_body(npi, basic={"new_field": 1}, taxonomies=[{"code": f"{number}"} for number in range(20)]),
    ]
    done = []
    for number, body in enumerate(known):
        make_day(root, day + dt.timedelta(days=number), {npi: body})
        done.append(deliver(root, FILES, day + dt.timedelta(days=number), sink_of(sink_url)))
    assert [delivery.without_column for delivery in done] == [
        (),
        ("basic.new_field",),
        ("basic.new_field", "taxonomies"),
    ]
    history = Reader(sink_url).rows("select unknown_fields from providers_history order by valid_from")
    assert [json.loads(cell or "{}") for (cell,) in history[:2]] == [{}, {"basic.new_field": 1}]
    assert Reader(sink_url).rows("select max(position) from provider_taxonomies") == [(14,)]
    assert all(f'"{number}"' in history[2][0] for number in range(15, 20))


def test_a_column_that_a_later_release_adds_is_added_and_makes_no_new_versions(
    world: World, days_root: LocalRoot, tmp_path: Path
) -> None:
    (sink_url,) = sink_urls(f"sqlite:///{tmp_path}/delivered.db")
    first, second = world.days[:2]
    deliver(days_root, FILES, first, sink_of(sink_url))
    with sqlite3.connect(tmp_path / "delivered.db") as connection:
        for table in ("providers", "providers_history"):
            connection.execute(f"alter table {table} drop column reactivation_date")
    deliver(days_root, FILES, second, sink_of(sink_url))
    assert_holds(Reader(sink_url), {day: world.of_day[day] for day in (first, second)})
    assert_proven(days_root, sink_url, second)


def test_a_format_without_declared_columns_is_delivered_value_by_value(tmp_path: Path, sink_url: SinkUrl) -> None:
    root = LocalRoot(tmp_path / "root")
    day = dt.date(2026, 11, 23)
    body = json.dumps({"affiliatedPractices": [{"address": {"state": "CA"}, "name": "A"}], "active": True})
    outcomes = {"1000000004": body, "1000000012": Outcome.not_found}
    make_day(root, day, outcomes, format_name="affiliated_practices")
    deliver(root, FILES, day, sink_of(sink_url))
    assert Reader(sink_url).rows("select npi, field, value from provider_fields order by field") == [
        ("1000000004", "active", "true"),
        ("1000000004", "affiliatedPractices[0].address.state", "CA"),
        ("1000000004", "affiliatedPractices[0].name", "A"),
    ]
    assert_proven(root, sink_url, day)


@pytest.mark.long
@pytest.mark.parametrize("seed", [100, 101, 102, 103])
def test_days_in_any_order_with_repairs_between_leave_the_same_history(tmp_path: Path, world: World, seed: int) -> None:
    """Many orders, on the database that is the cheapest; seeds that no other test has."""
    days = world.days[:7]
    rng = random.Random(seed)
    root = LocalRoot(tmp_path / "root")
    (sink_url,) = sink_urls(f"sqlite:///{tmp_path}/delivered.db")
    delivered: dict[dt.date, Outcomes] = {}
    for day in (*rng.sample(days, len(days)), *rng.choices(days, k=3)):
        delivered[day] = world.repaired(day, seed) if day in delivered else world.of_day[day]
        make_day(root, day, delivered[day])
        deliver(root, FILES, day, sink_of(sink_url))
        assert_holds(Reader(sink_url), delivered)
        assert_proven(root, sink_url, day)


def test_a_database_that_is_not_there_and_a_url_that_is_none_are_one_line_without_the_password(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (sink_url,) = sink_urls(f"postgresql://me:5ecret@127.0.0.1:{port}/npi")
    with pytest.raises(DeliveryError, match=f"postgresql at 127.0.0.1:{port}/npi.*refused") as told:
        sink_of(sink_url).receipts()
    assert told.value.retryable
    assert "5ecret" not in str(told.value)
    (sink_url,) = sink_urls("postgresql://me:5ecret@h:port/npi")
    with pytest.raises(ValueError, match="the URL of the sink postgresql cannot be read") as refused:
        sink_of(sink_url)
    assert "5ecret" not in str(refused.value)


def test_to_ask_for_receipts_makes_no_database(tmp_path: Path) -> None:
    for scheme in ("duckdb", "sqlite"):
        (sink_url,) = sink_urls(f"{scheme}:///{tmp_path}/{scheme}.db")
        assert sink_of(sink_url).receipts() == {}
    assert list(tmp_path.iterdir()) == []
