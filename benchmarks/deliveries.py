"""What delivering a day costs beside the bare client's cost for the same rows, each in a process of its own.

    python benchmarks/deliveries.py --sink parquet                 100,000 NPIs: a first day, and one with 1 % changes
    python benchmarks/deliveries.py --sink delta --npis 10000
    python benchmarks/deliveries.py --sink parquet --keep /tmp/days   the days are made once and used again

The answers are those of ``tables.py``, and who changed has what ``changes.py`` changes. "ours" is a whole delivery:
reading and proving the day's files, the rows of all tables, the receipt. "bare" reads the same files and has the client
write the same rows in one go, proving and keeping nothing (SQL: into plain tables without keys or history). CPU
seconds are user and system time of the process without its imports; memory is its peak resident set.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import sqlalchemy as sa
import tables as made_up
from changes import changed
from tables import cpu, peak_mb

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.delivery.deliver import deliver
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.delivery.lake_tables import DAY, tables_of
from npi_pipeline.delivery.published_day import PublishedDay, open_published_day
from npi_pipeline.delivery.sql.database import Database
from npi_pipeline.delivery.sql.loading import load
from npi_pipeline.delivery.sql.relational import relational
from npi_pipeline.delivery.sql.tables import tables_in
from npi_pipeline.settings import FileSettings
from npi_pipeline.settings.deliveries import sink_urls
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import complete
from npi_pipeline_tests.delivery.kafka_broker import kafka_broker
from npi_pipeline_tests.delivery.postgresql import postgresql_server

FILES = FileSettings()
DAYS = {"first day": dt.date(2026, 11, 23), "1 % changed": dt.date(2026, 11, 24)}


def make_days(folder: Path, npis: int) -> None:
    root, draw = LocalRoot(folder), random.Random(7)
    with tempfile.TemporaryDirectory() as scratch:
        made_up.make_day(Path(scratch), npis)
        journal = pl.concat(pl.read_parquet(part) for part in sorted(Path(scratch).glob("journal-*")))
    bodies = dict(journal.select("npi", "body").iter_rows())
    for day in DAYS.values():
        complete(root, day, bodies, FILES)
        find_changes(root, day, FILES)
        bodies = {npi: changed(body) if draw.random() < 0.01 else body for npi, body in bodies.items()}


def frames(published: PublishedDay) -> dict[str, pl.DataFrame]:
    return {
        table.name: pl.concat([pl.DataFrame(schema=table.schema), *table.batches()]).with_columns(
            pl.lit(published.day).alias(DAY)
        )
        for table in tables_of(published)
    }


def bare_parquet(published: PublishedDay, folder: Path) -> None:
    for name, frame in frames(published).items():
        by = [DAY, "state"] if name == "providers" else [DAY]
        frame.write_parquet(folder / name, partition_by=by, compression_level=1, mkdir=True)


def bare_delta(published: PublishedDay, folder: Path) -> None:
    from deltalake import write_deltalake

    for name, frame in frames(published).items():
        write_deltalake(
            str(folder / name),
            frame,
            partition_by=[DAY, "state"] if name == "providers" else [DAY],
            mode="overwrite",
            predicate=f"{DAY} = '{published.day}'",
            schema_mode="merge",
        )


def bare_sql(published: PublishedDay, url: str) -> None:
    """The rows of the plain tables by the client's fastest way, into tables without keys."""
    rows: dict[str, list[pl.DataFrame]] = {}
    for frame in published.providers():
        for table, of_table in relational(frame, published.layout).items():
            rows.setdefault(table, []).append(of_table)
    rows["outcomes"], rows["changes"] = list(published.outcomes()), list(published.changes())
    (sink,) = sink_urls(url)
    tables = tables_in("bare" if sink.scheme == "postgresql" else None)
    plain = {"providers": tables.providers, "outcomes": tables.outcomes, "changes": tables.changes, **tables.lists}
    with Database(sink).transaction() as connection:
        if sink.scheme == "postgresql":
            connection.execute(sa.schema.CreateSchema("bare", if_not_exists=True))
        for name, table in plain.items():
            columns = (sa.Column(column.name, column.type) for column in table.columns)
            without_keys = sa.Table(f"bare_{name}", sa.MetaData(schema=table.schema), *columns)
            without_keys.drop(connection, checkfirst=True)
            without_keys.create(connection)
            for frame in rows.get(name, ()):
                load(connection, without_keys, frame)


def bare_kafka(published: PublishedDay, url: str) -> None:
    """Every provider and change, however many are there already."""
    from confluent_kafka import Producer

    from npi_pipeline.delivery.kafka.messages import changes_of, headers_of, providers_of

    broker, _, prefix = url.removeprefix("kafka://").partition("/")
    # Before the producer fills its queue (100,000 messages) it is waited for.
    producer = Producer({"bootstrap.servers": broker, "compression.type": "lz4"})
    for topic, messages in (("providers", providers_of(published)), ("changes", changes_of(published))):
        for number, (npi, value) in enumerate(messages):
            producer.produce(f"{prefix}.{topic}", value, npi, headers=[*headers_of(published)])
            if number % 50_000 == 0:
                producer.flush(60)
    assert producer.flush(60) == 0


def by_path(bare: Callable[[PublishedDay, Path], None]) -> Callable[[PublishedDay, str], None]:
    return lambda published, url: bare(published, Path(url.partition("://")[2]))


BARE: dict[str, Callable[[PublishedDay, str], None]] = {
    "parquet": by_path(bare_parquet),
    "delta": by_path(bare_delta),
    "postgresql": bare_sql,
    "duckdb": bare_sql,
    "sqlite": bare_sql,
    "kafka": bare_kafka,
}


@contextlib.contextmanager
def server_of(scheme: str) -> Iterator[str]:
    """The URL of the server that a sink needs, for the length of the block; else empty."""
    if scheme == "postgresql":
        with postgresql_server() as url:
            yield url
    elif scheme == "kafka":
        with kafka_broker() as broker:
            yield f"kafka://{broker}/"
    else:
        yield ""


def one(way: str, url: str, root_folder: Path, day: dt.date) -> None:
    """One delivery, or what the bare client does in its place; prints its figures."""
    root = LocalRoot(root_folder)
    (of_sink,) = sink_urls(url)
    sink = sink_of(of_sink)
    start, started = cpu(), time.monotonic()
    if way == "ours":
        deliver(root, FILES, day, sink)
    else:
        BARE[of_sink.scheme](open_published_day(root, FILES, day), url)
    print(json.dumps({"seconds": time.monotonic() - started, "cpu": cpu() - start, "peak MB": peak_mb()}))


def compare(scheme: str, root_folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        to = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(server_of(scheme))
        for name, day in DAYS.items():
            figures = {}
            for way in ("bare", "ours"):
                file = f"/{to}/{way}.db" if scheme in {"duckdb", "sqlite"} else f"{to}/{way}"
                url = f"{server}{way}" if scheme == "kafka" else server or f"{scheme}://{file}"
                command = [sys.executable, __file__, "--one", way, url, str(root_folder), str(day)]
                done = subprocess.run(command, capture_output=True, check=True, text=True)
                figures[way] = json.loads(done.stdout)
                print(
                    f"{scheme:10} {name:12} {way:5}",
                    "  ".join(f"{figure} {value:.2f}" for figure, value in figures[way].items()),
                    flush=True,
                )
            print(f"{scheme:10} {name:12} ours / bare, CPU: {figures['ours']['cpu'] / figures['bare']['cpu']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sink", choices=sorted(BARE), action="append", help="may be given again; else all of them")
    parser.add_argument("--npis", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="a folder in which the days are, or are made")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        way, url, root, day = chosen.one
        one(way, url, Path(root), dt.date.fromisoformat(day))
        return
    with contextlib.ExitStack() as stack:
        folder = chosen.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not (folder / "locks").exists():
            make_days(folder, chosen.npis)
        for scheme in chosen.sink or sorted(BARE):
            compare(scheme, folder)


if __name__ == "__main__":
    main()
