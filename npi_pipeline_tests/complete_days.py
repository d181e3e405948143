"""Complete days made by the steps themselves, from outcomes that a test gives instead of a registry."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import polars as pl

from npi_pipeline.days.lock import day_lock
from npi_pipeline.journal import JournalWriter, compact_journal
from npi_pipeline.npi_list import parse_npi_list
from npi_pipeline.npi_list.kept_list import keep_list
from npi_pipeline.npi_list.kept_npis import keep_npis
from npi_pipeline.npi_list.source import ListObject, ListSelection
from npi_pipeline.outcomes import NpiOutcome, Outcome, Verdict
from npi_pipeline.proofs.day_status import DayState, status_of_day
from npi_pipeline.proofs.npi_records import every_npi_has_one_outcome
from npi_pipeline.proofs.provider_changes import joins_and_leaves_match_the_lists
from npi_pipeline.proofs.providers import one_row_per_found_npi
from npi_pipeline.proofs.state_files import every_npi_is_accounted_for, state_files_match_the_manifest
from npi_pipeline.providers.flatten_records import flatten_records
from npi_pipeline.registries import FORMATS
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.manifest import Manifest
from npi_pipeline.state_files.publish_state_files import publish_state_files
from npi_pipeline.storage.data_root import DataRoot

MORNING = dt.datetime(2026, 11, 23, 6, tzinfo=dt.timezone.utc)
Outcomes = Mapping[str, "str | Outcome"]
"""By NPI the body of a found provider, or another outcome."""


def keep(root: DataRoot, day: dt.date, outcomes: Outcomes) -> None:
    """Keep a list of these NPIs for ``day``."""
    listed = ListObject(
        bucket="bucket",
        key="npi_list.txt",
        version_id=None,
        etag="etag",
        last_modified=MORNING,
        selection=ListSelection.current,
        body="\n".join(["npi", *outcomes]).encode(),
    )
    keep_npis(root, day, parse_npi_list(listed.body), listed.sha256, "")
    keep_list(root, day, listed)


def record(root: DataRoot, day: dt.date, outcomes: Outcomes, format_name: str = "nppes") -> None:
    """Compact the journal of ``day`` with these outcomes, the latest of which counts."""
    now = dt.datetime.now(dt.timezone.utc)
    registry = f"{format_name} registry"
    with day_lock(root, day) as held:
        with JournalWriter(root, day, run=1, registry=registry) as journal:
            for npi, outcome in outcomes.items():
                if isinstance(outcome, Outcome):
                    journal.append(NpiOutcome(npi, Verdict(outcome, f"it is {outcome.value}"), now, body="{}"))
                else:
                    journal.append(NpiOutcome(npi, Verdict(Outcome.found), now, body=outcome))
        compact_journal(root, day, pl.Series("npi", list(outcomes)), held, registry=registry)


def assert_complete(root: DataRoot, day: dt.date, files: FileSettings | None = None) -> None:
    """Assert that ``day`` is complete, and that what is claimed of its files holds."""
    files = files or FileSettings()
    assert status_of_day(root, files, day).state is DayState.complete
    for claim in (every_npi_has_one_outcome, one_row_per_found_npi):
        assert claim(root, day).holds, claim(root, day).line
    for proof in (every_npi_is_accounted_for, state_files_match_the_manifest, joins_and_leaves_match_the_lists):
        assert proof(root, day, files).holds, proof(root, day, files).line


def complete(
    root: DataRoot,
    day: dt.date,
    outcomes: Outcomes,
    files: FileSettings | None = None,
    *,
    format_name: str = "nppes",
) -> Manifest:
    """Make ``day`` complete with these outcomes."""
    files = files or FileSettings()
    keep(root, day, outcomes)
    record(root, day, outcomes, format_name)
    flatten_records(root, day, FORMATS[format_name].layout, files.pinned_widths())
    return publish_state_files(root, day, files)
