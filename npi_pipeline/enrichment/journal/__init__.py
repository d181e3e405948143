"""The journal of a day: every outcome, durable a second after it arrives, and sealed to one row an NPI at the end.

Below ``journal/{day}`` lie whole Parquet files, on either kind of data root:

- ``arrivals/`` holds small parts in the order of arrival, written while a run fetches; an NPI may be in several. They
  are in a folder for each registry, named by a digest of its identity: what another registry said counts for nothing.
- ``sealed/`` holds the rows of the day's list, one each, sorted by NPI, a part for every 5,000 NPIs of the list.
- ``journal.json`` names the sealed parts and is written after them: its presence says that the journal is sealed.
- ``damaged/`` holds parts that were found damaged. A part's name ends in a digest of its bytes, to tell for certain.

Whoever writes here holds the day's lock (``storage.day_lock``). Not here: fetching, and what a body means.
"""

from npi_pipeline.enrichment.journal.parts import JournalError, SealedJournal, SealedPart
from npi_pipeline.enrichment.journal.reading import read_outcomes, read_sealed_journal, rows_of, sealed_parts
from npi_pipeline.enrichment.journal.reuse import reuse_answers
from npi_pipeline.enrichment.journal.rows import IS_FINAL, SCHEMA, WITHOUT_BODY, frame_of
from npi_pipeline.enrichment.journal.sealing import SEALED_PART_ROWS, seal_journal
from npi_pipeline.enrichment.journal.writer import JournalWriter

__all__ = [
    "IS_FINAL",
    "SCHEMA",
    "SEALED_PART_ROWS",
    "WITHOUT_BODY",
    "JournalError",
    "JournalWriter",
    "SealedJournal",
    "SealedPart",
    "frame_of",
    "read_outcomes",
    "read_sealed_journal",
    "reuse_answers",
    "rows_of",
    "seal_journal",
    "sealed_parts",
]
