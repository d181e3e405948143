"""Every query that docs/deliveries.md gives of the lakes works by copy and paste."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import duckdb
import polars as pl
import pytest

from npi_pipeline.delivery.deliver import deliver
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.settings.deliveries import sink_urls
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.delivery.days_to_deliver import FILES, World, found
from npi_pipeline_tests.delivery.first_queries import first_query
from npi_pipeline_tests.delivery.lake_truth import states_of

PAGE = Path(__file__).parents[2] / "docs/deliveries.md"


def blocks(section: str, language: str) -> list[str]:
    text = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def known(world: World, days_root: LocalRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two days in both lakes, in the folders that the page names."""
    monkeypatch.chdir(tmp_path)
    for lake in sink_urls("a=parquet://npi-lake,b=delta://npi-delta"):
        for day in world.days[:2]:
            deliver(days_root, FILES, day, sink_of(lake))
    return world


def test_duckdb_and_polars_read_the_parquet_lake_by_the_queries_of_the_page(
    known: World, capsys: pytest.CaptureFixture[str]
) -> None:
    of_day = {day: found(known.of_day[day]) for day in known.days[:2]}
    once, of_state, by_receipts = blocks("Parquet", "sql")
    with duckdb.connect() as database:
        assert database.sql(once).fetchall() == [(day, len(records)) for day, records in of_day.items()]
        assert sorted(database.sql(of_state).fetchall(), key=str) == sorted(
            (
                (npi, record["basic"].get("last_name"), item["code"], item.get("license"))
                for npi, record in of_day[known.days[1]].items()
                if "CA" in states_of(record)
                for item in record["taxonomies"]
            ),
            key=str,
        )
        counts = Counter(
            (day, state) for day, records in of_day.items() for r in records.values() for state in states_of(r)
        )
        assert database.sql(by_receipts).fetchall() == [(*key, count) for key, count in sorted(counts.items())]
        counted = database.sql(first_query("Parquet in Hive's layout")).fetchall()
    assert sum(count for _, _, count in counted) == sum(len(known.of_day[day]) for day in known.days[:2])
    of_delta = eval(first_query("Delta Lake, in a folder or on S3"), {"pl": pl})
    assert sorted(of_delta.rows(), key=str) == sorted(counted, key=str)
    (by_polars,) = blocks("Parquet", "python")
    exec(by_polars, {})
    assert "found" in capsys.readouterr().out


def test_polars_reads_the_delta_lake_by_the_queries_of_the_page(
    known: World, capsys: pytest.CaptureFixture[str]
) -> None:
    once, together = blocks("Delta Lake", "python")
    exec(once, {})
    said = capsys.readouterr().out
    for day in known.days[:2]:
        assert re.search(rf"{day} ┆ {len(found(known.of_day[day]))} ", said)
    exec(together, {})
    assert "reason" in capsys.readouterr().out
