"""What is true of a day, proven from its files: the accounting identity and what else the checks claim.

    distinct NPIs in the list = NPIs in state files and None + NPIs in Failed, and the two sides are disjoint

Each function reads the files anew, compares sets and not counts, and trusts nothing that a step remembers.
Not here: how the UI shows a finding (``npi_pipeline.orchestration.checks``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import polars as pl

from npi_pipeline.changes.kept_changes import KeptChanges, read_kept_changes
from npi_pipeline.changes.write_changes import COLUMNS
from npi_pipeline.days.paths import days_with_list
from npi_pipeline.journal import read_sealed_journal, sealed_parts
from npi_pipeline.npi_list.keep_npi_list import kept_list_size, kept_npi_list, npi_list_of_kept_bytes
from npi_pipeline.npi_list.kept_list import KeptListError, read_kept_list, read_kept_source
from npi_pipeline.npi_list.source import HowChosen, is_certain
from npi_pipeline.outcomes import Outcome
from npi_pipeline.providers.kept_table import provider_parts, read_provider_table
from npi_pipeline.providers.provider_table import NO_STATE
from npi_pipeline.providers.states import STATES as RECOGNISED
from npi_pipeline.schema.columns import MOST_COLUMNS
from npi_pipeline.schema.json_paths import UNKNOWN_FIELDS, UNRECOGNISED_STATES
from npi_pipeline.settings import CheckSettings, FileSettings
from npi_pipeline.state_files.csv_files import csv_rows, leading_columns
from npi_pipeline.state_files.manifest import Manifest
from npi_pipeline.state_files.publish import path_of_state_file, read_manifest, verify_published
from npi_pipeline.storage.data_root import DataRoot, StorageError

_WHY_CERTAIN = {
    HowChosen.dated_key: "its key names the day",
    HowChosen.current: "it lay there when the day ended, or lies there today",
    HowChosen.version: "it lay there when the day ended, and was written over since",
    HowChosen.kept: "an earlier run kept it from before the day ended, the bucket has none so near to it any more",
}
_NOT_RECORDED = "that is after the day, and how it was chosen is not recorded; materialise npi_list of that day again"
_EXAMPLES = 10
_EXAMPLES_OF_A_REASON = 3
_SHOWN_CHARACTERS = 200
_RECENT_DAYS = 7
_IS_ABOUT_A_FIELD = re.compile(rb"[^,]*,field,")
# An invalid NPI may look like a formula; a list's NPIs never begin with the quote that defuses it.
_NOT_DEFUSED = pl.col("npi").fill_null("").str.strip_prefix("'")


_NO_UNKNOWN_FIELDS = pl.DataFrame(schema={"npi": pl.String, UNKNOWN_FIELDS: pl.String})

_IS_FAILED = pl.col("outcome") == Outcome.failed.value


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found out about one day: whether the claim holds, one line for a person, and figures."""

    holds: bool
    line: str
    figures: Mapping[str, int | float | str] = dataclasses.field(default_factory=dict)


def list_is_of_its_day(root: DataRoot, day: dt.date) -> Finding:
    """The kept list has a key of its own, or is known to be what was there when the day ended."""
    source = read_kept_source(root, day)
    holds = is_certain(source, day)
    why = _WHY_CERTAIN[source.chosen] if holds else source.doubt or _NOT_RECORDED
    version = f"version {source.version_id} " if source.version_id else ""
    line = f"s3://{source.bucket}/{source.key} {version}of {source.last_modified:%Y-%m-%d %H:%M:%S} UTC"
    return Finding(
        holds=holds,
        line=f"{line}: {why}",
        figures={"chosen": source.chosen.value, "last_modified": source.last_modified.isoformat()},
    )


def list_is_like_recent_days(root: DataRoot, day: dt.date, settings: CheckSettings) -> Finding:
    """The list's size is near the median of its recent days, and few of its NPIs are invalid."""
    npi_list = kept_npi_list(root, day)
    size = npi_list.npis.height
    recent = [other for other in days_with_list(root) if other < day][-_RECENT_DAYS:]
    sizes = list(_sizes(root, recent))
    line, holds = f"{size:,} distinct NPIs; no earlier day to compare with", True
    figures: dict[str, int | float | str] = {"npis": size}
    if sizes:
        median = statistics.median(sizes)
        change = size / median - 1
        line = f"{size:,} distinct NPIs, {change:+.0%} against the median of {len(sizes)} recent days"
        holds = abs(change) <= settings.list_change_limit
        figures |= {"median_of_recent_days": median, "change": change}
    share = npi_list.invalid / size
    if share > settings.invalid_share_limit:
        holds = False
        line += (
            f"; {npi_list.invalid:,} of them are invalid ({share:.2%}, limit {settings.invalid_share_limit:.2%}), e.g. "
            f"{'; '.join(npi_list.examples_of_invalid(_EXAMPLES_OF_A_REASON))}; mend the list and materialise the day "
            "again, or raise NPI_INVALID_SHARE_LIMIT"
        )
    return Finding(holds=holds, line=line, figures={**figures, "invalid": npi_list.invalid, "invalid_share": share})


def _sizes(root: DataRoot, days: Iterable[dt.date]) -> Iterator[int]:
    """The sizes of these days' lists. One that is damaged is a finding of its own day."""
    for day in days:
        with contextlib.suppress(StorageError):
            yield kept_list_size(root, day)


def list_is_read_clearly(root: DataRoot, day: dt.date) -> Finding:
    """The kept list has the bytes that were read; it is clear which column the NPIs are in, and none stands outside."""
    read_kept_list(root, day)
    npi_list = kept_npi_list(root, day)
    line = f"the NPIs stand in {npi_list.column_name}"
    return Finding(
        holds=not npi_list.doubts,
        line="; ".join((line, *npi_list.doubts, *npi_list.remarks)),
        figures={"column": npi_list.column_name, "doubts": len(npi_list.doubts)},
    )


def every_npi_has_one_outcome(root: DataRoot, day: dt.date) -> Finding:
    """The NPIs of the list and the NPIs of the sealed journal are the same set, none twice."""
    listed = kept_npi_list(root, day).npis.select("npi")
    recorded = recorded_rows(root, day, "npi")
    return _same_npis("the list", listed, "the journal", recorded)


def failed_share_is_under_the_limit(root: DataRoot, day: dt.date, settings: CheckSettings) -> Finding:
    """No more than the allowed share of NPIs ended as failed."""
    outcomes = recorded_rows(root, day, "npi", "outcome", "reason")
    failed = outcomes.filter(_IS_FAILED)
    share = failed.height / outcomes.height if outcomes.height else 0.0
    reasons = _by_reason(failed).select("reason", "npis").head(3)
    why = "".join(f"; {reason} ({count:,})" for reason, count in reasons.iter_rows())
    holds = share <= settings.failed_share_limit
    remedy = "" if holds else "; materialise the day again to repeat them, or raise NPI_FAILED_SHARE_LIMIT"
    return Finding(
        holds=holds,
        line=f"{failed.height:,} of {outcomes.height:,} NPIs failed ({share:.2%}, limit "
        f"{settings.failed_share_limit:.2%}){why}{remedy}",
        figures={"failed": failed.height, "failed_share": share},
    )


def failure_reasons(root: DataRoot, day: dt.date) -> pl.DataFrame:
    """Why NPIs ended as failed, the most common reason first, one row each.

    ``npis`` of them for this ``reason``, which is ``share`` of all that failed, and a few as ``examples``. Reasons that
    differ in naming each its own NPI are one. Raises JournalError when the journal is not sealed.
    """
    return _by_reason(recorded_rows(root, day, "npi", "outcome", "reason").filter(_IS_FAILED))


def _by_reason(failed: pl.DataFrame) -> pl.DataFrame:
    without_npi = pl.col("reason").str.split(pl.col("npi")).list.join("{npi}")
    return (
        failed.group_by(reason=without_npi)
        .agg(npis=pl.len(), examples=pl.col("npi").sort().head(_EXAMPLES_OF_A_REASON))
        .sort(pl.col("npis"), "reason", descending=[True, False])
        .select(
            "reason",
            "npis",
            share=pl.col("npis") / failed.height,
            examples=pl.col("examples").list.join(", "),
        )
    )


def one_row_per_found_npi(root: DataRoot, day: dt.date) -> Finding:
    """The NPIs that the journal has as found and the NPIs of the provider table are the same set, none twice."""
    found = recorded_rows(root, day, "npi", "outcome").filter(pl.col("outcome") == Outcome.found.value)
    rows = _of_files(provider_parts(root, day), "npi")
    return _same_npis("the found NPIs of the journal", found.select("npi"), "the provider table", rows)


def no_unknown_fields(root: DataRoot, day: dt.date) -> Finding:
    """No record holds a field without a column, or more items than its list has columns for."""
    # Shortened at once: such a cell may be as long as an answer.
    cells = pl.col(UNKNOWN_FIELDS).str.head(_SHOWN_CHARACTERS)
    frames = (pl.read_parquet(part, columns=["npi", UNKNOWN_FIELDS]) for part in provider_parts(root, day))
    rows = pl.concat([_NO_UNKNOWN_FIELDS, *(frame.drop_nulls(UNKNOWN_FIELDS).with_columns(cells) for frame in frames)])
    if rows.is_empty():
        return Finding(holds=True, line="every field has its column", figures={"records": 0})
    examples = "; ".join(f"{npi}: {fields}" for npi, fields in rows.head(3).iter_rows())
    too_long = read_provider_table(root, day).beyond_width
    lists = "; ".join(
        f"{noticed.what} is longer than its columns in {noticed.records:,} of them ({', '.join(noticed.examples)})"
        for noticed in too_long[:3]
    )
    remedy = f"; {lists}: give it more with NPI_LIST_WIDTHS, or leave it there" if lists else ""
    return Finding(
        holds=False,
        line=f"{rows.height:,} records hold fields without a column, kept in `{UNKNOWN_FIELDS}`: {examples}{remedy}",
        figures={"records": rows.height, "lists_beyond_their_width": len(too_long)},
    )


def states_are_recognised(root: DataRoot, day: dt.date) -> Finding:
    """Every practice address has a state that is recognised."""
    rows = _of_files(provider_parts(root, day), "npi", UNRECOGNISED_STATES)
    texts = rows.explode(UNRECOGNISED_STATES).drop_nulls(UNRECOGNISED_STATES)
    counts = texts[UNRECOGNISED_STATES].value_counts(sort=True).head(_EXAMPLES)
    shown = ", ".join(f"{text!r} ({count:,})" for text, count in counts.iter_rows())
    npis = texts["npi"].unique(maintain_order=True)
    if npis.is_empty():
        return Finding(holds=True, line="every state is recognised", figures={"npis": 0})
    return Finding(
        holds=False,
        line=f"{npis.len():,} NPIs with an unrecognised state: {shown}",
        figures={"npis": npis.len(), "examples": ", ".join(npis.head(_EXAMPLES))},
    )


def databases_take_the_columns(root: DataRoot, day: dt.date) -> Finding:
    """The header is no wider than MOST_COLUMNS, which only NPI_LIST_WIDTHS can make it."""
    table = read_provider_table(root, day)
    columns = len(table.columns)
    holds = columns <= MOST_COLUMNS
    line = f"{columns:,} columns, of {MOST_COLUMNS:,} that PostgreSQL takes (SQLite 2,000, Excel 16,384)"
    if not holds:
        widest = sorted(table.widths.items(), key=lambda item: -item[1])[:3]
        line += (
            f"; the widest lists: {', '.join(f'{name}={width}' for name, width in widest)}; give them less in "
            f"NPI_LIST_WIDTHS (further items are kept in `{UNKNOWN_FIELDS}`) and run the day again"
        )
    return Finding(holds=holds, line=line, figures={"columns": columns})


def state_files_match_the_manifest(root: DataRoot, day: dt.date, files: FileSettings) -> Finding:
    """Every file of the manifest is there with its rows, bytes and SHA-256, and no other file is."""
    problems = list(verify_published(root, files.state_files_dir, day))
    if problems:
        return Finding(holds=False, line="; ".join(problems[:3]), figures={"problems": len(problems)})
    manifest = read_manifest(root, files.state_files_dir, day)
    rows = sum(file.rows for file in manifest.files)
    return Finding(
        holds=True,
        line=f"{len(manifest.files)} files with {rows:,} rows match the manifest",
        figures={"files": len(manifest.files), "rows": rows},
    )


def every_npi_is_accounted_for(root: DataRoot, day: dt.date, files: FileSettings) -> Finding:
    """The accounting identity, read from the list as it was kept and the CSVs as they lie there."""
    listed = npi_list_of_kept_bytes(root, day).npis.select("npi")
    found: list[pl.DataFrame] = []
    others: list[pl.DataFrame] = []
    manifest = read_manifest(root, files.state_files_dir, day)
    for file in manifest.files:
        npis = _rows_of_csv(root, path_of_state_file(files.state_files_dir, manifest, file), "npi")
        if npis["npi"].n_unique() != npis.height:
            return Finding(holds=False, line=f"{file.name} has an NPI twice")
        # What is no state is Failed, whatever its name: NPI_FAILED_NAME may have been another one for that day.
        (found if file.state in RECOGNISED or file.state == NO_STATE else others).append(npis)
    if not found or not others:
        lacking = "Failed" if found else "None"
        return Finding(
            holds=False, line=f"the manifest names no file {lacking}; materialise state_files of that day again"
        )
    in_states, in_failed = pl.concat(found).unique(), pl.concat(others)
    both = in_states.join(in_failed, on="npi", how="semi")
    if not both.is_empty():
        return Finding(holds=False, line=f"{both.height:,} NPIs are in a state file and in Failed: {_some(both)}")
    accounted = _same_npis("the list", listed, "the state files", pl.concat([in_states, in_failed]))
    if not accounted.holds and not _is_list_of(root, manifest):
        newer = f"the list was read again since {day} was published: run {day} again, to its end"
        return dataclasses.replace(accounted, line=f"{newer}; {accounted.line}")
    if not accounted.holds:
        return accounted
    return Finding(
        holds=True,
        line=f"{listed.height:,} NPIs in the list = {in_states.height:,} in state files and None + "
        f"{in_failed.height:,} in Failed",
        figures={
            "npis_in_list": listed.height,
            "npis_in_state_files_and_none": in_states.height,
            "npis_in_failed": in_failed.height,
        },
    )


def joins_and_leaves_match_the_lists(root: DataRoot, day: dt.date, files: FileSettings) -> Finding:
    """The NPIs that the day's changes have as joined, as left and as deactivated are those of the two days' files.

    Joined is the list less the list of the day compared with, left the reverse; deactivated is in the journal now and
    was not before. Of a day whose list or journal is newer than its publication, since its run did not come to its end,
    the published state files say who was listed and who deactivated: the changes are about what was published.
    """
    kept = read_kept_changes(root, day)
    return changes_match_the_lists(root, kept, root.chunks(kept.path), files)


def no_day_was_passed_over(root: DataRoot, day: dt.date) -> Finding:
    """The day's changes are against the published day right before it: none was passed over as damaged or half anew."""
    kept = read_kept_changes(root, day)
    apart = f"the changes of {day} are against {kept.compared_with.day if kept.compared_with else 'no day'}"
    return Finding(
        holds=not kept.passed_over,
        line="; ".join([apart, *kept.passed_over[:_EXAMPLES]])
        + (f"; then the changes of {day} are found anew by themselves" if kept.passed_over else ""),
        figures={"days_passed_over": len(kept.passed_over)},
    )


def changes_match_the_lists(root: DataRoot, kept: KeptChanges, csv: Iterable[bytes], files: FileSettings) -> Finding:
    """As ``joins_and_leaves_match_the_lists``, of changes that are or will be kept; ``csv`` is their CSV in pieces."""
    day = kept.day
    rows = _rows_of_outcomes(csv)
    if kept.compared_with is None:
        return Finding(holds=rows.is_empty(), line="no complete day before it to compare with")
    old_day = kept.compared_with.day
    old, new = (_published_npis(root, of_day, files) for of_day in (old_day, day))
    before, now = old.listed, new.listed
    deactivated = new.deactivated.join(old.deactivated, on="npi", how="anti")
    is_deactivated = pl.col("new") == Outcome.deactivated.value
    truths = (
        ("joined", "the list but not of the one before", now.join(before, on="npi", how="anti")),
        ("left", "the list before but not of this one", before.join(now, on="npi", how="anti")),
        ("deactivated", "the journal, deactivated now and not before,", deactivated),
    )
    for what, source, truth in truths:
        named = rows.filter(is_deactivated if what == "deactivated" else pl.col("change") == what)
        same = _same_npis(source, truth, f"the changes as {what}", named.select("npi"))
        if not same.holds:
            return same
    figures = {what: truth.height for what, _, truth in truths}
    counts = ", ".join(f"{count:,} {what}" for what, count in figures.items())
    line = f"against {old_day}: {counts}, as the two days' lists and journals have it"
    newer = [str(of_day) for of_day, npis in ((old_day, old), (day, new)) if not npis.are_of_list_and_journal]
    if newer:
        line += f"; list or journal of {' and '.join(newer)} is newer than what is published, so its state files count"
        line += ": run it again, to its end"
    return Finding(holds=True, line=line, figures=figures)


@dataclasses.dataclass(frozen=True)
class _PublishedNpis:
    """Who is listed on a day and who is deactivated, as it was published, and whether its state files had to say it."""

    listed: pl.DataFrame
    deactivated: pl.DataFrame
    are_of_list_and_journal: bool


def _published_npis(root: DataRoot, day: dt.date, files: FileSettings) -> _PublishedNpis:
    try:
        manifest = read_manifest(root, files.state_files_dir, day)
    except FileNotFoundError:
        manifest = None
    if manifest is None:
        return _of_list_and_journal(root, day)
    # A list that is gone or damaged since is told by the day's own checks.
    with contextlib.suppress(FileNotFoundError, KeptListError):
        if _is_list_of(root, manifest) and _is_journal_of(root, manifest):
            return _of_list_and_journal(root, day)
    paths = (path_of_state_file(files.state_files_dir, manifest, file) for file in manifest.files)
    frames = (_rows_of_csv(root, path, "npi", "outcome") for path in paths)
    rows = pl.concat(frames).unique()
    is_deactivated = pl.col("outcome") == Outcome.deactivated.value
    deactivated = rows.filter(is_deactivated).select("npi")
    return _PublishedNpis(rows.select("npi"), deactivated, are_of_list_and_journal=False)


def _of_list_and_journal(root: DataRoot, day: dt.date) -> _PublishedNpis:
    listed = kept_npi_list(root, day).npis.select("npi")
    return _PublishedNpis(listed, _deactivated(root, day), are_of_list_and_journal=True)


def _is_list_of(root: DataRoot, manifest: Manifest) -> bool:
    """Whether the list kept for the day is the one that it was published from, as far as that is known."""
    try:
        kept = read_kept_source(root, manifest.day)
        sha256 = kept.sha256 or read_kept_list(root, manifest.day).sha256
    except (FileNotFoundError, KeptListError):
        return False
    return manifest.list_sha256 in (None, sha256) and manifest.source.get("column", "") == kept.column


def _is_journal_of(root: DataRoot, manifest: Manifest) -> bool:
    """Whether the sealed journal of the day is the one that it was published from, as far as that is known."""
    return read_sealed_journal(root, manifest.day).is_recorded_as(manifest.journal_digest)


def _deactivated(root: DataRoot, day: dt.date) -> pl.DataFrame:
    outcomes = recorded_rows(root, day, "npi", "outcome")
    return outcomes.filter(pl.col("outcome") == Outcome.deactivated.value).select("npi")


def _rows_of_outcomes(csv: Iterable[bytes]) -> pl.DataFrame:
    """The rows of a day's changes that are about outcomes."""
    rows = (row for row in csv_rows(csv) if not _IS_ABOUT_A_FIELD.match(row))
    return leading_columns(rows, *(column.name for column in COLUMNS)).with_columns(_NOT_DEFUSED)


def _same_npis(one_name: str, one: pl.DataFrame, other_name: str, other: pl.DataFrame) -> Finding:
    if other["npi"].n_unique() != other.height:
        twice = other.filter(other["npi"].is_duplicated()).unique()
        return Finding(holds=False, line=f"{twice.height:,} NPIs are twice in {other_name}: {_some(twice)}")
    for have_name, have, lack_name, lack in ((one_name, one, other_name, other), (other_name, other, one_name, one)):
        missing = have.join(lack, on="npi", how="anti")
        if not missing.is_empty():
            return Finding(
                holds=False,
                line=f"{missing.height:,} NPIs of {have_name} are not in {lack_name}: {_some(missing)}",
                figures={"missing": missing.height},
            )
    return Finding(
        holds=True, line=f"{one.height:,} NPIs in {one_name}, the same in {other_name}", figures={"npis": one.height}
    )


def _some(npis: pl.DataFrame) -> str:
    shown = npis["npi"].sort().head(_EXAMPLES).to_list()
    return ", ".join(shown) + (", ..." if npis.height > _EXAMPLES else "")


def recorded_rows(root: DataRoot, day: dt.date, *columns: str) -> pl.DataFrame:
    """Some columns of the day's sealed journal."""
    frames = list(sealed_parts(root, day, columns))
    return pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))


def _of_files(parts: Iterable[Path], *columns: str) -> pl.DataFrame:
    frames = [pl.read_parquet(part, columns=list(columns)) for part in parts]
    if frames:
        return pl.concat(frames)
    types = {UNRECOGNISED_STATES: pl.List(pl.String)}
    return pl.DataFrame(schema={column: types.get(column, pl.String()) for column in columns})


def _rows_of_csv(root: DataRoot, path: str, *columns: str) -> pl.DataFrame:
    return leading_columns(csv_rows(root.chunks(path)), *columns).with_columns(_NOT_DEFUSED)
