"""What keeping the raw answers costs: formats side by side, then the journal itself from append to compacted.

    python benchmarks/journal.py [--sizes 10000,100000] [--formats-rows 20000]

CPU seconds are of the whole process, all its threads. Each size of the journal is measured in a process of its own,
so that the peak of memory is its own; "grown" is that peak less what Python with polars takes before any work.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import gzip
import io
import itertools
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import polars as pl

from npi_pipeline.days.lock import day_lock
from npi_pipeline.journal import (
    JournalWriter,
    compact_journal,
    compacted_parts,
    frame_of,
    read_outcomes,
)
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.storage.local import LocalRoot

RESPONSES = Path(__file__).parent.parent / "npi_pipeline_tests" / "data" / "registry" / "responses"
DAY = dt.date(2026, 11, 23)
# What differs from one provider to the next; what is left as it is, is shared by many (cities, taxonomies, dates).
_OWN = {"first_name", "last_name", "middle_name", "name", "organization_name", "address_1", "identifier", "license"}
_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def made_up(answer: object, digits: dict[int, int], letters: dict[int, int], key: str = "") -> object:
    """The answer of another provider: digits everywhere and letters of names in another order."""
    if isinstance(answer, dict):
        return {name: made_up(value, digits, letters, name) for name, value in answer.items()}
    if isinstance(answer, list):
        return [made_up(value, digits, letters, key) for value in answer]
    if not isinstance(answer, str) or key in {"code", "taxonomy_group", "desc"}:
        return answer
    text = answer.translate(digits)
    return text.translate(letters) if key in _OWN else text


def outcomes(count: int) -> Iterator[NpiOutcome]:
    """Found NPIs in random order, with bodies made from the real answers."""
    answers = [orjson.loads(path.read_bytes()) for path in sorted(RESPONSES.glob("*.json"))]
    rng = random.Random(1)
    now = dt.datetime(2026, 11, 23, 12, tzinfo=dt.timezone.utc)
    npis = list(range(1_000_000_000, 1_000_000_000 + 7 * count, 7))
    rng.shuffle(npis)
    for place, npi in enumerate(npis):
        digits = str.maketrans("0123456789", "".join(rng.sample("0123456789", 10)))
        letters = str.maketrans(_UPPER, "".join(rng.sample(_UPPER, 26)))
        answer = made_up(answers[place % len(answers)], digits, letters)
        if isinstance(answer, dict) and answer.get("results"):
            answer["results"][0]["number"] = str(npi)
        body = orjson.dumps(answer).decode()
        yield NpiOutcome(
            str(npi), Verdict(Outcome.found), now + dt.timedelta(milliseconds=place), attempts=1, status=200, body=body
        )


def cpu(do: Callable[[], object]) -> float:
    start = time.process_time()
    do()
    return time.process_time() - start


def ndjson(rows: pl.DataFrame) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows.iter_rows(named=True))


def polars_ndjson(rows: pl.DataFrame, level: int) -> bytes:
    buffer = io.BytesIO()
    rows.write_ndjson(buffer, compression="zstd", compression_level=level)
    return buffer.getvalue()


def parquet(rows: pl.DataFrame, level: int, *, lean: bool = True) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd", compression_level=level, statistics=not lean)
    return buffer.getvalue()


def ipc(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()


def read_ndjson_gzip(content: bytes) -> int:
    return sum(1 for line in gzip.decompress(content).splitlines() if orjson.loads(line))


FORMATS: dict[str, tuple[Callable[[pl.DataFrame], bytes], Callable[[bytes], object]]] = {
    "NDJSON": (ndjson, lambda c: [orjson.loads(line) for line in c.splitlines()]),
    "NDJSON gzip 1": (lambda r: gzip.compress(ndjson(r), 1), read_ndjson_gzip),
    "NDJSON gzip 6": (lambda r: gzip.compress(ndjson(r), 6), read_ndjson_gzip),
    "NDJSON zstd 1 (polars)": (lambda r: polars_ndjson(r, 1), lambda c: pl.read_ndjson(io.BytesIO(c))),
    "IPC zstd": (ipc, lambda c: pl.read_ipc(io.BytesIO(c))),
    "Parquet zstd 1, statistics": (lambda r: parquet(r, 1, lean=False), lambda c: pl.read_parquet(io.BytesIO(c))),
    "Parquet zstd 1": (lambda r: parquet(r, 1), lambda c: pl.read_parquet(io.BytesIO(c))),
    "Parquet zstd 3": (lambda r: parquet(r, 3), lambda c: pl.read_parquet(io.BytesIO(c))),
    "Parquet zstd 6": (lambda r: parquet(r, 6), lambda c: pl.read_parquet(io.BytesIO(c))),
    "Parquet zstd 9": (lambda r: parquet(r, 9), lambda c: pl.read_parquet(io.BytesIO(c))),
}


def cost_of(
    parts: list[pl.DataFrame], write: Callable[[pl.DataFrame], bytes], read: Callable[[bytes], object]
) -> tuple[float, float, int]:
    """CPU seconds to write and to read the parts, and their size in bytes."""
    written: list[bytes] = []
    write_cpu = cpu(lambda: written.extend(write(part) for part in parts))
    read_cpu = cpu(lambda: [read(content) for content in written])
    return write_cpu, read_cpu, sum(map(len, written))


def compare_formats(count: int, rounds: int = 3) -> None:
    rows = frame_of(list(outcomes(count)), run=1)
    raw = int(rows["body"].str.len_bytes().sum())
    for part_rows in (20, 200, 5_000):
        parts = [rows.slice(start, part_rows) for start in range(0, count, part_rows)]
        parts = parts[: max(1, len(parts) // (100 if part_rows == 20 else 5 if part_rows == 200 else 1))]
        body = sum(int(part["body"].str.len_bytes().sum()) for part in parts)
        measured: dict[str, list[tuple[float, float, int]]] = {name: [] for name in FORMATS}
        for _ in range(rounds):
            for name, (write, read) in FORMATS.items():
                measured[name].append(cost_of(parts, write, read))
        print(f"\n{len(parts)} parts of {part_rows} rows, {body / 1e6:.1f} MB of bodies ({raw / count:.0f} bytes each)")
        print(f"{'format':28} {'size %':>7} {'write ms/part':>14} {'read ms/part':>13}")
        for name, runs in measured.items():
            size = 100 * runs[0][2] / body
            write_ms, read_ms = (1000 * statistics.median(run[i] for run in runs) / len(parts) for i in (0, 1))
            print(f"{name:28} {size:7.1f} {write_ms:14.2f} {read_ms:13.2f}")


def peak_mb() -> float:
    # Not ru_maxrss: that is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure_journal(count: int, results: multiprocessing.Queue[dict[str, float]], folder: str, step: str) -> None:
    """One step of the journal of ``count`` NPIs, in a process of its own."""
    pl.read_parquet(io.BytesIO(parquet(frame_of([], run=1), 1)))
    before = peak_mb()
    root = LocalRoot(Path(folder))
    wall = time.perf_counter()
    if step == "append":
        made = 0.0
        start = time.process_time()
        with JournalWriter(root, DAY, run=1) as journal:
            source = outcomes(count)
            for _ in range(count):
                making = time.thread_time()
                outcome = next(source)
                made += time.thread_time() - making
                journal.append(outcome)
        used = time.process_time() - start - made
    elif step == "compact":
        npis = pl.Series(range(1_000_000_000, 1_000_000_000 + 7 * count, 7)).cast(pl.String)
        with day_lock(root, DAY) as held:
            used = cpu(lambda: compact_journal(root, DAY, npis, held))
    elif step == "resume":
        used = cpu(lambda: read_outcomes(root, DAY))
    else:
        used = cpu(lambda: sum(part.height for part in compacted_parts(root, DAY)))
    files = root.list("journal")
    results.put(
        {
            "cpu": used,
            "wall": time.perf_counter() - wall,
            "peak": peak_mb(),
            "grown": peak_mb() - before,
            "files": len(files),
            "mb": sum(file.size for file in files) / 1e6,
        }
    )


def compare_sizes(sizes: list[int]) -> None:
    print(f"\n{'NPIs':>9} {'step':16} {'CPU s':>7} {'µs/NPI':>7} {'wall s':>7} {'peak MB':>8} {'grown':>6} files  MB")
    fresh = multiprocessing.get_context("spawn")
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            for step in ("append", "resume", "compact", "read"):
                results = fresh.Queue()
                process = fresh.Process(target=measure_journal, args=(count, results, folder, step))
                process.start()
                got = results.get()
                process.join()
                print(
                    f"{count:9} {step:16} {got['cpu']:7.2f} {1e6 * got['cpu'] / count:7.1f} {got['wall']:7.1f} "
                    f"{got['peak']:8.0f} {got['grown']:6.0f} {got['files']:5.0f} {got['mb']:5.1f}"
                )
                sys.stdout.flush()


class Stopwatch(LocalRoot):
    """A local root that notes how old the oldest new outcome of each part was when it was durable."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.waited: list[float] = []
        self._durable_until = 0.0

    def write(self, path: str, data: bytes) -> None:
        """Write a part; outcomes come in order, so that the new ones are those after the last part's."""
        super().write(path, data)
        now = time.time()
        fetched_at = pl.read_parquet(io.BytesIO(data))["fetched_at"].dt.epoch("ms") / 1000
        new = [moment for moment in fetched_at if moment > self._durable_until]
        self.waited.extend(now - moment for moment in new[:1])
        self._durable_until = max([self._durable_until, *new])


def measure_durability(a_second: int, seconds: int = 4) -> None:
    """How long outcomes that come at a steady rate wait until they are durable."""
    source = itertools.cycle(list(outcomes(1_000)))
    with tempfile.TemporaryDirectory() as folder:
        root = Stopwatch(Path(folder))
        with JournalWriter(root, DAY, run=1) as journal:
            for _ in range(a_second * seconds):
                journal.append(dataclasses.replace(next(source), fetched_at=dt.datetime.now(dt.timezone.utc)))
                time.sleep(1 / a_second)
    print(f"{a_second:5} outcomes per second: durable after {max(root.waited):.2f} s at most, {len(root.waited)} parts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--formats-rows", type=int, default=20_000)
    arguments = parser.parse_args()
    if arguments.formats_rows:
        compare_formats(arguments.formats_rows)
    print()
    for a_second in (10, 1_000):
        measure_durability(a_second)
    compare_sizes([int(size) for size in arguments.sizes.split(",")])


if __name__ == "__main__":
    main()
