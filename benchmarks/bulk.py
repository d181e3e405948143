"""What it costs to prepare the dissemination files of a made-up country and to read them, beside bare ways to the same.

    python benchmarks/bulk.py                              100,000 NPIs
    python benchmarks/bulk.py --npis 1000000 --keep /tmp/country    the files are made once and used again
    python benchmarks/bulk.py --only prepare rows_for_1000

The country's rows are those of ``npi_pipeline.testing.bulk`` for the first 50,000 NPIs, and the same again for others,
too far from each other for a zip to gain by it. Each measure is a process of its own. "inflate" reads the zip and does
nothing with it: what preparing is to be compared with. "duckdb" reads the unpacked CSV, all columns as text, for the
same NPIs, into Parquet; unpacking is not counted. "api_at_50" and "api_at_2000" ask the emulated registry, another
process, that bears so many requests a second, for ten and five seconds' worth of NPIs; what longer lists take is
computed from that and says so. CPU seconds are user and system time without imports; memory is the
peak resident set.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import itertools
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from tables import cpu, peak_mb

from npi_pipeline.http_fetch.lookup import lookup
from npi_pipeline.registries.nppes_bulk.snapshot import prepare_snapshot, rows_for, slices
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing import bulk, providers
from npi_pipeline.testing.registry import emulated_registry

COUNTRY = bulk.Country(size=50_000)
MONTH, WEEK = COUNTRY.start, COUNTRY.start + dt.timedelta(days=7)
CHUNK = 1 << 20
LISTS = (1_000, 100_000)


def make_files(folder: Path, npis: int) -> None:
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    if any(files.iterdir()):
        return
    bulk.write_file(files / "NPPES_Data_Dissemination_August_2026_V2.zip", bulk.FIRST_DAY, MONTH, rows(npis))
    first = MONTH + dt.timedelta(days=1)
    name = f"NPPES_Data_Dissemination_{first:%m%d%y}_{WEEK:%m%d%y}_Weekly_V2.zip"
    weekly = itertools.islice(rows(npis), 0, None, 167)
    bulk.write_file(files / name, first, WEEK, weekly)
    listed = sorted(int(npi) for npi in itertools.islice(providers.npi_numbers(npis), npis))
    pl.DataFrame({"npi": pl.Series(listed, dtype=pl.UInt32)}).write_parquet(folder / "npis.parquet")


def rows(npis: int) -> Iterator[dict[str, bytes]]:
    base = [
        (npi.encode(), bulk.rows_of(npi, state)) for npi in COUNTRY.npis() if (state := COUNTRY.state(npi)) is not None
    ]
    for npi, (old, of_npi) in zip(providers.npi_numbers(npis), itertools.cycle(base), strict=False):
        new = npi.encode()
        yield {kind: lines.replace(old, new) for kind, lines in of_npi.items()}


def unpack(folder: Path) -> None:
    for archive in (folder / "files").glob("*August*.zip"):
        with zipfile.ZipFile(archive) as opened:
            member = next(name for name in opened.namelist() if bulk.MAIN in name and "header" not in name.lower())
            if not (folder / "npidata.csv").exists():
                opened.extract(member, folder)
                (folder / member).rename(folder / "npidata.csv")


def inflate(folder: Path) -> int:
    read = 0
    with zipfile.ZipFile(next((folder / "files").glob("*August*.zip"))) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                while chunk := stream.read(CHUNK):
                    read += len(chunk)
    return read


def prepare(day: dt.date) -> Callable[[Path], int]:
    return lambda folder: len(prepare_snapshot(LocalRoot(folder / "root"), day, str(folder / "files"), print).files)


def read_all(columns: list[str] | None) -> Callable[[Path], int]:
    def read(folder: Path) -> int:
        root = LocalRoot(folder / "root")
        snapshot = prepare_snapshot(root, WEEK, str(folder / "files"))
        return sum(part.height for part in slices(root, snapshot, columns))

    return read


def sample(folder: Path, count: int | None) -> pl.Series:
    npis = pl.read_parquet(folder / "npis.parquet")["npi"]
    return npis if count is None else npis.sample(min(count, len(npis)), seed=1).sort()


def look_up(count: int | None) -> Callable[[Path], int]:
    def read(folder: Path) -> int:
        root = LocalRoot(folder / "root")
        snapshot = prepare_snapshot(root, WEEK, str(folder / "files"))
        return sum(part.height for part in rows_for(root, snapshot, sample(folder, count)))

    return read


def with_duckdb(count: int | None) -> Callable[[Path], int]:
    def read(folder: Path) -> int:
        import duckdb

        wanted = sample(folder, count).cast(pl.String).to_frame("npi")
        wanted.write_parquet(folder / "wanted.parquet")
        # Two threads have all columns of their row groups in memory; with more rows in each it takes several GB.
        connection = duckdb.connect(config={"threads": 2})
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(
            f"COPY (SELECT * FROM read_csv('{folder}/npidata.csv', all_varchar = true, header = true) WHERE NPI IN "
            f"(SELECT npi FROM '{folder}/wanted.parquet')) TO '{folder}/duckdb.parquet' (COMPRESSION zstd)"
        )
        return pl.scan_parquet(folder / "duckdb.parquet").select(pl.len()).collect().item()

    return read


def ask_api(rate: int, count: int) -> Callable[[Path], int]:
    def ask(folder: Path) -> int:
        del folder
        with emulated_registry(latency=0.05, capacity=rate) as registry:
            return len(lookup(itertools.islice(providers.npi_numbers(count), count), url=registry.url))

    return ask


MEASURES: dict[str, Callable[[Path], int]] = {
    "inflate": inflate,
    "prepare": prepare(MONTH),
    "prepare_week": prepare(WEEK),
    "all_rows": read_all(None),
    "all_digests": read_all(["digest"]),
    "rows_for_1000": look_up(LISTS[0]),
    "rows_for_100000": look_up(LISTS[1]),
    "rows_for_all": look_up(None),
    "duckdb_1000": with_duckdb(LISTS[0]),
    "duckdb_100000": with_duckdb(LISTS[1]),
    "duckdb_all": with_duckdb(None),
    "api_at_50": ask_api(50, 500),
    "api_at_2000": ask_api(2_000, 10_000),
}


def measure(name: str, folder: Path) -> None:
    started, used = time.perf_counter(), cpu()
    count = MEASURES[name](folder)
    print(
        json.dumps({"wall": time.perf_counter() - started, "cpu": cpu() - used, "peak": peak_mb(), "count": count}),
        file=sys.stderr,
    )


def options_of(description: str | None, names: Collection[str]) -> argparse.Namespace:
    """What the command line says; ``measure`` is set in the process of one of ``names`` (see ``in_own_process``)."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npis", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="a folder in which the files are kept")
    parser.add_argument("--only", nargs="*", choices=names, default=list(names))
    parser.add_argument("--measure", choices=names, help=argparse.SUPPRESS)
    return parser.parse_args()


def in_own_process(script: str, name: str, folder: Path) -> dict[str, Any] | str:
    """What a process of ``script`` that measures ``name`` has printed last on stderr: figures, or why it failed."""
    command = [sys.executable, script, "--measure", name, "--keep", str(folder)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    (last,) = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return last if done.returncode else json.loads(last)


def main() -> None:
    options = options_of(__doc__, MEASURES)
    if options.measure:
        measure(options.measure, options.keep)
        return
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_files(folder, options.npis)
        size = {file.name: file.stat().st_size for file in sorted((folder / "files").iterdir())}
        print(f"{options.npis:,} NPIs: " + ", ".join(f"{name} {bytes_ / 1e6:.1f} MB" for name, bytes_ in size.items()))
        inflated, csv_bytes = 0.0, 0
        for name in options.only:
            if name.startswith("duckdb"):
                unpack(folder)
            got = in_own_process(__file__, name, folder)
            if isinstance(got, str):
                print(f"{name:16} failed: {got}")
                continue
            if name == "inflate":
                inflated, csv_bytes = got["cpu"], got["count"]
            rate = f", {csv_bytes / 1e6 / got['wall']:.0f} MB/s" if name in {"inflate", "prepare"} else ""
            ratio = f", {got['cpu'] / inflated:.1f} x inflate" if inflated and name == "prepare" else ""
            print(
                f"{name:16} wall {got['wall']:7.2f} s  cpu {got['cpu']:7.2f} s  peak {got['peak']:5.0f} MB  "
                f"{got['count']:,}{rate}{ratio}",
                flush=True,
            )
            if name.startswith("api"):
                for count in (*LISTS, options.npis):
                    times = count / got["count"]
                    print(f"{'':16} computed: {got['wall'] * times:,.0f} s, cpu {got['cpu'] * times:,.1f} s  {count:,}")


if __name__ == "__main__":
    main()
