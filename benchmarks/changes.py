"""Finding what changed between two days, each case in a process of its own.

    python benchmarks/changes.py                     100,000 NPIs: unchanged, 1 % changed, all changed
    python benchmarks/changes.py --million           and 1,000,000
    python benchmarks/changes.py --rounds 5 --npis 100000

The answers are those of ``tables.py``, 1.9 KB on average. A provider that changed has moved (city, postal code and
telephone of the practice), has another last update, another primary taxonomy and one taxonomy more: 11 fields or so.
Measured is from the two days' compacted journals (Parquet) to the CSV. CPU seconds are user and system time of the
process without its imports; memory is its peak resident set. "reading" is what reading the two journals costs alone.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from tables import cpu, make_day, peak_mb

from npi_pipeline.changes.changed_fields import Cells
from npi_pipeline.changes.write_changes import write_changes
from npi_pipeline.journal import SCHEMA
from npi_pipeline.registries import FORMATS

SHARES = {"unchanged": 0.0, "1 % changed": 0.01, "all changed": 1.0}


def changed(body: str) -> str:
    answer = json.loads(body)
    record = answer["results"][0]
    record["last_updated_epoch"] = "1795500000000"
    record["basic"]["last_updated"] = "2026-11-23"
    practice = next(place for place in record["addresses"] if place["address_purpose"] == "LOCATION")
    practice |= {"city": "ELSEWHERE", "postal_code": "000010000", "telephone_number": "555-000-0000"}
    first = record["taxonomies"][0]
    record["taxonomies"].append({**first, "primary": False})
    record["taxonomies"][0] = {**first, "code": "000000000X", "desc": "Something else"}
    return json.dumps(answer, separators=(",", ":"))


def make_next_day(before: Path, after: Path, share: float) -> None:
    draw = random.Random(7)
    after.mkdir()
    for part in sorted(before.glob("journal-*")):
        frame = pl.read_parquet(part)
        bodies = [changed(body) if draw.random() < share else body for body in frame["body"].to_list()]
        frame.with_columns(body=pl.Series(bodies)).write_parquet(after / part.name)


def parts(folder: Path) -> Iterator[pl.DataFrame]:
    return (pl.read_parquet(part, columns=list(SCHEMA)) for part in sorted(folder.glob("journal-*")))


def one(before: Path, after: Path) -> None:
    start = cpu()
    for old, new in zip(parts(before), parts(after), strict=True):
        assert old.height == new.height
    reading = cpu() - start
    with tempfile.TemporaryDirectory() as scratch:
        start, started = cpu(), time.monotonic()
        path = Path(scratch) / "changes.csv"
        changes = write_changes(parts(before), parts(after), FORMATS["nppes"].layout, path, Cells())
        figures = {
            "cpu": cpu() - start,
            "reading": reading,
            "wall": time.monotonic() - started,
            "peak MB": peak_mb(),
            "rows": changes.file.rows,
        }
    print(json.dumps(figures))


def measured(before: Path, after: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", str(before), str(after)]
    figures: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return figures


def compare(count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        before.mkdir()
        make_day(before, count)
        after = {name: Path(folder) / name for name in SHARES}
        for name, share in SHARES.items():
            make_next_day(before, after[name], share)
        results: dict[str, list[dict[str, float]]] = {name: [] for name in SHARES}
        for _ in range(rounds):
            for name, figures in results.items():
                figures.append(measured(before, after[name]))
        for name, figures in results.items():
            medians = {key: statistics.median(of_round[key] for of_round in figures) for key in figures[0]}
            print(f"{count:>9,} {name:12}", "  ".join(f"{key} {value:,.2f}" for key, value in medians.items()))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--npis", type=int, nargs="*", default=[100_000])
    options.add_argument("--million", action="store_true")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--one", nargs=2, metavar=("BEFORE", "AFTER"), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        one(*map(Path, chosen.one))
        return
    for count in chosen.npis + [1_000_000] * chosen.million:
        compare(count, chosen.rounds)


if __name__ == "__main__":
    main()
