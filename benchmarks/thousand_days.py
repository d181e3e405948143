"""What a day costs when a thousand days are kept, against thirty: in CPU seconds, files listed and files read.

    PYTHONPATH=. python benchmarks/thousand_days.py [--days 30 1000] [--npis 1000] [--s3]

The oldest day and yesterday are run; the days between are copies of the oldest, under their own days and dates (hard
links where nothing in a file names its day), or with ``--s3`` in the local S3. Then, by the command line's own code in
this process, whose time it is: how the last thirty days stand, one more day, whose answers are those of yesterday, the
same again, everybody asked afresh, the report of the day, what retention would remove (one day), and the audit. Runs of
the copied days are not in Dagster's storage.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime as dt
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from npi_pipeline.cli.commands import main as npi_pipeline
from npi_pipeline.days.paths import COMPACTIONS, LOCKS, compaction_mark
from npi_pipeline.orchestration.build import build_definitions
from npi_pipeline.orchestration.monitoring.audit import AUDIT_JOB_NAME
from npi_pipeline.settings import Settings
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.storage.s3 import S3Root, in_threads
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import emulated_registry
from npi_pipeline.testing.s3 import local_s3

TODAY = dt.datetime.now(dt.timezone.utc).date()
YESTERDAY = TODAY - dt.timedelta(days=1)
COMPACTED_AT = re.compile(rb'(?<="compacted_at": ")\d{4}-\d\d-\d\d')


class Counts:
    """How many files were listed and read of a data root, of either kind."""

    def __init__(self) -> None:
        self.listed = self.read = 0

    def counted(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            found = method(*arguments)
            self.listed += len(found) if name in {"list", "folders"} else 0
            self.read += name not in {"list", "folders"}
            return found

        return call


@contextlib.contextmanager
def counting() -> Iterator[Counts]:
    counts = Counts()
    methods = {
        (kind, name): getattr(kind, name)
        for kind in (LocalRoot, S3Root)
        for name in ("list", "folders", "read", "chunks", "download", "read_tagged")
        if hasattr(kind, name)
    }
    for (kind, name), method in methods.items():
        setattr(kind, name, counts.counted(method, name))
    try:
        yield counts
    finally:
        for (kind, name), method in methods.items():
            setattr(kind, name, method)


def command(*arguments: str, ok: tuple[int, ...] = (0,)) -> None:
    said = CliRunner().invoke(npi_pipeline, arguments)
    assert said.exit_code in ok, f"{arguments}: {said.exit_code}\n{said.output[-2000:]}\n{said.exception!r}"


def copy_day(folder: Path, paths: Iterable[Path], day: dt.date, other: dt.date) -> None:
    """Make ``other`` as ``day`` is, which has the files ``paths``, as if it had been run on its own date."""
    old, new = str(day), str(other)
    for path in paths:
        target = folder / str(path.relative_to(folder)).replace(old, new)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.suffix == ".json" else b""
        if old.encode() in content:
            target.write_bytes(COMPACTED_AT.sub(new.encode(), content).replace(old.encode(), new.encode()))
        else:
            os.link(path, target)
    mark = folder / compaction_mark(other, other)
    mark.parent.mkdir(parents=True)
    mark.touch()


def upload(folder: Path, root: S3Root) -> None:
    files = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] != LOCKS]
    in_threads(lambda path: root.write(path.relative_to(folder).as_posix(), path.read_bytes()), files)


def made_days(number: int, folder: Path) -> None:
    """So many days up to yesterday, in ``folder``."""
    os.environ["NPI_DATA_ROOT"] = str(folder)
    oldest = TODAY - dt.timedelta(days=number)
    os.environ["NPI_START_DATE"] = str(oldest)
    command("run", "--date", str(oldest), "--reuse-hours", "0")
    paths = [path for path in folder.rglob("*") if path.is_file() and not {LOCKS, COMPACTIONS} & set(path.parts)]
    for ago in range(2, number):
        copy_day(folder, paths, oldest, TODAY - dt.timedelta(days=ago))
    command("run", "--date", str(YESTERDAY), "--reuse-hours", "0")


def audit() -> None:
    job = build_definitions(Settings.from_environment(os.environ)).resolve_job_def(AUDIT_JOB_NAME)
    assert job.execute_in_process(run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}}).success


def measured(number: int) -> dict[str, tuple[float, int, int]]:
    """CPU seconds, files listed and files read of each thing that is done when there are so many days."""
    today = ("--date", str(TODAY))
    retention = ("retention", "--dry-run", "--keep-days", str(number - 1))
    doings: list[tuple[str, int, Callable[[], None]]] = [
        ("status", 3, lambda: command("status")),
        ("one more day, taken over", 1, lambda: command("run", *today)),
        ("the same again", 2, lambda: command("run", *today)),
        ("everybody asked afresh", 1, lambda: command("run", *today, "--fetch-mode", "all")),
        ("its report", 3, lambda: command("report", *today)),
        ("retention --dry-run", 3, lambda: command(*retention)),
        ("the audit", 2, audit),
    ]
    found: dict[str, tuple[float, int, int]] = {}
    for name, times, do in doings:
        seconds = []
        for _ in range(times):
            with counting() as counts:
                began = time.process_time()
                do()
                seconds.append(time.process_time() - began)
        found[name] = (min(seconds), counts.listed, counts.read)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--days", type=int, nargs=2, default=[30, 1000], help="at least 10 each")
    options.add_argument("--npis", type=int, default=1000)
    options.add_argument("--s3", action="store_true", help="the data root in the local S3")
    chosen = options.parse_args()
    results = collections.defaultdict(list)
    with local_s3() as s3, emulated_registry() as registry:
        s3.put_list("lists", "npi_list.txt", npi_numbers(chosen.npis, seed=13))
        os.environ |= {**s3.environment, "NPI_LIST_BUCKET": "lists", "NPI_REGISTRY_URL": registry.url}
        os.environ.pop("DAGSTER_HOME", None)
        for number in chosen.days:
            folder = Path(tempfile.mkdtemp())
            try:
                made_days(number, folder)
                if chosen.s3:
                    bucket = f"days-{number}"
                    s3.create_bucket(bucket)
                    upload(folder, S3Root(bucket))
                    os.environ["NPI_DATA_ROOT"] = f"s3://{bucket}"
                for name, figures in measured(number).items():
                    results[name].append(figures)
            finally:
                shutil.rmtree(folder)
    where = "the local S3" if chosen.s3 else "a folder"
    print(f"{chosen.npis:,} NPIs a day in {where}: CPU seconds, files listed and files read with {chosen.days} days")
    for name, ((few_s, few_listed, few_read), (many_s, many_listed, many_read)) in results.items():
        print(
            f"{name:26} {few_s:6.2f} {many_s:6.2f} s ({many_s / few_s:4.2f}x)  "
            f"listed {few_listed:5,} {many_listed:6,}  read {few_read:5,} {many_read:5,}"
        )


if __name__ == "__main__":
    main()
