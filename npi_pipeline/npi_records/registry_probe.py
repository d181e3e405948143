"""Asking a registry that seems to know nobody for NPIs that were found lately, and keeping what it said.

A probe is a handful of requests, and none is made on a day whose answers raise no doubt. When the registry finds them,
the day's answers are believed, however many are `not_found`; when it does not, it is broken.
Not here: when answers are in doubt, and what becomes of those that are not believed (``credibility``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import logging
import threading
from collections.abc import Iterator, Sequence

import msgspec
import polars as pl

from npi_pipeline import clock
from npi_pipeline.days.paths import JOURNAL, days_with_folder, journal_folder
from npi_pipeline.http_fetch.fetch import fetch
from npi_pipeline.journal import CompactedJournal, JournalError, read_compacted_journal, rows_of
from npi_pipeline.outcomes import NpiOutcome, Outcome
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.storage.data_root import DataRoot

logger = logging.getLogger(__name__)

PROBED_NPIS = 5
_RECENT_DAYS = 7
_NAME = "probes.json"


@dataclasses.dataclass(frozen=True)
class Probe:
    """What the registry said about NPIs that were found lately, when the answers to ``run`` of the day were in doubt.

    ``outcomes``: by NPI, `not_found` also for a record that everybody gets. ``knows``: whether the registry proved to
    know NPIs. ``of_all``: whether the records of the run are in doubt too, and not only what it did not find.
    """

    run: int
    registry: str
    asked_at: str
    outcomes: dict[str, str]
    knows: bool
    of_all: bool


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(list[Probe])


def read_probes(root: DataRoot, day: dt.date, registry: str) -> list[Probe]:
    """The probes of the day's runs, oldest first. What cannot be understood proves nothing: it is as good as none."""
    return [probe for probe in _probes_of_all(root, day) if probe.registry == registry]


def _probes_of_all(root: DataRoot, day: dt.date) -> list[Probe]:
    path = f"{journal_folder(day)}/{_NAME}"
    try:
        return _DECODER.decode(root.read(path))
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError) as error:
        logger.warning("%s cannot be understood (%s): it counts for nothing", root.uri(path), error)
        return []


def keep_probe(root: DataRoot, day: dt.date, probe: Probe) -> None:
    """Add a probe to those of the day, of which several shards may make one at once. Raises StorageError."""
    path = f"{journal_folder(day)}/{_NAME}"
    is_kept = False
    while not is_kept:
        tag = None
        with contextlib.suppress(FileNotFoundError):
            tag = root.read_tagged(path)[1]
        # Read after the tag: what somebody else writes in between is not written over.
        probes = [*_probes_of_all(root, day), probe]
        content = json.dumps([dataclasses.asdict(each) for each in probes], indent=2) + "\n"
        is_kept = root.write_if(path, content.encode(), tag) is not None


def make_probe(
    npis: Sequence[str],
    registry: Registry,
    settings: FetchSettings,
    *,
    run: int,
    not_found_before: Sequence[str],
    repeated: str | None,
    stop: threading.Event | None,
) -> Probe:
    """Ask for ``npis``, which were found lately, one after the other.

    The registry knows NPIs when it finds most of them. It does not when one of ``not_found_before``, to which it just
    answered otherwise, is found now: whatever it said meanwhile is as little to be believed. ``repeated`` is the record
    that it seems to give to everybody. Raises RegistryDownError.
    """
    gently = settings.model_copy(update={"threads": 1, "pre_request_sleep_range": 0.0, "loop_till_done": False})
    answers = list(fetch(npis, registry, gently, stop=stop))
    found = {answer.npi for answer in answers if _outcome(answer, repeated) is Outcome.found}
    return Probe(
        run=run,
        registry=registry.identity,
        asked_at=clock.utc_now().isoformat(timespec="seconds"),
        outcomes={answer.npi: _outcome(answer, repeated).value for answer in answers},
        knows=2 * len(found) > len(answers) and found.isdisjoint(not_found_before),
        of_all=repeated is not None,
    )


def _outcome(answer: NpiOutcome, repeated: str | None) -> Outcome:
    is_repeated = answer.verdict.outcome is Outcome.found and answer.body == repeated
    return Outcome.not_found if is_repeated else answer.verdict.outcome


def found_lately(root: DataRoot, day: dt.date, registry: str, among: Sequence[str], repeated: str | None) -> list[str]:
    """A few NPIs that ``registry`` found on a recent other day, first those ``among``; with another record than that
    which is ``repeated``. Reads one part of one journal. Raises StorageError.
    """  # noqa: D205
    for journal in recent_journals(root, day, registry):
        # The part with the most of them, so that one is enough.
        part = max(journal.parts, key=lambda part: sum(part.first <= npi <= part.last for npi in among), default=None)
        if part is None:
            continue
        with contextlib.suppress(JournalError):
            (rows,) = rows_of(root, dataclasses.replace(journal, parts=(part,)), ("npi", "outcome", "body"))
            found = rows.filter(pl.col("outcome") == Outcome.found.value, pl.col("body") != (repeated or ""))
            is_among = pl.col("npi").is_in(list(among))
            npis = found.sort(is_among, descending=True, maintain_order=True)["npi"].head(PROBED_NPIS).to_list()
            if npis:
                return npis
    return []


def recent_journals(root: DataRoot, day: dt.date, registry: str, *, before: bool = False) -> Iterator[CompactedJournal]:
    """The compacted journals of a few other days, or of those ``before`` the day, newest first: this registry's."""
    days = [other for other in days_with_folder(root, JOURNAL) if other < day or (other > day and not before)]
    for other in reversed(days[-_RECENT_DAYS:]):
        # One that is not compacted or cannot be understood is that day's problem.
        with contextlib.suppress(JournalError):
            journal = read_compacted_journal(root, other)
            if journal.registry == registry:
                yield journal
