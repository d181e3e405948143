"""Whether a day's changes agree with the two days' lists and journals: proven before they are kept, and by a check."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import re
from collections.abc import Iterable

import polars as pl

from npi_pipeline.changes.kept_changes import KeptChanges
from npi_pipeline.changes.write_changes import COLUMNS
from npi_pipeline.findings import Finding, Npis, joined, same_npis
from npi_pipeline.journal import JournalError, compacted_parts
from npi_pipeline.npi_list.keep_npi_list import kept_npi_list
from npi_pipeline.npi_list.kept_list import KeptListError
from npi_pipeline.outcomes import Outcome
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.csv_files import csv_rows, leading_columns
from npi_pipeline.state_files.publish import path_of_state_file, read_manifest
from npi_pipeline.state_files.published import UNESCAPED, is_journal_of, is_list_of, rows_of_state_file
from npi_pipeline.storage.data_root import DataRoot

_IS_ABOUT_A_FIELD = re.compile(rb"[^,]*,field,")


def changes_match_the_lists(root: DataRoot, kept: KeptChanges, csv: Iterable[bytes], files: FileSettings) -> Finding:
    """The NPIs that the changes have as joined, as left and as deactivated are those of the two days' files.

    Joined is the list less the list of the day compared with, left the reverse; deactivated is in the journal now and
    was not before. Of a day whose list or journal is damaged, or newer than its publication since its run did not come
    to its end, the published state files say who was listed and who deactivated: they are what the changes are about.
    ``csv`` is the file of the changes in pieces, kept or about to be.
    """
    day = kept.day
    rows = _rows_of_outcomes(csv)
    if kept.compared_with is None:
        return Finding(holds=rows.is_empty(), line="no complete day before it to compare with")
    old_day = kept.compared_with.day
    old, new = (_published_npis(root, of_day, files) for of_day in (old_day, day))
    before, now = old.listed, new.listed
    deactivated = new.deactivated.without(old.deactivated)
    is_deactivated = pl.col("new") == Outcome.deactivated.value
    truths = (
        ("joined", "the list but not of the one before", now.without(before)),
        ("left", "the list before but not of this one", before.without(now)),
        ("deactivated", "the journal, deactivated now and not before,", deactivated),
    )
    for what, source, truth in truths:
        named = rows.filter(is_deactivated if what == "deactivated" else pl.col("change") == what)
        same = same_npis(source, truth, f"the changes as {what}", Npis.of([named["npi"]]))
        if not same.holds:
            return same
    figures = {what: len(truth) for what, _, truth in truths}
    counts = ", ".join(f"{count:,} {what}" for what, count in figures.items())
    line = f"against {old_day}: {counts}, as the two days' lists and journals have it"
    newer = [str(of_day) for of_day, npis in ((old_day, old), (day, new)) if not npis.are_of_list_and_journal]
    if newer:
        line += f"; list or journal of {' and '.join(newer)} is newer than what is published or damaged, so its state "
        line += "files count"
        line += ": run it again, to its end"
    return Finding(holds=True, line=line, figures=figures)


@dataclasses.dataclass(frozen=True)
class _PublishedNpis:
    """Who is listed on a day and who is deactivated, as it was published, and whether its state files had to say it."""

    listed: Npis
    deactivated: Npis
    are_of_list_and_journal: bool


def _published_npis(root: DataRoot, day: dt.date, files: FileSettings) -> _PublishedNpis:
    try:
        manifest = read_manifest(root, files.state_files_dir, day)
    except FileNotFoundError:
        return _of_list_and_journal(root, day)
    # A list or a journal that is gone or damaged since is told by the day's own checks.
    with contextlib.suppress(FileNotFoundError, KeptListError, JournalError):
        if is_list_of(root, manifest) and is_journal_of(root, manifest):
            return _of_list_and_journal(root, day)
    paths = (path_of_state_file(files.state_files_dir, manifest, file) for file in manifest.files)
    frames = (rows_of_state_file(root, path, "npi", "outcome") for path in paths)
    sides = [(Npis.of([rows["npi"]]), Npis.of([_deactivated(rows)])) for rows in frames]
    listed, deactivated = (joined(of_files).distinct() for of_files in zip(*sides, strict=True))
    return _PublishedNpis(listed, deactivated, are_of_list_and_journal=False)


def _of_list_and_journal(root: DataRoot, day: dt.date) -> _PublishedNpis:
    deactivated = (_deactivated(part) for part in compacted_parts(root, day, ("npi", "outcome")))
    return _PublishedNpis(kept_npi_list(root, day).as_set, Npis.of(deactivated), are_of_list_and_journal=True)


def _deactivated(rows: pl.DataFrame) -> pl.Series:
    """The NPIs of the rows whose ``outcome`` is that."""
    return rows.filter(pl.col("outcome") == Outcome.deactivated.value)["npi"]


def _rows_of_outcomes(csv: Iterable[bytes]) -> pl.DataFrame:
    """The rows of a day's changes that are about outcomes."""
    rows = (row for row in csv_rows(csv) if not _IS_ABOUT_A_FIELD.match(row))
    return leading_columns(rows, *(column.name for column in COLUMNS)).with_columns(UNESCAPED)
