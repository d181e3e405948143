"""A run's doubts about the answers it gets: when they call for a probe, it is made, and decides.

Not here: which answers are in doubt (``credibility``), and what a probe asks for (``registry_probe``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import logging
import threading
from collections.abc import Callable, Iterable

import polars as pl

from npi_pipeline.http_fetch.circuit_breaker import RegistryDownError
from npi_pipeline.npi_records.credibility import UNKNOWN, AnswerWatch, suspect_runs, unknown_share
from npi_pipeline.npi_records.registry_probe import PROBED_NPIS, Probe, found_lately, keep_probe, make_probe
from npi_pipeline.outcomes import NpiOutcome, Outcome
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchSettings
from npi_pipeline.storage.data_root import DataRoot

logger = logging.getLogger(__name__)


class CredibilityMonitor:
    """Looks at the answers of one run, and has the registry probed when they are in doubt.

    ``known`` is what the journal knew before the run, ``probes`` those of earlier runs. ``probed``: how many NPIs the
    registry was asked for besides. With a ``limit`` of 1 there is no doubt. ``runs_beside`` tells the runs that ask at
    the same time, for other shards of the day: where this one's answers are not believed, neither are theirs.
    """

    def __init__(
        self,
        root: DataRoot,
        day: dt.date,
        registry: Registry,
        settings: FetchSettings,
        limit: float,
        *,
        run: int,
        known: pl.DataFrame,
        probes: list[Probe],
        stop: threading.Event | None = None,
        runs_beside: Callable[[], Iterable[int]] = tuple,
    ) -> None:
        self._root = root
        self._day = day
        self._registry = registry
        self._settings = settings
        self._limit = limit
        self._run = run
        self._known = known
        self._probes = probes
        self._stop = stop
        self._runs_beside = runs_beside
        self._watch = AnswerWatch()
        self.probed = 0

    def take_note(self, outcome: NpiOutcome) -> None:
        """Look at an answer of the run. Raises RegistryDownError when a probe shows that the registry is broken."""
        if self._limit < 1 and self._watch.is_suspect_after(outcome):
            self._probe()

    def settle(self) -> None:
        """Look at the answers together, when they all came; raises as ``take_note`` does."""
        is_over = unknown_share(self._watch.outcomes) > self._limit
        if is_over or suspect_runs(self._known, self._limit, self._probes):
            self._probe()

    def _probe(self) -> None:
        """Ask for NPIs that were found lately; where there are none, nothing is proven either way."""
        unknown = list(self._watch.unknown) or self._some_known(*UNKNOWN)
        repeated = self._watch.repeated
        lately = found_lately(self._root, self._day, self._registry.identity, unknown, repeated)
        # What an earlier run of the day found may have been the record that is repeated.
        earlier = [] if repeated else self._some_known(Outcome.found)
        npis = list(dict.fromkeys(itertools.chain(lately, self._watch.found(), earlier)))[:PROBED_NPIS]
        if not npis:
            return
        probe = make_probe(
            npis,
            self._registry,
            self._settings,
            # A run that has no answer of its own leaves its number to the next one.
            run=self._run if self._watch.outcomes else self._run - 1,
            not_found_before=unknown,
            repeated=repeated,
            stop=self._stop,
        )
        if self._stop is not None and self._stop.is_set():
            return
        keep_probe(self._root, self._day, probe)
        self.probed += len(npis)
        if not probe.knows:
            for run in self._runs_beside():
                keep_probe(self._root, self._day, dataclasses.replace(probe, run=run))
            raise RegistryDownError(self._line(probe))
        logger.warning("%s; the answers of %s are believed", _what_it_said(probe), self._day)

    def _some_known(self, *outcomes: Outcome) -> list[str]:
        is_wanted = pl.col("outcome").is_in([outcome.value for outcome in outcomes])
        npis: list[str] = self._known.filter(is_wanted)["npi"].head(PROBED_NPIS).to_list()
        return npis

    def _line(self, probe: Probe) -> str:
        return (
            f"the registry at {self._registry.host} {_what_it_seems(probe)}; {_what_it_said(probe)}: its answers are "
            "not believed and are asked for again; see whether NPI_REGISTRY_URL is right and the registry in order, "
            "then run again; where the list is so, set NPI_NOT_FOUND_SHARE_LIMIT=1"
        )


def _what_it_seems(probe: Probe) -> str:
    if 2 * _found(probe) > len(probe.outcomes):
        return "seemed to know nobody for a while"
    return "gives one and the same record for many NPIs" if probe.of_all else "seems to know nobody"


def _what_it_said(probe: Probe) -> str:
    said = ", ".join(f"{npi} {outcome}" for npi, outcome in probe.outcomes.items())
    return f"of {len(probe.outcomes)} NPIs that it found lately it finds {_found(probe)} now ({said})"


def _found(probe: Probe) -> int:
    return sum(outcome == Outcome.found.value for outcome in probe.outcomes.values())
