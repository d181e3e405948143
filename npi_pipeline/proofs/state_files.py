"""What is claimed of a day's state files: first of all the accounting identity.

distinct NPIs in the list = NPIs in state files and None + NPIs in Failed, and the two sides are disjoint
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping

from npi_pipeline.findings import Finding, Npis, joined, same_npis
from npi_pipeline.npi_list.keep_npi_list import npi_list_of_kept_bytes
from npi_pipeline.providers.provider_table import NO_STATE
from npi_pipeline.providers.states import STATES as RECOGNISED
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.manifest import Manifest, StateFile
from npi_pipeline.state_files.published import is_list_of
from npi_pipeline.state_files.verification import PublishedFiles, read_published
from npi_pipeline.storage.data_root import DataRoot


def read_state_files(root: DataRoot, day: dt.date, files: FileSettings) -> PublishedFiles:
    """What both claims about the published files are proven from, in one pass over each of them."""
    return read_published(root, files.state_files_dir, day)


def state_files_match_the_manifest(
    root: DataRoot, day: dt.date, files: FileSettings, reading: PublishedFiles | None = None
) -> Finding:
    """Every file of the manifest is there with its rows, bytes and SHA-256, and no other file is."""
    published = reading or read_state_files(root, day, files)
    manifest, problems = published.manifest, published.problems
    if manifest is None or problems:
        return Finding(holds=False, line="; ".join(problems[:3]), figures={"problems": len(problems)})
    rows = sum(file.rows for file in manifest.files)
    return Finding(
        holds=True,
        line=f"{len(manifest.files)} files with {rows:,} rows match the manifest",
        figures={"files": len(manifest.files), "rows": rows},
    )


def every_npi_is_accounted_for(
    root: DataRoot, day: dt.date, files: FileSettings, reading: PublishedFiles | None = None
) -> Finding:
    """The accounting identity, read from the list as it was kept and the CSVs as they lie there."""
    listed = npi_list_of_kept_bytes(root, day).as_set
    published = reading or read_state_files(root, day, files)
    manifest = published.manifest
    if manifest is None or any(file.name not in published.npis for file in manifest.files):
        return Finding(holds=False, line="; ".join(published.problems[:3]))
    problem = _cannot_be_counted(manifest, published.npis)
    if problem is not None:
        return Finding(holds=False, line=problem)
    found = [published.npis[file.name] for file in manifest.files if _is_of_found(file)]
    others = [published.npis[file.name] for file in manifest.files if not _is_of_found(file)]
    in_states, in_failed = joined(found).distinct(), joined(others)
    both = in_states.within(in_failed)
    if both:
        return Finding(holds=False, line=f"{len(both):,} NPIs are in a state file and in Failed: {both.some()}")
    accounted = same_npis("the list", listed, "the state files", joined([in_states, in_failed]))
    if not accounted.holds and not is_list_of(root, manifest):
        newer = f"the list was read again since {day} was published: run {day} again, to its end"
        return dataclasses.replace(accounted, line=f"{newer}; {accounted.line}")
    if not accounted.holds:
        return accounted
    return Finding(
        holds=True,
        line=f"{len(listed):,} NPIs in the list = {len(in_states):,} in state files and None + "
        f"{len(in_failed):,} in Failed",
        figures={
            "npis_in_list": len(listed),
            "npis_in_state_files_and_none": len(in_states),
            "npis_in_failed": len(in_failed),
        },
    )


def _is_of_found(file: StateFile) -> bool:
    """Whether the NPIs of ``file`` were found."""
    # What is no state is Failed, whatever its name: NPI_FAILED_NAME may have been another one for that day.
    return file.state in RECOGNISED or file.state == NO_STATE


def _cannot_be_counted(manifest: Manifest, npis_of_files: Mapping[str, Npis]) -> str | None:
    """Why the NPIs of the files cannot be held against the list, if they cannot."""
    for name, npis in npis_of_files.items():
        if npis.repeated():
            return f"{name} has an NPI twice"
    sides = {_is_of_found(file) for file in manifest.files}
    if sides == {True, False}:
        return None
    lacking = "Failed" if True in sides else "None"
    return f"the manifest names no file {lacking}; materialise state_files of that day again"
