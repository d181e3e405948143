"""What a database should hold after deliveries, computed plainly from what was known on the days; and what it holds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from npi_pipeline.delivery.sql.database import Database
from npi_pipeline.outcomes import Outcome
from npi_pipeline.settings import SinkUrl
from npi_pipeline_tests.complete_days import Outcomes
from npi_pipeline_tests.delivery.days_to_deliver import found, versions

Rows = list[tuple[Any, ...]]


class Reader:
    """Reads a database that was delivered to, by plain SQL."""

    def __init__(self, sink: SinkUrl) -> None:
        self._database = Database(sink)

    def rows(self, query: str, **values: object) -> Rows:
        with self._database.transaction() as connection:
            if self._database.schema:
                use = "use" if self._database.kind == "mysql" else "set search_path to"
                connection.execute(sa.text(f"{use} {self._database.schema}"))
            return [tuple(map(_plain, row)) for row in connection.execute(sa.text(query), values)]


def assert_holds(reader: Reader, of_day: Mapping[dt.date, Outcomes]) -> None:
    """Assert that the database holds what was known on the delivered days ``of_day``, newest day and history."""
    newest = max(of_day)
    records = found(of_day[newest])
    assert reader.rows("select npi from providers order by npi") == [(npi,) for npi in sorted(records)]
    last_names = reader.rows("select npi, last_name, credential from providers order by npi")
    assert last_names == [
        (npi, basic.get("last_name"), basic.get("credential"))
        for npi, basic in ((npi, records[npi]["basic"]) for npi in sorted(records))
    ]
    assert reader.rows("select npi, position, code, is_primary, license from provider_taxonomies order by 1, 2") == [
        (npi, position, item["code"], item["primary"], item.get("license"))
        for npi in sorted(records)
        for position, item in enumerate(records[npi]["taxonomies"])
    ]
    addresses = reader.rows(
        "select npi, kind, state, city from provider_addresses where kind in ('location', 'mailing') order by 1, 2"
    )
    assert addresses == [
        (npi, kind.lower(), address.get("state"), address.get("city"))
        for npi in sorted(records)
        for kind in ("LOCATION", "MAILING")
        for address in records[npi]["addresses"]
        if address["address_purpose"] == kind
    ]
    assert reader.rows("select npi, outcome, day from outcomes order by npi") == [
        (npi, _outcome(known), str(newest)) for npi, known in sorted(of_day[newest].items())
    ]
    history = reader.rows("select npi, valid_from, valid_to, outcome from providers_history order by 1, 2")
    assert history == [
        (npi, str(first), str(end) if end else None, known if known in set(Outcome) else "found")
        for npi, of_npi in sorted(versions(of_day).items())
        for first, end, known in of_npi
    ]
    for day, known in of_day.items():
        as_of = reader.rows(
            "select h.npi, h.last_name, t.license from providers_history h left join provider_taxonomies_history t "
            "on t.npi = h.npi and t.version = h.version where h.outcome = 'found' and h.valid_from <= :day "
            "and (h.valid_to is null or h.valid_to > :day) order by h.npi, t.position",
            day=day,
        )
        assert as_of == [
            (npi, record["basic"].get("last_name"), license_)
            for npi, record in sorted(found(known).items())
            for license_ in [item.get("license") for item in record["taxonomies"]] or [None]
        ]


def _outcome(known: str | Outcome) -> str:
    return known.value if isinstance(known, Outcome) else "found"


def _plain(cell: object) -> object:
    """Dates as text, as SQLite has them; and its booleans, which are numbers, are equal to ours."""
    return str(cell) if isinstance(cell, dt.date) else cell
