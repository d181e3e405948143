"""What the report of a day says, read from what is kept of the day and of the days before it.

It takes what is there: of a day that is not complete it tells how far it came, and what cannot be read is a problem
that the report names. Nothing here depends on the time, so the same files give the same report.
Not here: the fetch (``read_fetch``) and the rows of the files (``read_contents``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from npi_pipeline.changes.kept_changes import KeptChanges, read_kept_changes
from npi_pipeline.days.paths import NPI_LIST, PROVIDER_CHANGES, STATE_FILES
from npi_pipeline.errors import PipelineError
from npi_pipeline.npi_list.kept_list import read_kept_source
from npi_pipeline.outcomes import Outcome
from npi_pipeline.proofs.day_status import status_of_day
from npi_pipeline.proofs.kept_findings import KeptFinding, read_findings
from npi_pipeline.providers.provider_table import NO_STATE
from npi_pipeline.report.day_report import ChangesOfDay, DayReport, FetchOfDay, Moved, RecentDay, StateRows
from npi_pipeline.report.read_contents import read_contents
from npi_pipeline.report.read_fetch import read_fetch
from npi_pipeline.scans import scan_changes, scan_providers
from npi_pipeline.schema.json_paths import STATES
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.manifest import Manifest
from npi_pipeline.state_files.publish import read_manifest
from npi_pipeline.storage.damaged import read_or_note
from npi_pipeline.storage.data_root import DataRoot, StorageError

RECENT_DAYS = 30
_PRODUCTS = ["registry_snapshot", NPI_LIST, "npi_records", "providers", STATE_FILES, PROVIDER_CHANGES]
_FIELDS = 10
_MOVES = 10
# For S3's latency.
_THREADS = 8


def read_day(root: DataRoot, files: FileSettings, day: dt.date) -> DayReport:
    """The report of ``day`` from what is kept of it. Raises StorageError when the root cannot be reached."""
    problems: list[str] = []

    status = status_of_day(root, files, day)
    problems += [status.problem] if status.problem else []
    manifest: Manifest | None = None
    if not status.problem:
        manifest = read_or_note(problems, lambda: read_manifest(root, files.state_files_dir, day), None)
    kept = read_or_note(problems, lambda: read_kept_changes(root, day), None) if manifest else None
    changes = read_or_note(problems, lambda: _changes(root, kept), None) if kept else None
    return DayReport(
        day=day,
        state=status.state,
        where=status.where,
        published_at=status.published_at,
        list_source=read_or_note(problems, lambda: read_kept_source(root, day).where, None),
        outcomes={outcome.value: status.outcomes.get(outcome.value, 0) for outcome in Outcome},
        files=status.files,
        rows=status.rows,
        findings=read_or_note(problems, lambda: _findings(root, files, day), ()),
        changes=changes,
        states=read_or_note(problems, lambda: _states(root, files, manifest, kept), ()) if manifest else (),
        fetch=read_or_note(problems, lambda: read_fetch(root, day, manifest, status.outcomes), FetchOfDay()),
        recent=_recent_days(root, files, day),
        contents=read_or_note(problems, lambda: read_contents(root, day), None) if manifest else None,
        problems=tuple(problems),
    )


def _findings(root: DataRoot, files: FileSettings, day: dt.date) -> tuple[KeptFinding, ...]:
    """What was found, in the order in which the products of a day are made."""
    findings = read_findings(root, day, files.state_files_dir)
    return tuple(sorted(findings, key=lambda finding: _PRODUCTS.index(finding.product)))


def _changes(root: DataRoot, kept: KeptChanges) -> ChangesOfDay:
    other = kept.compared_with
    changes = ChangesOfDay(
        compared_with=other.day if other else None,
        counts=dict(kept.counts),
        outcome_changes=tuple(sorted(kept.summary.outcome_changes, key=lambda change: (-change[2], change))),
        fields=kept.summary.fields[:_FIELDS],
    )
    if other is None or not kept.counts.get("fields_changed"):
        return changes
    moves = _moves(root, kept.day, other.day)
    moved = moves.sort(pl.col("providers"), "old", "new", descending=[True, False, False]).head(_MOVES)
    return dataclasses.replace(
        changes,
        providers_moved=int(moves["providers"].sum()),
        moved=tuple(Moved(**row) for row in moved.to_dicts()),
    )


def _moves(root: DataRoot, day: dt.date, before: dt.date) -> pl.DataFrame:
    """Who is in other state files than on the day before, as old, new, providers and an example."""
    changed = scan_changes(root, day).filter(pl.col("change") == "field").select("npi").unique()
    old, new = (
        scan_providers(root, of_day)
        .select("npi", states=pl.col(STATES).list.sort().list.join(", "))
        .join(changed, on="npi", how="semi")
        for of_day in (before, day)
    )
    named = [pl.when(pl.col(name) == "").then(pl.lit(NO_STATE)).otherwise(name).alias(name) for name in ("old", "new")]
    try:
        return (
            old.rename({"states": "old"})
            .join(new.rename({"states": "new"}), on="npi")
            .with_columns(pl.col("old", "new").fill_null(""))
            .with_columns(named)
            .filter(pl.col("old") != pl.col("new"))
            .group_by("old", "new")
            .agg(providers=pl.len(), example=pl.col("npi").min())
            .collect()
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StorageError(
            f"the providers of {before} and {day} cannot be compared ({error}): materialise providers of these days "
            "again"
        ) from error


def _states(root: DataRoot, files: FileSettings, manifest: Manifest, kept: KeptChanges | None) -> tuple[StateRows, ...]:
    rows = {file.state: file.rows for file in manifest.files}
    before: dict[str, int] | None = None
    if kept and kept.compared_with:
        with contextlib.suppress(FileNotFoundError):
            other = read_manifest(root, files.state_files_dir, kept.compared_with.day)
            before = {file.state: file.rows for file in other.files}
    every = sorted({*rows, *(before or ())})
    return tuple(
        StateRows(state, rows.get(state, 0), None if before is None else before.get(state, 0)) for state in every
    )


def _recent_days(root: DataRoot, files: FileSettings, day: dt.date) -> tuple[RecentDay, ...]:
    """The last RECENT_DAYS up to ``day``, oldest first."""
    days: Sequence[dt.date] = [day - dt.timedelta(days=ago) for ago in reversed(range(RECENT_DAYS))]
    with ThreadPoolExecutor(_THREADS) as pool:
        return tuple(pool.map(lambda one: _recent_day(root, files, one), days))


def _recent_day(root: DataRoot, files: FileSettings, day: dt.date) -> RecentDay:
    """What is damaged of another day is that day's problem: it is not complete then."""
    try:
        manifest = read_manifest(root, files.state_files_dir, day)
    except (FileNotFoundError, PipelineError) as error:
        if isinstance(error, StorageError):
            raise
        return RecentDay(day, is_complete=False)
    outcomes, npis = manifest.outcomes, sum(manifest.outcomes.values())
    figures: dict[str, int | float] = {"npis": npis, "rows": sum(file.rows for file in manifest.files)}
    figures |= {f"{outcome.value}_share": outcomes.get(outcome.value, 0) / npis if npis else 0.0 for outcome in Outcome}
    with contextlib.suppress(FileNotFoundError, PipelineError):
        kept = read_kept_changes(root, day)
        if kept.compared_with:
            figures |= kept.counts
    return RecentDay(day, is_complete=True, figures=figures)
