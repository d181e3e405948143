"""Flattening and writing a day: our way against the replaced script's, in interleaved processes of their own.

    python benchmarks/tables.py                     10,000 and 100,000 NPIs
    python benchmarks/tables.py --million           and 1,000,000
    python benchmarks/tables.py --rounds 5 --npis 100000

The answers are the demo's made-up providers with more taxonomies (up to 15) and identifiers (up to 20), 1.9 KB on
average. Our way reads the compacted journal (Parquet) and writes the provider table and the state files; the script's
way reads the same bodies from a file of lines, parses, flattens recursively and appends each row to its state's file
under the header of its first record: as it did, opening the file for each row, and ("open") with the files kept open.
Neither of those two pads, types, sorts, escapes or checks anything.
CPU seconds are user and system time of the process without its imports; memory is its peak resident set.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from npi_pipeline.journal import SCHEMA
from npi_pipeline.outcomes import Outcome
from npi_pipeline.providers.provider_table import write_provider_table
from npi_pipeline.registries import FORMATS
from npi_pipeline.state_files.write_state_files import write_state_files
from npi_pipeline.testing.providers import answer, npi_numbers, outcome_of

PART_ROWS = 5000
DISTINCT = 20_000


def grown(body: bytes, draw: random.Random) -> str:
    """A made-up answer with as many taxonomies and identifiers as a busy provider has."""
    decoded = json.loads(body)
    record = decoded["results"][0]
    state = record["addresses"][0]["state"]
    for _ in range(min(int(draw.expovariate(1 / 1.8)), 15 - len(record["taxonomies"]))):
        record["taxonomies"].append(
            {
                "code": draw.choice(["207R00000X", "207Q00000X", "363LF0000X"]),
                "desc": draw.choice(["Internal Medicine", "Family Medicine", "Nurse Practitioner, Family"]),
                "license": str(draw.randrange(10**6)),
                "primary": False,
                "state": state,
                "taxonomy_group": "",
            }
        )
    for _ in range(min(int(draw.expovariate(1 / 5.0)), 20 - len(record["identifiers"]))):
        record["identifiers"].append(
            {
                "code": draw.choice(["01", "05"]),
                "desc": draw.choice(["Other (non-Medicare)", "MEDICAID"]),
                "identifier": str(draw.randrange(10**9)),
                "issuer": draw.choice([None, "BLUE CROSS BLUE SHIELD", "STATE LICENSE"]),
                "state": state,
            }
        )
    return json.dumps(decoded, separators=(",", ":"))


def make_day(folder: Path, count: int) -> None:
    """Journal parts and a file of lines, both with the same ``count`` answers (of ``DISTINCT`` different ones)."""
    draw = random.Random(count)
    found = (npi for npi in npi_numbers(10**8, seed=1) if outcome_of(npi, seed=1) is Outcome.found)
    npis = sorted(npi for npi, _ in zip(found, range(count), strict=False))
    bodies: list[tuple[str, str]] = []
    sizes = 0
    with (folder / "lines").open("w") as lines:
        for start in range(0, count, PART_ROWS):
            part = []
            for npi in npis[start : start + PART_ROWS]:
                if len(bodies) < DISTINCT:
                    bodies.append((npi, grown(answer(npi, seed=1), draw)))
                    body = bodies[-1][1]
                else:
                    another, body = draw.choice(bodies)
                    body = body.replace(another, npi)
                part.append(
                    (npi, 1, "found", None, False, 200, 1, dt.datetime(2026, 11, 23, 6, tzinfo=dt.timezone.utc), body)
                )
                lines.write(body + "\n")
                sizes += len(body)
            pl.DataFrame(part, schema=SCHEMA, orient="row").write_parquet(folder / f"journal-{start // PART_ROWS:05d}")
    print(f"{count:,} answers of {sizes / count:,.0f} bytes", file=sys.stderr)


def our_way(folder: Path, scratch: Path) -> dict[str, float]:
    journal = sorted(folder.glob("journal-*"))
    parts, files = scratch / "table", scratch / "files"
    parts.mkdir()
    files.mkdir()
    columns = ["npi", "outcome", "reason", "fetched_at"]
    before = cpu()
    table = write_provider_table(lambda: map(pl.read_parquet, journal), FORMATS["nppes"].layout, parts)
    between = cpu()
    write_state_files(
        table,
        sorted(parts.iterdir()),
        (pl.read_parquet(part, columns=columns) for part in journal),
        files,
        lambda state: f"npi_data_2026-11-23_{state}.csv",
    )
    return {"providers": between - before, "state_files": cpu() - between}


def script_way(folder: Path, scratch: Path) -> dict[str, float]:
    before = cpu()
    with (folder / "lines").open() as lines:
        for line in lines:
            row, states = flat(line)
            for state in states:
                path = scratch / f"{state}.csv"
                is_new = not path.exists()
                with path.open("a", newline="") as file:
                    writer = csv.DictWriter(file, row)
                    if is_new:
                        writer.writeheader()
                    writer.writerow(row)
    return {"script": cpu() - before}


def open_way(folder: Path, scratch: Path) -> dict[str, float]:
    before = cpu()
    writers: dict[str, Any] = {}
    with (folder / "lines").open() as lines:
        for line in lines:
            row, states = flat(line)
            for state in states:
                if state not in writers:
                    writers[state] = csv.writer((scratch / f"{state}.csv").open("a", newline=""))
                    writers[state].writerow(row)
                writers[state].writerow(row.values())
    return {"script": cpu() - before}


def flat(line: str) -> tuple[dict[str, Any], set[str]]:
    record = json.loads(line)["results"][0]
    row: dict[str, Any] = {}
    flatten(record, "", row)
    return row, {place["state"] for place in places(record)}


def places(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (place for place in record["addresses"] if place["address_purpose"] == "LOCATION")
    yield from record["practiceLocations"]


def flatten(value: Any, path: str, row: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for key, below in value.items():
            flatten(below, f"{path}.{key}" if path else key, row)
    elif isinstance(value, list):
        for position, below in enumerate(value):
            flatten(below, f"{path}[{position}]", row)
    else:
        row[path] = value


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float:
    """Of this process alone: ``ru_maxrss`` would count the parent's at the time of the fork."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


WAYS = {"ours": our_way, "script": script_way, "open": open_way}


def one(way: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        start = time.monotonic()
        seconds = WAYS[way](folder, Path(scratch))
        wall = time.monotonic() - start
        print(json.dumps({**seconds, "cpu": sum(seconds.values()), "wall": wall, "peak MB": peak_mb()}))


def measured(way: str, folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--one", way, str(folder)], capture_output=True, check=True, text=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def compare(count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_day(Path(folder), count)
        results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, figures in results.items():
                figures.append(measured(way, Path(folder)))
        for way, figures in results.items():
            medians = {name: statistics.median(f[name] for f in figures) for name in figures[0]}
            print(f"{count:>9,} {way:7}", "  ".join(f"{name} {value:.2f}" for name, value in medians.items()))
        for way in ("script", "open"):
            ratios = [ours["cpu"] / theirs["cpu"] for ours, theirs in zip(results["ours"], results[way], strict=True)]
            print(f"{count:>9,} ours / {way}, CPU: {statistics.median(ratios):.2f} (of {rounds} rounds)")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--npis", type=int, nargs="*", default=[10_000, 100_000])
    options.add_argument("--million", action="store_true")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--one", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        one(chosen.one[0], Path(chosen.one[1]))
        return
    for count in chosen.npis + [1_000_000] * chosen.million:
        compare(count, chosen.rounds)


if __name__ == "__main__":
    main()
