"""What the report of a day says, as data: this is the JSON beside the page.

Not here: where it is read from (``read_day``) and what it looks like (``page``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping

from npi_pipeline.changes.kept_changes import ChangedField
from npi_pipeline.proofs.day_status import DayState
from npi_pipeline.proofs.kept_findings import KeptFinding


class Verdict(str, enum.Enum):
    """What a reader of the day may rely on."""

    holds = "holds"
    warns = "warns"
    unproven = "unproven"
    broken = "broken"
    incomplete = "incomplete"


@dataclasses.dataclass(frozen=True)
class Moved:
    """How many providers moved from the state files ``old`` to ``new``; the first of them as ``example``."""

    old: str
    new: str
    providers: int
    example: str


@dataclasses.dataclass(frozen=True)
class ChangesOfDay:
    """What changed since ``compared_with`` (None: there is no complete day before).

    ``counts`` are those of ``changes.write_changes``. ``moved`` has the commonest moves between state files, of
    ``providers_moved`` in all; ``fields`` are the columns that changed most.
    """

    compared_with: dt.date | None
    counts: Mapping[str, int]
    outcome_changes: tuple[tuple[str, str, int], ...]
    fields: tuple[ChangedField, ...]
    providers_moved: int = 0
    moved: tuple[Moved, ...] = ()


@dataclasses.dataclass(frozen=True)
class StateRows:
    """The rows of a state file, and of the one of the day compared with; None when there is no such day."""

    state: str
    rows: int
    rows_before: int | None


@dataclasses.dataclass(frozen=True)
class FetchLine:
    """One fetch: NPIs ``asked`` for and ``requests`` made; ``latency_ms`` by percentile."""

    registry: str
    started_at: dt.datetime
    seconds: float
    asked: int
    npis_per_second: float
    requests: int
    refused: int
    highest_limit: int
    latency_ms: Mapping[int, float]


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why ``npis`` failed, with examples."""

    reason: str
    npis: int
    share: float
    examples: str


@dataclasses.dataclass(frozen=True)
class FetchOfDay:
    """How the registry was asked.

    ``outcomes_over_time`` counts outcomes in spans of ``span_seconds`` from ``started_at`` on. ``attempts`` counts NPIs
    by the requests that they took. ``files`` are those of a registry that is files.
    """

    fetches: tuple[FetchLine, ...] = ()
    retries: tuple[tuple[str, int], ...] = ()
    started_at: dt.datetime | None = None
    span_seconds: float = 0.0
    outcomes_over_time: tuple[int, ...] = ()
    attempts: tuple[tuple[int, int], ...] = ()
    failures: tuple[Failure, ...] = ()
    files: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class RecentDay:
    """One of the last days: figures by name; none when the day is not complete."""

    day: dt.date
    is_complete: bool
    figures: Mapping[str, int | float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ColumnFilled:
    """The share of found providers for which a column holds something."""

    name: str
    share: float


@dataclasses.dataclass(frozen=True)
class ListLength:
    """A list column: the share of providers with any item, the mean and largest length, how many have columns."""

    name: str
    share: float
    mean: float
    longest: int
    columns: int


@dataclasses.dataclass(frozen=True)
class ContentsOfFiles:
    """What the found providers' rows hold. Counts are of providers."""

    providers: int
    columns: tuple[ColumnFilled, ...]
    lists: tuple[ListLength, ...] = ()
    entity_types: tuple[tuple[str, int], ...] = ()
    taxonomies: tuple[tuple[str, str, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class DayReport:
    """All that the report of a day says. ``problems`` names what could not be read, each with its remedy."""

    day: dt.date
    state: DayState
    where: str
    published_at: dt.datetime | None
    list_source: str | None
    outcomes: Mapping[str, int]
    files: int
    rows: int
    findings: tuple[KeptFinding, ...]
    changes: ChangesOfDay | None
    states: tuple[StateRows, ...]
    fetch: FetchOfDay
    recent: tuple[RecentDay, ...]
    contents: ContentsOfFiles | None
    problems: tuple[str, ...]
    version: int = 1

    @property
    def npis(self) -> int:
        """Distinct NPIs with an outcome."""
        return sum(self.outcomes.values())

    @property
    def broken(self) -> tuple[KeptFinding, ...]:
        """Claims that do not hold and without which the day is not to be trusted."""
        return tuple(finding for finding in self.findings if finding.is_blocking and not finding.holds)

    @property
    def warnings(self) -> tuple[KeptFinding, ...]:
        """Claims that do not hold and that a reader is to know of."""
        return tuple(finding for finding in self.findings if not finding.is_blocking and not finding.holds)

    @property
    def unproven(self) -> bool:
        """Whether nobody has looked at what is published now."""
        proven = {finding.product for finding in self.findings if not finding.is_outdated}
        return not {"npi_records", "providers", "state_files"} <= proven

    @property
    def verdict(self) -> Verdict:
        """What a reader may rely on; the worst first."""
        if self.state is not DayState.complete:
            return Verdict.incomplete
        if self.broken:
            return Verdict.broken
        if self.unproven:
            return Verdict.unproven
        return Verdict.warns if self.warnings or self.problems else Verdict.holds

    @property
    def headline(self) -> str:
        """The verdict as a sentence."""
        claims = len(self.findings)
        blocked = f": {_counted(len(self.broken), 'claim')} broken" if self.broken else ""
        match self.verdict:
            case Verdict.holds:
                return f"Complete, and proven: all {claims} claims hold"
            case Verdict.warns:
                warned = len(self.warnings) + len(self.problems)
                return f"Complete, and proven, with {_counted(warned, 'warning')}"
            case Verdict.unproven:
                return "Complete, but nobody has proven what is published now: execute the checks of the day"
            case Verdict.broken:
                return f"Published, but not to be trusted{blocked}"
            case Verdict.incomplete:
                return f"Not complete{blocked}: no state files are published for this day"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
