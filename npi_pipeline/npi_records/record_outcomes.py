"""One day's outcomes, by one worker: what is to be done in which order, under the day's lock.

Not here: the stages themselves (``asking``), several workers (``shards``), and how an outcome is kept (``journal``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from collections.abc import Callable

from npi_pipeline.days.lock import day_lock
from npi_pipeline.http_fetch.fetch import FetchReport
from npi_pipeline.http_fetch.progress import FetchProgress
from npi_pipeline.journal import CompactedJournal, compact_journal, next_run, unchanged_journal
from npi_pipeline.npi_list import NpiList
from npi_pipeline.npi_records.asking import Asking, ask, prepare
from npi_pipeline.npi_records.shard_plan import withdraw_plan
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import CheckSettings, FetchSettings
from npi_pipeline.storage.data_root import DataRoot


@dataclasses.dataclass(frozen=True)
class RecordedDay:
    """What a run did for its day: the compacted journal, and how the asking went.

    ``asked``: NPIs that the registry was asked for. ``reused``: NPIs whose answer another day had lately. ``taken``:
    NPIs whose answer stood in the registry's own files.
    ``probed``: NPIs found lately that it was asked for besides, because its answers were in doubt. ``is_unchanged``:
    the journal was compacted already, for this list, and nothing came since; it is left as it is.
    """

    journal: CompactedJournal
    asked: int
    reused: int
    probed: int
    report: FetchReport
    is_unchanged: bool = False
    taken: int = 0


def record_outcomes(
    root: DataRoot,
    day: dt.date,
    npi_list: NpiList,
    registry: Registry,
    settings: FetchSettings,
    *,
    checks: CheckSettings | None = None,
    asking: str | None = None,
    snapshot: Snapshot | None = None,
    stop: threading.Event | None = None,
    on_progress: Callable[[FetchProgress], None] | None = None,
) -> RecordedDay:
    """See to it that each distinct NPI of the list has exactly one outcome in the compacted journal of ``day``.

    What the journal already holds is not asked for again, but as ``settings.fetch_mode`` says; what it holds of another
    registry counts for nothing. Interrupted at any moment, the journal keeps what arrived and the next call goes on
    from there. For that the modes that ask afresh need to know which calls go on with one another: what an earlier call
    of the same ``asking`` settled is not asked for again in any mode.
    With a ``snapshot`` of the registry's own files, what stands in it is not asked for (see ``take_from_snapshot``).
    What a registry says that seems to know nobody (see ``credibility``, and ``checks`` for the limit) is kept and not
    believed: then RegistryDownError is raised, and the next call asks for it again.
    Raises DayLockedError, RegistryDownError, StorageError, and JournalError when an NPI is left without an outcome.
    """
    listed = Asking(
        root=root,
        day=day,
        npis=npi_list.npis,
        registry=registry,
        settings=settings,
        checks=checks or CheckSettings(),
        stop=stop,
        on_progress=on_progress,
    )
    npis = listed.npis["npi"]
    with day_lock(root, day) as held:
        withdraw_plan(root, day)
        prepared = prepare(listed, asking, snapshot)
        known = prepared.known
        asked = ask(listed, prepared.to_ask, known, run=next_run(known))
        unchanged = unchanged_journal(root, day, npis, known, registry=registry.identity)
        compacted = unchanged or compact_journal(root, day, npis, held, registry=registry.identity)
    return RecordedDay(
        journal=compacted,
        asked=asked.npis,
        reused=prepared.reused,
        taken=prepared.taken,
        probed=asked.probed,
        report=asked.report,
        is_unchanged=unchanged is not None,
    )
