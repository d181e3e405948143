"""What a lake should hold after deliveries, computed plainly from what was known on the days; and what it holds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from npi_pipeline.delivery.delta import DeltaSink
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.delivery.parquet import ParquetSink
from npi_pipeline.delivery.published_day import open_published_day
from npi_pipeline.outcomes import Outcome
from npi_pipeline.providers.states import recognised
from npi_pipeline.settings import SinkUrl
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.engines import polars_options
from npi_pipeline_tests.complete_days import Outcomes
from npi_pipeline_tests.delivery.days_to_deliver import FILES, found

TABLES = ("providers", "outcomes", "changes")


def rows_of(sink_url: SinkUrl, table: str, scratch: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Every row of a table of the lake, as one who knows nothing of receipts reads it."""
    sink = sink_of(sink_url)
    if isinstance(sink, DeltaSink):
        rows = pl.scan_delta(sink.root.uri(table), **polars_options(sink.root))
        return rows.select(columns or pl.all()).collect()
    assert isinstance(sink, ParquetSink)
    frames = []
    for file in sink.root.list(table):
        sink.root.download(file.path, scratch / "file.parquet")
        folders = dict(folder.split("=") for folder in file.path.split("/")[1:-1])
        in_file = columns and [name for name in columns if name not in folders]
        frame = pl.read_parquet(scratch / "file.parquet", columns=in_file, hive_partitioning=False)
        frames.append(frame.with_columns(pl.lit(value).alias(name) for name, value in folders.items()))
    return pl.concat(frames, how="diagonal").with_columns(pl.col("day").str.to_date())


def assert_lake_holds(sink_url: SinkUrl, root: DataRoot, of_day: Mapping[dt.date, Outcomes], scratch: Path) -> None:
    """Assert that the lake holds what was known on the delivered days ``of_day``, and a receipt of each."""
    providers = rows_of(sink_url, "providers", scratch, ["npi", "basic.last_name", "taxonomies", "day", "state"])
    names = providers.select("day", "npi", "state", "basic.last_name", pl.col("taxonomies").list.len().fill_null(0))
    assert sorted(names.rows(), key=str) == sorted(
        (
            (day, npi, state, record["basic"].get("last_name"), len(record["taxonomies"]))
            for day, known in of_day.items()
            for npi, record in found(known).items()
            for state in states_of(record)
        ),
        key=str,
    )
    outcomes = rows_of(sink_url, "outcomes", scratch).select("day", "npi", "outcome")
    assert sorted(outcomes.rows()) == sorted(
        (day, npi, known.value if isinstance(known, Outcome) else "found")
        for day, of_npi in of_day.items()
        for npi, known in of_npi.items()
    )
    changes = rows_of(sink_url, "changes", scratch).drop("compared_with")
    assert sorted(changes.select("day", pl.all().exclude("day")).rows(), key=str) == sorted(
        (
            (day, *row)
            for day in of_day
            for frame in open_published_day(root, FILES, day).changes()
            for row in frame.rows()
        ),
        key=str,
    )
    assert list(sink_of(sink_url).receipts()) == sorted(of_day)


def assert_proven(sink_url: SinkUrl, root: DataRoot, *days: dt.date) -> None:
    """Assert that all that is claimed of these days in the lake is proven from it."""
    for day in days:
        findings = dict(sink_of(sink_url).findings(open_published_day(root, FILES, day)))
        assert len(findings) == 2
        for claim, finding in findings.items():
            assert finding.holds, (claim, finding.line)


def states_of(record: dict[str, object]) -> list[str]:
    """Where a provider practises, by the record as the registry gave it."""
    places = [place for place in record["addresses"] if place["address_purpose"] != "MAILING"]  # type: ignore[attr-defined]
    places += record.get("practiceLocations") or []  # type: ignore[arg-type]
    codes = {
        recognised(place.get("state") or "", place.get("country_code") or "", place.get("address_type") or "")
        for place in places
    }
    return sorted(code for code in codes if code) or ["None"]
