"""The asset checks: each proves its claim about a day from the day's files.

Those of an asset are one step, in which what several of them are proven from is read once. Each can be run alone.

Run with a day's partition, a check is about that day. Run alone from the UI it has no partition, and audits every day
that is materialised. Not here: what is proven and how (``proofs``).
"""

import dataclasses
import datetime as dt
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import dagster as dg

from npi_pipeline import clock
from npi_pipeline.findings import Finding
from npi_pipeline.orchestration.assets.conventions import one_line_failures
from npi_pipeline.orchestration.resources import DayStorage
from npi_pipeline.proofs import npi_list, npi_records, provider_changes, providers, registry_snapshot, state_files
from npi_pipeline.proofs.kept_findings import KeptFinding, keep_findings
from npi_pipeline.report.make_report import make_report, report_page_path
from npi_pipeline.settings import CheckSettings

Result = TypeVar("Result")

_SHOWN_DAYS = 20
_SNAPSHOT = registry_snapshot.__name__.rpartition(".")[2]


@dataclasses.dataclass(frozen=True)
class _Claim:
    """A claim about one asset: the function that looks into it, and how bad it is when it does not hold.

    An ERROR is blocking: nothing downstream is made from a day that does not hold it. ``read`` reads what ``look`` then
    need not read itself, and is given as its ``reading``.
    """

    look: Callable[..., Finding]
    description: str
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
    read: Callable[..., object] | None = None

    @property
    def name(self) -> str:
        """The check's: that of its function."""
        return self.look.__name__

    @property
    def asset(self) -> str:
        """What the claim is about: ``proofs`` has one module for each asset, of its name."""
        return self.look.__module__.rpartition(".")[2]

    @property
    def is_blocking(self) -> bool:
        """Whether nothing downstream is made when it does not hold."""
        return self.severity is dg.AssetCheckSeverity.ERROR

    def kept(self, finding: Finding) -> KeptFinding:
        """What was found of it, as it is kept."""
        return KeptFinding(
            product=self.asset,
            name=self.name,
            claim=self.description,
            is_blocking=self.is_blocking,
            holds=finding.holds,
            line=finding.line,
            figures=dict(finding.figures),
        )

    @property
    def spec(self) -> dg.AssetCheckSpec:
        """The claim for Dagster."""
        return dg.AssetCheckSpec(
            self.name,
            asset=self.asset,
            description=self.description,
            blocking=self.is_blocking,
        )


_WARN = dg.AssetCheckSeverity.WARN
_CLAIMS = (
    _Claim(
        registry_snapshot.snapshot_is_recent,
        "The files of the registry are not much older than the day.",
        _WARN,
    ),
    _Claim(
        registry_snapshot.no_file_is_missing,
        "No weekly file is missing between those that there are.",
        _WARN,
    ),
    _Claim(
        npi_list.list_is_of_its_day,
        "The list is the one that was there when the day ended, not a later one.",
        _WARN,
    ),
    _Claim(
        npi_list.list_is_like_recent_days,
        "The list is about as long as on recent days, and few of its NPIs are invalid.",
        _WARN,
    ),
    _Claim(
        npi_list.list_is_read_clearly,
        "The kept list is undamaged, it is clear which column holds its NPIs, and no valid NPI stands outside of it.",
        _WARN,
    ),
    _Claim(
        npi_records.every_npi_has_one_outcome,
        "The set of NPIs in the list is the set of NPIs in the journal; none is there twice.",
    ),
    _Claim(
        npi_records.failed_share_is_under_the_limit,
        "Few enough NPIs failed for the day to be worth publishing.",
    ),
    _Claim(
        npi_records.registry_knows_the_npis,
        "The registry does not seem to know nobody: few enough answers are `not_found` or `deactivated`.",
    ),
    _Claim(
        npi_records.records_tell_npis_apart,
        "The registry does not give one and the same record for nearly all NPIs.",
    ),
    _Claim(
        npi_records.not_found_is_like_recent_days,
        "About as few answers are `not_found` and `deactivated` as on recent days.",
        _WARN,
    ),
    _Claim(
        npi_records.answers_are_not_of_the_future,
        "No answer is dated later than now.",
        _WARN,
    ),
    _Claim(
        providers.one_row_per_found_npi,
        "The provider table has one row for each NPI that was found, and no other.",
        read=providers.read_rows,
    ),
    _Claim(
        providers.no_unknown_fields,
        "The registry's answers hold no field that the declared columns lack.",
        _WARN,
        read=providers.read_rows,
    ),
    _Claim(
        providers.states_are_recognised,
        "Every practice address has a recognised state.",
        _WARN,
        read=providers.read_rows,
    ),
    _Claim(
        providers.databases_take_the_columns,
        "The files have no more columns than databases and spreadsheets take.",
        _WARN,
    ),
    _Claim(
        state_files.every_npi_is_accounted_for,
        "Distinct NPIs in the list = NPIs in state files and None + NPIs in Failed, and the two sides are disjoint.",
        read=state_files.read_state_files,
    ),
    _Claim(
        state_files.state_files_match_the_manifest,
        "Every state file has the rows, bytes and SHA-256 that the manifest says, and no other file lies there.",
        read=state_files.read_state_files,
    ),
    _Claim(
        provider_changes.joins_and_leaves_match_the_lists,
        "Who joined, left or was deactivated, by the changes, is who did by the two days' lists and journals.",
    ),
    _Claim(
        provider_changes.no_day_was_skipped,
        "The changes are against the published day right before: its files can be read, and are of one publication.",
        _WARN,
    ),
)


def asset_checks(
    settings: CheckSettings, *, has_snapshot: bool = False, keep_days: int = 0
) -> list[dg.AssetChecksDefinition]:
    """All checks, with the limits of ``settings``; those of ``registry_snapshot`` where there is one.

    With ``keep_days`` no more than so many days are audited: of older ones not all is kept that a proof needs.
    """
    assets = dict.fromkeys(claim.asset for claim in _CLAIMS)
    return [_checks_of(asset, settings, keep_days) for asset in assets if has_snapshot or asset != _SNAPSHOT]


def _checks_of(asset: str, settings: CheckSettings, keep_days: int) -> dg.AssetChecksDefinition:
    claims = {dg.AssetCheckKey(dg.AssetKey(asset), claim.name): claim for claim in _CLAIMS if claim.asset == asset}

    @dg.multi_asset_check(name=f"{asset}_checks", specs=[claim.spec for claim in claims.values()], can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, day_storage: DayStorage) -> Iterator[dg.AssetCheckResult]:
        chosen = [claim for key, claim in claims.items() if key in context.selected_asset_check_keys]
        known = {"root": day_storage.open(), "files": day_storage, "settings": settings}
        findings = {
            day: _findings(chosen, {**known, "day": dt.date.fromisoformat(day)})
            for day in _days(context, dg.AssetKey(asset), keep_days)
        }
        with one_line_failures():
            for day, of_day in findings.items():
                _keep(context, day_storage, dt.date.fromisoformat(day), chosen, of_day)
        for claim in chosen:
            yield _result(claim, {day: of_day[claim.name] for day, of_day in findings.items()})

    return checks


def _keep(
    context: dg.AssetCheckExecutionContext,
    day_storage: DayStorage,
    day: dt.date,
    claims: Iterable[_Claim],
    findings: Mapping[str, Finding],
) -> None:
    """Keep what was found of the claims; and where the day is made no further, make its report, which says why."""
    root = day_storage.open()
    kept = [claim.kept(findings[claim.name]) for claim in claims]
    keep_findings(root, day, day_storage.state_files_dir, kept)
    if context.has_partition_key and any(finding.is_blocking and not finding.holds for finding in kept):
        make_report(root, day_storage, day)
        context.log.info(f"the report of the day says what does not hold: {root.uri(report_page_path(day))}")


def _days(context: dg.AssetCheckExecutionContext, asset: dg.AssetKey, keep_days: int) -> list[str]:
    if context.has_partition_key:
        return [context.partition_key]
    oldest = str(clock.utc_now().date() - dt.timedelta(days=keep_days)) if keep_days else ""
    return sorted(day for day in context.instance.get_materialized_partitions(asset) if day >= oldest)


def _findings(claims: Iterable[_Claim], known: Mapping[str, object]) -> dict[str, Finding]:
    """What is found of each of ``claims`` about one day. ``known`` is which day, where it lies, and the settings."""
    readings: dict[object, object] = {}
    return {claim.name: _finding(claim, known, readings) for claim in claims}


def _finding(claim: _Claim, known: Mapping[str, object], readings: dict[object, object]) -> Finding:
    try:
        if claim.read and claim.read not in readings:
            readings[claim.read] = _called(claim.read, known)
        return _called(claim.look, {**known, "reading": readings.get(claim.read)})
    except Exception as error:  # noqa: BLE001 - a file that is gone or damaged is what a check is to find
        return Finding(holds=False, line=f"{type(error).__name__}: {error}")


def _called(function: Callable[..., Result], known: Mapping[str, object]) -> Result:
    """The function is given what it takes of ``known``."""
    return function(**{name: known[name] for name in inspect.signature(function).parameters})


def _result(claim: _Claim, findings: Mapping[str, Finding]) -> dg.AssetCheckResult:
    broken = {day: finding for day, finding in findings.items() if not finding.holds}
    if len(findings) == 1:
        ((day, finding),) = findings.items()
        description, figures = f"{day}: {finding.line}", dict(finding.figures)
    else:
        description = f"{len(findings)} days looked at, {len(broken)} do not hold"
        figures = {day: finding.line for day, finding in list(broken.items())[:_SHOWN_DAYS]}
    return dg.AssetCheckResult(
        check_name=claim.name,
        asset_key=claim.asset,
        passed=not broken,
        severity=claim.severity,
        description=description,
        metadata=figures,
    )
