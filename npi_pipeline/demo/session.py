"""The demo: the servers on loopback, a list of made-up providers, today's run, and on request the Dagster UI.

Not here: the servers (``registry``, ``s3``) and the run (``npi_pipeline.orchestration.day_run``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from npi_pipeline.days.paths import NPI_LIST, days_with_folder, has_list
from npi_pipeline.demo.bulk import FOLDERS, show_files_as_registry
from npi_pipeline.demo.dagster_ui import dagster_ui, is_free
from npi_pipeline.demo.deliveries import DATABASE, LAKE, deliver_to, show_answers
from npi_pipeline.errors import PipelineError
from npi_pipeline.npi_list.kept_list import read_kept_source
from npi_pipeline.orchestration.assets.conventions import GROUP
from npi_pipeline.orchestration.dagster_home import make_home
from npi_pipeline.orchestration.day_run import DayRun, run_day
from npi_pipeline.orchestration.deliveries.delivery_run import deliver_days
from npi_pipeline.outcomes import Outcome
from npi_pipeline.report.make_report import report_page_path
from npi_pipeline.settings import ENVIRONMENT_PREFIX, Settings
from npi_pipeline.storage.data_root import StorageError
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.child_process import ServerError
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry
from npi_pipeline.testing.s3 import LocalS3, local_s3

BUCKET = "npi-demo"
KEY = "lists/{date:%Y-%m-%d}.txt"

# Says of a folder that what lies in it is the demo's, to be thrown away by the next one.
MARKER = ".npi-pipeline-demo"
_DATA, _HOME = "npi-data", "dagster-home"
_TAKEN = (_DATA, _HOME, DATABASE, LAKE, *FOLDERS)

# Those that it shows as missing, and the one whose list comes when its run has failed.
_MISSING_DAYS_AGO = frozenset({1, 3, 4})
_LATE_LIST_DAYS_AGO = 9
# A registry across the internet: with it one sees the pool at work.
_LATENCY_SECONDS = 0.05
_GROUP_PAGE = f"/locations/npi_pipeline.definitions/asset-groups/{GROUP}"
_DAGSTER_YAML = """\
nux:
  enabled: false
run_queue:
  dequeue_interval_seconds: 1
"""


class DemoFolderError(PipelineError):
    """The folder is not the demo's to empty. One line says why, and what to do."""


def run_demo(
    *,
    npis: int,
    ui: bool,
    port: int,
    folder: Path,
    show: Callable[[DayRun], None],
    deliver: bool = False,
    bulk: bool = False,
    past_days: int = 14,
) -> int:
    """Run the demo in ``folder``; returns the exit code. With ``ui`` it goes on until Ctrl-C.

    It shows ``past_days`` days, today among them: on each, some NPIs joined the list and some left, and some providers
    moved or changed otherwise. A few are missing, and one failed, since its list came too late.

    Without it, ``show`` is given today's run. With ``deliver`` days are delivered to a DuckDB file and a lake below
    ``folder``: without ``ui``, yesterday and today. With ``bulk`` today is looked up in made-up dissemination files,
    too.
    No setting of the environment reaches it: a failure of made-up days would be told to the real channel.
    Raises ServerError when a server of it cannot be started, DemoFolderError when the folder holds another's files.
    """
    if ui and not is_free(port):
        raise ServerError(f"port {port} is taken; choose another one with --port")
    folder = folder.absolute()
    _take(folder)
    # A shell starts what it runs in the background with Ctrl-C ignored, and Dagster gives SIGTERM the same answer:
    # such a demo would not end for either.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    today = dt.datetime.now(dt.timezone.utc).date()
    days = [today - dt.timedelta(days=ago) for ago in reversed(range(past_days))]
    console = Console(highlight=False, soft_wrap=True)
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        del os.environ[name]
    with local_s3() as s3, emulated_registry(latency=_LATENCY_SECONDS) as registry:
        os.environ.update(_environment(folder, s3, registry, start=days[0]))
        if deliver:
            os.environ["NPI_DELIVER_TO"] = deliver_to(folder)
        lists = _prepare(console, folder, days, npis)
        console.print(f"NPI lists at {s3.endpoint_url}/{BUCKET}, registry at http://127.0.0.1:{registry.port}")
        if ui:
            _run_past_days(console, registry, s3, lists)
            return _serve_ui(console, port, folder / "dagster.log")
        for day, listed in lists.items():
            s3.put_list(BUCKET, KEY.format(date=day), listed)
        if deliver:
            _run(console, registry, days[-2], npis)
        result = _run(console, registry, today, npis)
        show(result)
        if not result.ok:
            return 1
        if bulk and (code := show_files_as_registry(console, folder, result, npis + _joining(npis) * len(days))):
            return code
        code = _deliver(console, folder, days[-2:]) if deliver else 0
        _show_what_is_next(console, folder, today, lists[today])
        return code


def _show_what_is_next(console: Console, folder: Path, day: dt.date, npis: Sequence[str]) -> None:
    """What somebody who has seen this is to look at: files and commands as they may be copied from here."""
    root = LocalRoot(folder / _DATA)
    command, below = Path(sys.executable).with_name("npi-pipeline"), f"--data-root {root.uri()}"
    found = next(npi for npi in npis if outcome_of(npi) is Outcome.found)
    console.print("\nLook at next:", style="bold")
    console.print(f"  {root.uri(report_page_path(day))}")
    console.print("      the report of the day, for a browser")
    console.print(f"  {command} explain --npi {found} {below}")
    console.print("      all that is known of one NPI")
    console.print("  make ui")
    console.print("      a fortnight of such days in Dagster: what changed, a day that failed, days to be backfilled")


def _run_past_days(
    console: Console, registry: EmulatedRegistry, s3: LocalS3, lists: Mapping[dt.date, Sequence[str]]
) -> None:
    """Run the days of ``lists`` but those that are to be missing, each with what has changed until then."""
    for number, (day, npis) in enumerate(lists.items(), start=1):
        ago = len(lists) - number
        if ago == _LATE_LIST_DAYS_AGO:
            _run(console, registry, day, len(npis))
        s3.put_list(BUCKET, KEY.format(date=day), npis)
        if ago not in _MISSING_DAYS_AGO | {_LATE_LIST_DAYS_AGO}:
            registry.configure(days=number)
            _run(console, registry, day, len(npis))


def _deliver(console: Console, folder: Path, days: Sequence[dt.date]) -> int:
    """Deliver ``days`` and show what can be asked then."""
    runs = list(deliver_days(Settings.from_environment(os.environ), days))
    for run in runs:
        console.print(f"{run.day} is delivered to {run.sink}" if run.ok else "; ".join(run.problems))
    if not all(run.ok for run in runs):
        return 1
    show_answers(console, folder)
    return 0


def _take(folder: Path) -> None:
    """Make sure that what the demo throws away in ``folder`` is its own, and mark the folder as the demo's.

    The names of its folders are those that a real deployment has. Raises DemoFolderError.
    """
    held = [name for name in _TAKEN if (folder / name).exists()]
    if held and not ((folder / MARKER).exists() and _has_no_other_lists(folder)):
        raise DemoFolderError(
            f"{folder} holds {' and '.join(held)} that may not be the demo's, which would begin by deleting them; "
            "choose another folder with --folder, or move them away"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def _has_no_other_lists(folder: Path) -> bool:
    """Whether every list that is kept there is the demo's: somebody may have gone on in its folder with their own."""
    root = LocalRoot(folder / _DATA)
    try:
        kept = [day for day in days_with_folder(root, NPI_LIST) if has_list(root, day)]
        return all(read_kept_source(root, day).bucket == BUCKET for day in kept)
    except (OSError, StorageError):
        return False


def _environment(folder: Path, s3: LocalS3, registry: EmulatedRegistry, start: dt.date) -> dict[str, str]:
    return {
        **s3.environment,
        "NPI_LIST_BUCKET": BUCKET,
        "NPI_LIST_KEY": KEY,
        "NPI_REGISTRY_FORMAT": "nppes",
        "NPI_REGISTRY_URL": registry.url,
        "NPI_DATA_ROOT": str(folder / _DATA),
        # Each day shows a fetch of its own.
        "NPI_REUSE_HOURS": "0",
        "NPI_START_DATE": start.isoformat(),
        "DAGSTER_HOME": str(folder / _HOME),
    }


def _prepare(console: Console, folder: Path, days: Sequence[dt.date], npis: int) -> dict[dt.date, list[str]]:
    """An empty data root and Dagster home; the list of each day: one NPI in fifty joins and one leaves a day."""
    if any((folder / name).exists() for name in _TAKEN):
        console.print(f"The files of the demo before this one are removed from {folder}.")
    for name in _TAKEN:
        shutil.rmtree(folder / name, ignore_errors=True)
        # What is no folder is a file, or not there.
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    make_home(folder / _HOME, _DAGSTER_YAML)
    joining = _joining(npis)
    pool = list(npi_numbers(npis + joining * len(days), seed=0))
    return {day: pool[joining * number : joining * number + npis] for number, day in enumerate(days)}


def _joining(npis: int) -> int:
    """How many NPIs join the list each day."""
    return max(1, npis // 50)


def _run(console: Console, registry: EmulatedRegistry, day: dt.date, npis: int) -> DayRun:
    """Run ``day`` with a bar that follows what the registry has answered."""
    settings = Settings.from_environment(os.environ)
    before = registry.stats().answers
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("NPIs asked"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(str(day), total=npis)
        with _repeatedly(lambda: progress.update(task, completed=registry.stats().answers - before)):
            return run_day(settings, day, log_level="ERROR")


@contextlib.contextmanager
def _repeatedly(do: Callable[[], object]) -> Iterator[None]:
    """``do`` a few times per second in a thread for the length of the block, and once at its end."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(0.2):
            do()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        do()


def _serve_ui(console: Console, port: int, log: Path) -> int:
    """The Dagster UI until Ctrl-C or its end."""
    try:
        with dagster_ui(port=port, log=log) as process:
            console.print(f"\nDagster UI: http://127.0.0.1:{port}{_GROUP_PAGE}", style="bold")
            console.print(
                "The assets are red while one of their days has failed; the list that it wanted is there now."
            )
            console.print("Try: Materialize all... > Failed and missing > Launch.")
            console.print(f"Ctrl-C ends everything. Its log: {log}\n")
            return process.wait()
    except KeyboardInterrupt:
        return 0
