"""What is claimed of a day's state files: first of all the accounting identity.

distinct NPIs in the list = NPIs in state files and None + NPIs in Failed, and the two sides are disjoint
"""

from __future__ import annotations

import dataclasses
import datetime as dt

import polars as pl

from npi_pipeline.findings import Finding, same_npis, some_npis
from npi_pipeline.npi_list.keep_npi_list import npi_list_of_kept_bytes
from npi_pipeline.providers.provider_table import NO_STATE
from npi_pipeline.providers.states import STATES as RECOGNISED
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.publish import path_of_state_file, read_manifest, verify_published
from npi_pipeline.state_files.published import is_list_of, rows_of_state_file
from npi_pipeline.storage.data_root import DataRoot


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
        npis = rows_of_state_file(root, path_of_state_file(files.state_files_dir, manifest, file), "npi")
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
        return Finding(holds=False, line=f"{both.height:,} NPIs are in a state file and in Failed: {some_npis(both)}")
    accounted = same_npis("the list", listed, "the state files", pl.concat([in_states, in_failed]))
    if not accounted.holds and not is_list_of(root, manifest):
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
