"""The journal of a day: every outcome, durable a second after it arrives, and sealed to one row an NPI at the end.

Below ``journal/{day}`` lie whole Parquet files, on either kind of data root:

- ``arrivals/`` holds small parts in the order of arrival, written while a run fetches; an NPI may be in several. They
  are in a folder for each registry, named by a digest of its identity: what another registry said counts for nothing.
- ``sealed/`` holds the rows of the day's list, one each, sorted by NPI, a part for every 5,000 NPIs of the list.
- ``journal.json`` names the sealed parts and is written after them: its presence says that the journal is sealed.
- ``asking.json`` says from which run on NPIs were asked for afresh, for the runs that go on with that one.
- ``probes.json`` says what a registry in doubt said about NPIs that it had found lately (``npi_records.probe``).
- ``damaged/`` holds parts that were found damaged. A part's name ends in a digest of its bytes, to tell for certain,
  and begins with its day, so that a copy of another day's is refused.

Whoever writes here holds the day's lock (``days.lock``). Not here: fetching, and what a body means.
"""

from npi_pipeline.journal.asking import first_run_of_asking
from npi_pipeline.journal.parts import (
    ForeignJournalError,
    JournalDamagedError,
    JournalError,
    SealedJournal,
    SealedPart,
)
from npi_pipeline.journal.reading import read_outcomes, read_sealed_journal, recorded_rows, rows_of, sealed_parts
from npi_pipeline.journal.reuse import reuse_answers
from npi_pipeline.journal.rows import IS_FINAL, SCHEMA, WITHOUT_BODY, frame_of, next_run
from npi_pipeline.journal.sealing import SEALED_PART_ROWS, seal_journal, unchanged_journal
from npi_pipeline.journal.writer import JournalWriter

__all__ = [
    "IS_FINAL",
    "SCHEMA",
    "SEALED_PART_ROWS",
    "WITHOUT_BODY",
    "ForeignJournalError",
    "JournalDamagedError",
    "JournalError",
    "JournalWriter",
    "SealedJournal",
    "SealedPart",
    "first_run_of_asking",
    "frame_of",
    "next_run",
    "read_outcomes",
    "read_sealed_journal",
    "recorded_rows",
    "reuse_answers",
    "rows_of",
    "seal_journal",
    "sealed_parts",
    "unchanged_journal",
]
