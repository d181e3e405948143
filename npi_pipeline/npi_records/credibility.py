"""Which answers of a day are believed: a registry that knows nobody is broken, until it is proven or said otherwise.

Everything `not_found`, everything `deactivated` or one and the same record for everybody is an answer of the right
shape each, and a wrong day. So the answers are looked at together:

- While a run asks, many such answers in a row, and at its end a share of them over the limit
  (NPI_NOT_FOUND_SHARE_LIMIT), call for a probe (``registry_probe``).
- A run whose probe failed, or whose share is over the limit without a probe to speak for it, is not believed: the next
  run of the day asks for these NPIs again, and no other day takes its answers over.

Not here: asking (``record_outcomes``), and how a finding is told (``proofs.npi_records``).
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence

import polars as pl

from npi_pipeline.journal import CompactedJournal, rows_of
from npi_pipeline.npi_records.registry_probe import Probe, read_probes
from npi_pipeline.outcomes import NpiOutcome, Outcome
from npi_pipeline.registries.registry import format_of
from npi_pipeline.storage.data_root import DataRoot

UNKNOWN = (Outcome.not_found, Outcome.deactivated)
"""What a registry that knows nobody says."""
_UNKNOWN = [outcome.value for outcome in UNKNOWN]
_ANSWERS = [Outcome.found.value, *_UNKNOWN]

# So many in a row do not come by chance from a list of which a third is unknown, and seldom from one of which half is.
_IN_A_ROW = 20
_REMEMBERED = 100
# Fewer records may well be the same.
_MIN_RECORDS = 20


def unknown_share(outcomes: Mapping[str, int]) -> float:
    """The share of a registry's answers, counted by outcome, that are of UNKNOWN; 0 when there is no answer."""
    answers = sum(outcomes.get(outcome, 0) for outcome in _ANSWERS)
    return sum(outcomes.get(outcome, 0) for outcome in _UNKNOWN) / answers if answers else 0.0


class AnswerWatch:
    """Looks at a run's answers as they come, and tells when they call for a probe.

    ``unknown``: the last NPIs about which the registry had nothing of their own to say. ``repeated``: the record that
    it gives to all of them, if it does.
    """

    def __init__(self) -> None:
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.unknown: collections.deque[str] = collections.deque(maxlen=_REMEMBERED)
        self.repeated: str | None = None
        self._found: collections.deque[tuple[str, int]] = collections.deque(maxlen=_REMEMBERED)
        self._last_record: str | None = None
        self._in_a_row = 0
        self._probe_at = _IN_A_ROW

    def is_suspect_after(self, outcome: NpiOutcome) -> bool:
        """Take note of an answer; whether so many in a row say nothing about their NPI that a probe is called for.

        It is called for ever more seldom: after twice as many each time.
        """
        verdict = outcome.verdict.outcome
        if verdict is Outcome.failed:
            return False
        self.outcomes[verdict.value] += 1
        if verdict is Outcome.found:
            is_repeated = outcome.body == self._last_record
            self._last_record = outcome.body
            if not is_repeated:
                self._found.append((outcome.npi, hash(outcome.body)))
                self._in_a_row, self.repeated = 0, None
                return False
            self.repeated = outcome.body
        self.unknown.append(outcome.npi)
        self._in_a_row += 1
        if self._in_a_row < self._probe_at:
            return False
        self._probe_at = 2 * self._in_a_row
        return True

    def found(self) -> list[str]:
        """The last NPIs that were found with another record than that which is ``repeated``, the latest first."""
        return [npi for npi, record in reversed(self._found) if record != hash(self.repeated)]


def suspect_runs(rows: pl.DataFrame, limit: float, probes: Sequence[Probe]) -> list[int]:
    """The runs among ``rows`` of the journal whose share of UNKNOWN is over ``limit``, with no probe to speak for them.

    A probe speaks for its run and those before it.
    """
    proven = max((probe.run for probe in probes if probe.knows), default=-1)
    runs = (
        rows.filter(pl.col("outcome").is_in(_ANSWERS))
        .group_by("run")
        .agg(share=pl.col("outcome").is_in(_UNKNOWN).mean())
    )
    return runs.filter(pl.col("run") > proven, pl.col("share") > limit)["run"].to_list()


def suspect_answers(known: pl.DataFrame, limit: float, probes: Sequence[Probe]) -> pl.DataFrame:
    """Those rows of ``known`` whose answers are not believed: they are to be asked for again."""
    failed = [probe for probe in probes if not probe.knows]
    run = pl.col("run")
    is_unknown = pl.col("outcome").is_in(_UNKNOWN)
    in_doubt = run.is_in([*suspect_runs(known, limit, probes), *(probe.run for probe in failed)]) & is_unknown
    of_all = run.is_in([probe.run for probe in failed if probe.of_all]) & pl.col("outcome").is_in(_ANSWERS)
    return known.filter(in_doubt | of_all)


def is_credible(root: DataRoot, journal: CompactedJournal, limit: float) -> bool:
    """Whether the answers of a compacted journal are believed. Raises JournalError when it is damaged, StorageError."""
    if not not_found_is_credible(root, journal, limit):
        return False
    return limit >= 1 or same_records(root, journal, limit) is None


def not_found_is_credible(root: DataRoot, journal: CompactedJournal, limit: float) -> bool:
    """Whether the share of UNKNOWN in a compacted journal is believed; raises as ``is_credible`` does."""
    if unknown_share(journal.outcomes) <= limit:
        return True
    rows = pl.concat(rows_of(root, journal, ("npi", "run", "outcome")))
    return not suspect_runs(rows, limit, read_probes(root, journal.day, journal.registry))


def same_records(root: DataRoot, journal: CompactedJournal, limit: float) -> pl.Series | None:
    """The NPIs with one and the same record in a compacted journal, when their share of the found is over ``limit``.

    None also where every record names its NPI, where there are too few to tell, and where a probe spoke for them.
    Raises as ``is_credible`` does.
    """
    format_ = format_of(journal.registry)
    found = journal.outcomes.get(Outcome.found.value, 0)
    if found < _MIN_RECORDS or (format_ is not None and format_.layout.declared):
        return None
    # Part by part: the records of a whole day do not have to fit in memory.
    parts = rows_of(root, journal, ("npi", "outcome", "body"))
    is_found = pl.col("outcome") == Outcome.found.value
    records = pl.concat(part.filter(is_found).select("npi", record=pl.col("body").hash()) for part in parts)
    same = records.filter(pl.col("record") == pl.col("record").mode().first())["npi"]
    if same.len() <= limit * found:
        return None
    probes = read_probes(root, journal.day, journal.registry)
    return None if any(probe.knows and probe.of_all for probe in probes) else same


def disbelieved(known: pl.DataFrame) -> pl.Series:
    """The NPIs of ``known`` that are down as to be asked for again because their answer was not believed."""
    return known.filter(pl.col("reason").is_in([not_credible(outcome) for outcome in _ANSWERS]))["npi"]


def not_credible(outcome: str) -> str:
    """Why an answer is asked for again, for the journal."""
    return f"the registry seemed to know nobody when it answered {outcome}: not believed, to be asked for again"
