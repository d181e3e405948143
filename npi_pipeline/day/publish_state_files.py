"""Step 4: the day's state files, from the provider table and the journal to a published day."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

from npi_pipeline.enrichment.journal import JournalError, read_sealed_journal, rows_of
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.days import state_file_name
from npi_pipeline.storage.kept_list import read_kept_source, source_of
from npi_pipeline.storage.kept_table import provider_parts, read_provider_table
from npi_pipeline.storage.manifest import Manifest
from npi_pipeline.storage.publish import publish
from npi_pipeline.tables.state_files import write_state_files


def publish_state_files(root: DataRoot, day: dt.date, files: FileSettings) -> Manifest:
    """Write and publish the state files of ``day``; what was published before is replaced whole.

    Raises FileNotFoundError when a step before has not run, JournalError also when the journal is another than the one
    that the provider table was made from, DayLockedError, StorageError.
    """
    table = read_provider_table(root, day)
    journal = read_sealed_journal(root, day)
    if table.journal_digest not in (None, journal.digest):
        # The found of the one and the failed of the other would lose an NPI that failed and is found since.
        raise JournalError(
            f"the provider table of {day} was made from an earlier journal: materialise providers for that day first"
        )
    with tempfile.TemporaryDirectory(prefix="npi-") as scratch:
        written = write_state_files(
            table,
            provider_parts(root, day),
            rows_of(root, journal),
            Path(scratch),
            lambda state: state_file_name(files, day, state),
            failed_name=files.failed_name,
            defuse_formulas=files.defuse_formulas,
        )
        manifest = Manifest(
            day=day,
            published_at=dt.datetime.now(dt.timezone.utc),
            source=source_of(read_kept_source(root, day)),
            outcomes=journal.outcomes,
            columns=tuple(column.name for column in table.columns),
            files=tuple(written),
        )
        publish(root, files.state_files_dir, Path(scratch), manifest)
    return manifest
