"""What the command ``doctor`` looks at: is everything there that a day needs, and what is the remedy.

It asks a few small things of the bucket, the registry and the data root, and leaves no file behind. Not here: how days
stand (``proofs.day_status``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import email.utils
import enum
import functools
import http
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from npi_pipeline import clock
from npi_pipeline.days.lock import held_lock
from npi_pipeline.days.paths import LOCKS
from npi_pipeline.errors import PipelineError
from npi_pipeline.outcomes import NpiOutcome, Outcome
from npi_pipeline.settings import Engine, Settings, SinkUrl
from npi_pipeline.storage.data_root import DataRoot, StorageError, unique_name
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.storage.open_root import open_data_root

# Known to the public registry; asked for when no list could be read.
_NPIS = ("1003101296", "1003142399")
_PROBED = 3
_PROBE_SECONDS = 10.0
_SLOW_SECONDS = 2.0
_WRONG_REGISTRY = "correct NPI_REGISTRY_URL or NPI_REGISTRY_FORMAT"
# By the HTTP status of its answer, what to do when a registry gives no outcome.
_REGISTRY_REMEDIES = {
    401: "give it a key that it takes, in NPI_REGISTRY_URL",
    403: "it refuses this key or this machine: see the key in NPI_REGISTRY_URL, or a proxy between",
    404: _WRONG_REGISTRY,
    429: "it is asked too much: see who else asks it, and try again later",
}
_NO_ANSWER = "see that it can be reached from here: NPI_REGISTRY_URL, HTTPS_PROXY, NO_PROXY, a firewall"
_NO_OUTCOME = f"{_WRONG_REGISTRY}, or see what answers in its place (a login page, a proxy)"
_ILL = "see whether it is in maintenance, and try again later"
# A day of a million NPIs takes about as much.
_FREE_BYTES = 1_000_000_000
# S3 refuses what is signed with a clock that is off by more.
_REFUSED_SECONDS = 900
_DOUBTFUL_SECONDS = 60


class State(str, enum.Enum):
    """What was found: ``warning`` lets a day run; with ``failed`` it, its delivery or its alerts do not work."""

    ok = "ok"
    warning = "warning"
    failed = "failed"


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What was found out about one thing, on one line; with the remedy when it is not ok."""

    name: str
    state: State
    line: str


Found = tuple[State, str]


@dataclasses.dataclass
class _Seen:
    """What later looks go by: how far the clock is ahead of S3's, how many NPIs are in the list, and some of them."""

    skews: list[float] = dataclasses.field(default_factory=list)
    npis: list[str] = dataclasses.field(default_factory=list)
    listed: int = 0


def diagnose(settings: Settings, day: dt.date) -> Iterator[Diagnosis]:
    """A diagnosis of each thing that ``day`` needs with these settings, as it is found out."""
    seen = _Seen()
    looks: list[tuple[str, Callable[[], Found]]] = []
    if not settings.is_list_of_registry:
        looks += [("NPI list", lambda: _npi_list(settings, day, seen)), ("clock", lambda: _clock(seen.skews))]
    if not settings.registry.is_bulk:
        looks += [("registry", lambda: _registry(settings, seen))]
    if settings.registry.has_snapshot:
        looks += [("bulk files", lambda: _bulk_files(settings, day))]
    looks += [("data root", lambda: _data_root(settings)), ("Dagster home", lambda: _dagster_home(settings))]
    if settings.engine.executor is not Engine.in_process:
        looks += [("executor", lambda: _executor(settings))]
    if settings.monitoring.alert_urls:
        looks += [("alerts", lambda: _alerts(settings))]
    looks += [(f"sink {sink.name}", functools.partial(_sink, sink, day)) for sink in settings.deliveries.sinks]
    for name, look in looks:
        yield _diagnosed(name, look)


def _diagnosed(name: str, look: Callable[[], Found]) -> Diagnosis:
    try:
        return Diagnosis(name, *look())
    except PipelineError as error:
        return Diagnosis(name, State.failed, str(error))


def _npi_list(settings: Settings, day: dt.date, seen: _Seen) -> Found:
    """Whether the list of ``day`` can be read. Notes in ``seen`` what S3 says of the clock, and what NPIs there are."""
    from botocore.exceptions import BotoCoreError

    from npi_pipeline.npi_list import ListUnreadableError, parse_npi_list
    from npi_pipeline.npi_list.source import NO_BUCKET, no_client, read_list_object
    from npi_pipeline.storage.s3_client import s3_client

    wanted = settings.npi_list
    if not wanted.list_bucket:
        return State.failed, NO_BUCKET
    try:
        client = s3_client(attempts=2, unsigned=wanted.list_unsigned, requester_pays=wanted.list_requester_pays)
    except BotoCoreError as error:
        raise no_client(wanted.list_bucket, error) from error

    def note_clock(http_response: Any, **_: object) -> None:
        if date := http_response.headers.get("Date"):
            seen.skews.append((clock.utc_now() - email.utils.parsedate_to_datetime(date)).total_seconds())

    client.meta.events.register("after-call.s3", note_clock)
    listed = read_list_object(
        client,
        wanted.list_bucket,
        wanted.key_of(day),
        day,
        is_dated=wanted.key_is_dated,
        max_bytes=wanted.list_max_bytes,
    )
    try:
        parsed = parse_npi_list(listed.body, wanted.list_column)
    except ListUnreadableError as error:
        return State.failed, f"{listed.where} {error}; {error.remedy}"
    valid = parsed.valid["npi"]
    seen.npis += map(str, valid.head(_PROBED))
    seen.listed = len(valid)
    said = f"{listed.where}: {parsed.distinct:,} NPIs in {parsed.column_name}, {parsed.invalid:,} of them invalid"
    if valid.is_empty():
        return State.failed, f"{said}; put a list with one NPI of ten digits a line there, or correct NPI_LIST_COLUMN"
    if 2 * parsed.invalid > parsed.distinct:
        return State.warning, f"{said}; see the list, or correct NPI_LIST_COLUMN"
    if unclear := [*filter(None, (listed.ambiguity,)), *parsed.ambiguities]:
        return State.warning, f"{said}; {unclear[0]}"
    return State.ok, said


def _clock(skews: list[float]) -> Found:
    if not skews:
        return State.warning, "not compared: S3 gave no answer with a date; mend the NPI list first"
    skew = min(skews, key=abs)
    said = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} S3's"
    if abs(skew) > _REFUSED_SECONDS:
        return State.failed, f"{said}: S3 refuses what is signed by it; set it, as by NTP"
    if abs(skew) > _DOUBTFUL_SECONDS:
        return State.warning, f"{said}: days begin and end by it; set it, as by NTP"
    return State.ok, said


def _registry(settings: Settings, seen: _Seen) -> Found:
    """Whether the registry answers about a few NPIs, one after the other, and how fast."""
    from npi_pipeline.http_fetch.fetch import fetch
    from npi_pipeline.registries.registry import Registry

    registry = Registry.from_settings(settings.registry)
    gently = {"threads": 1, "max_retries": 1, "pre_request_sleep_range": 0.0, "loop_till_done": False}
    hurried = {
        name: min(getattr(settings.fetch, name), _PROBE_SECONDS)
        for name in ("connect_timeout", "read_timeout", "request_timeout", "npi_deadline", "down_after")
    }
    begun = time.monotonic()
    answers = []
    for answer in fetch(seen.npis or _NPIS, registry, settings.fetch.model_copy(update=gently | hurried)):
        if answer.verdict.outcome is Outcome.failed:
            return State.failed, f"{registry.host}: NPI {answer.npi}: {answer.verdict.reason}; {_remedy_of(answer)}"
        answers.append(answer)
    each = (time.monotonic() - begun) / len(answers)
    told = f"{registry.host} answered {len(answers)} lookups, {1000 * each:,.0f} ms each"
    if all(answer.verdict.outcome is Outcome.not_found for answer in answers):
        return State.warning, f"{told}, and found none of these NPIs; {_WRONG_REGISTRY}"
    if each > _SLOW_SECONDS:
        minutes = each * max(seen.listed, 1) / settings.fetch.threads / 60
        said = f"{told}, which is slow: the list takes {minutes:,.0f} minutes at least with NPI_THREADS"
        return State.warning, f"{said}={settings.fetch.threads}; see the network and the registry"
    return State.ok, told


def _remedy_of(failed: NpiOutcome) -> str:
    if failed.status is None:
        return _NO_ANSWER
    if failed.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return _ILL
    return _REGISTRY_REMEDIES.get(failed.status, _NO_OUTCOME)


def _bulk_files(settings: Settings, day: dt.date) -> Found:
    from npi_pipeline.registries.nppes_bulk.files import FileKind, dissemination_files, open_bulk_files

    bulk = open_bulk_files(settings.registry.bulk_files)
    files = [file for file in dissemination_files(bulk.list("")) if file.kind in {FileKind.monthly, FileKind.weekly}]
    if not any(file.kind is FileKind.monthly for file in files):
        return State.failed, f"{bulk.uri()} holds no monthly file: download one, or correct NPI_BULK_FILES"
    # The name of a monthly file has its month alone.
    newest = max(min(file.date, day) for file in files)
    said = f"{bulk.uri()}: {len(files)} files, the newest of {newest} or before"
    if (day - newest).days > settings.checks.bulk_age_limit_days:
        return State.warning, f"{said}, more than NPI_BULK_AGE_LIMIT_DAYS ago; download the newest ones"
    return State.ok, said


def _data_root(settings: Settings) -> Found:
    """Whether files can be written, read, removed and locked there, and a stale writer is refused."""
    root = open_data_root(settings.files.data_root)
    path = f"{LOCKS}/doctor/{unique_name()}"
    lock = f"{path}-lock"
    try:
        wrong = _what_is_wrong(root, path, lock)
    except StorageError:
        # What could not be written may not be there to be removed.
        with contextlib.suppress(StorageError):
            root.delete(path, lock)
        raise
    root.delete(path, lock)
    if wrong:
        return State.failed, f"{root.uri()} {wrong}, or set NPI_DATA_ROOT to another place"
    told = f"{root.uri()}: written, read, removed and locked; a stale writer is refused"
    if isinstance(root, LocalRoot) and (free := shutil.disk_usage(root.folder).free) < _FREE_BYTES:
        return State.warning, f"{told}; {free / 1e6:,.0f} MB are free: make room, a day may take more"
    return State.ok, told


def _what_is_wrong(root: DataRoot, path: str, lock: str) -> str | None:
    """What the store does not do, with the remedy. Raises StorageError when it refuses."""
    first = root.write_if(path, b"first", None)
    if root.read(path) != b"first" or first is None or root.write_if(path, b"second", first) is None:
        return "does not give back what was written: see what stands between"
    if root.write_if(path, b"third", first) is not None:
        return (
            "ignores the conditions of writes, so that two runs could write over each other: use a store that has them"
        )
    with held_lock(root, lock) as held:
        held.ensure_held()
    return None


def _dagster_home(settings: Settings) -> Found:
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        return State.warning, "DAGSTER_HOME is not set: what ran is forgotten; set it to a folder"
    folder = Path(home).absolute()
    if not folder.exists():
        there = next(parent for parent in folder.parents if parent.exists())
        if not (there.is_dir() and os.access(there, os.W_OK)):
            return (
                State.failed,
                f"{folder} cannot be made in {there}: grant access there, or set DAGSTER_HOME to another",
            )
    if home != str(folder):
        return State.warning, f"{home} is relative, which `dagster dev` refuses; set DAGSTER_HOME to {folder}"
    if not folder.exists():
        return State.warning, f"{folder} is not there yet: the first run makes it"
    return _pool(settings, folder)


def _pool(settings: Settings, home: Path) -> Found:
    """Whether the instance lets one day at a time ask the registry."""
    from npi_pipeline.orchestration.assets.npi_records import REGISTRY_POOL
    from npi_pipeline.orchestration.dagster_home import is_limited, limit_of, one_day_at_a_time, open_instance

    with open_instance() as instance:
        has_limit = is_limited(instance, REGISTRY_POOL)
        limit = limit_of(instance, REGISTRY_POOL)
        by_run = one_day_at_a_time(instance, REGISTRY_POOL)
    said = f"{home}: the pool {REGISTRY_POOL}"
    if settings.engine.shards > 1 and has_limit and not by_run:
        wrong = "counts steps, so that the shards of a day wait for one another", "granularity: run"
    elif not has_limit:
        wrong = "has no limit: days that run at once ask the registry as if each were alone", "default_limit: 1"
    elif limit is not None and limit > 1:
        wrong = (
            f"has the limit {limit}: so many days at once ask the registry as if each were alone",
            "default_limit: 1",
        )
    else:
        return State.ok, f"{said} is limited"
    return State.warning, f"{said} {wrong[0]}; set concurrency.pools.{wrong[1]} in its dagster.yaml"


def _executor(settings: Settings) -> Found:
    from npi_pipeline.orchestration.engines import executor_of

    executor_of(settings.engine)
    return State.ok, f"{settings.engine.executor.value} can be used; its workers are not asked"


def _alerts(settings: Settings) -> Found:
    from npi_pipeline.orchestration.monitoring.alert import alert_of, services_not_understood

    alert_of(settings.monitoring)
    if wrong := services_not_understood(settings.monitoring.alert_urls):
        return State.failed, "; ".join(wrong)
    return State.ok, "the URLs of NPI_ALERT_URLS can be used; nothing was sent"


def _sink(sink: SinkUrl, day: dt.date) -> Found:
    from npi_pipeline.delivery.destinations import sink_of

    opened = sink_of(sink)
    opened.receipt(day)
    return State.ok, f"{opened.place} is reached"
