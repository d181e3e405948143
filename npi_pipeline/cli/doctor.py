"""What the command ``doctor`` looks at: is everything there that a day needs, and what is the remedy.

It asks a few small things of the bucket, the registry and the data root, and leaves no file behind. Not here: how days
stand (``proofs.day_status``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
import enum
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from npi_pipeline import clock
from npi_pipeline.days.lock import held_lock
from npi_pipeline.days.paths import LOCKS
from npi_pipeline.errors import PipelineError
from npi_pipeline.outcomes import Outcome
from npi_pipeline.settings import Settings
from npi_pipeline.storage.data_root import unique_name
from npi_pipeline.storage.open_root import open_data_root

# Known to the public registry; asked for when no list could be read.
_NPIS = ("1003101296", "1003142399")
_PROBED = 3
_PROBE_SECONDS = 10.0
_NPI_MEND = "see whether it is in maintenance, and correct NPI_REGISTRY_URL or NPI_REGISTRY_FORMAT"
# S3 refuses what is signed with a clock that is off by more.
_REFUSED_SECONDS = 900
_DOUBTFUL_SECONDS = 60


class State(str, enum.Enum):
    """What was found: ``warning`` lets a day run, ``failed`` does not."""

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


def diagnose(settings: Settings, day: dt.date) -> Iterator[Diagnosis]:
    """A diagnosis of each thing that ``day`` needs with these settings, as it is found out."""
    skews: list[float] = []
    npis: list[str] = []
    looks: list[tuple[str, Callable[[], Found]]] = []
    if not settings.is_list_of_registry:
        looks += [("NPI list", lambda: _npi_list(settings, day, skews, npis)), ("clock", lambda: _clock(skews))]
    if not settings.registry.is_bulk:
        looks += [("registry", lambda: _registry(settings, npis))]
    if settings.registry.has_snapshot:
        looks += [("bulk files", lambda: _bulk_files(settings, day))]
    looks += [("data root", lambda: _data_root(settings)), ("Dagster home", _dagster_home)]
    for name, look in looks:
        yield _diagnosed(name, look)


def _diagnosed(name: str, look: Callable[[], Found]) -> Diagnosis:
    try:
        return Diagnosis(name, *look())
    except PipelineError as error:
        return Diagnosis(name, State.failed, str(error))


def _npi_list(settings: Settings, day: dt.date, skews: list[float], npis: list[str]) -> Found:
    """Whether the list of ``day`` can be read. Adds to ``skews`` what S3 says of the clock, to ``npis`` some."""
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
            skews.append((clock.utc_now() - email.utils.parsedate_to_datetime(date)).total_seconds())

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
    npis += map(str, valid.head(_PROBED))
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


def _registry(settings: Settings, npis: list[str]) -> Found:
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
    answers = list(fetch(npis or _NPIS, registry, settings.fetch.model_copy(update=gently | hurried)))
    each = (time.monotonic() - begun) / len(answers)
    told = f"{registry.host} answered {len(answers)} lookups, {1000 * each:,.0f} ms each"
    failed = [answer for answer in answers if answer.verdict.outcome is Outcome.failed]
    if failed:
        return State.failed, f"{registry.host}: NPI {failed[0].npi}: {failed[0].verdict.reason}; {_NPI_MEND}"
    if all(answer.verdict.outcome is Outcome.not_found for answer in answers):
        return State.warning, f"{told}, and found none of these NPIs; {_NPI_MEND}"
    return State.ok, told


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
        first = root.write_if(path, b"first", None)
        if root.read(path) != b"first" or first is None or root.write_if(path, b"second", first) is None:
            return State.failed, f"{root.uri()} does not give back what was written: set NPI_DATA_ROOT to another place"
        if root.write_if(path, b"third", first) is not None:
            said = f"{root.uri()} ignores the conditions of writes, so that two runs could write over each other"
            return State.failed, f"{said}; use a store that has them, or set NPI_DATA_ROOT to another place"
        with held_lock(root, lock) as held:
            held.ensure_held()
    finally:
        root.delete(path, lock)
    return State.ok, f"{root.uri()}: written, read, removed and locked; a stale writer is refused"


def _dagster_home() -> Found:
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        return State.warning, "DAGSTER_HOME is not set: what ran is forgotten; set it to a folder"
    if not Path(home).exists():
        return State.warning, f"{home} is not there yet: the first run makes it"
    from npi_pipeline.orchestration.assets.npi_records import REGISTRY_POOL
    from npi_pipeline.orchestration.dagster_home import is_limited, open_instance

    with open_instance() as instance:
        if is_limited(instance, REGISTRY_POOL):
            return State.ok, f"{home}: the pool {REGISTRY_POOL} is limited"
    said = (
        f"{home}: the pool {REGISTRY_POOL} has no limit: days that run at once ask the registry as if each were alone"
    )
    return State.warning, f"{said}; set concurrency.pools.default_limit in its dagster.yaml"
