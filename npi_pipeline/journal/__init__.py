"""The journal of a day: every outcome, durable a second after it arrives, and compacted to one row per NPI at the end.

Below ``journal/day={day}`` lie whole Parquet files, on either kind of data root:

- ``segments/`` holds small parts in the order of arrival, written while a run fetches; an NPI may be in several. They
  are in a folder for each registry, named by a digest of its identity: what another registry said counts for nothing.
  In it, those of a shard are in a folder of their own.
- ``compacted/`` holds the rows of the day's list, one each, sorted by NPI, a part for every 5,000 NPIs of the list.
- ``outcomes/`` holds the same without the bodies, part by part: a few hundredths of the bytes, and all that most
  readers need. It is alone where the bodies stand in a snapshot of the registry and are no day's own.
- ``journal.json`` names the compacted parts and is written after them: its presence says that the journal is compacted.
- ``refetch.json`` says from which run on NPIs were asked for afresh, for the runs that go on with that one.
- ``probes.json`` says what a registry in doubt said about NPIs that it had found lately
  (``npi_records.registry_probe``).
- ``shards/`` holds the plan of a day in shards, and what became of them (``npi_records.shard_plan``).
- ``damaged/`` holds parts that were found damaged. A part's name ends in a digest of its bytes, to tell for certain,
  and begins with its day, so that a copy of another day's is refused.

Whoever writes here holds the day's lock (``days.lock``). Not here: fetching, and what a body means.
"""

from npi_pipeline.journal.compaction import (
    COMPACTED_PART_ROWS,
    compact_journal,
    keep_snapshot_outcomes,
    unchanged_journal,
)
from npi_pipeline.journal.reader import compacted_parts, read_compacted_journal, read_outcomes, rows_of
from npi_pipeline.journal.refetch import first_run_of_refetch
from npi_pipeline.journal.reuse import reuse_answers
from npi_pipeline.journal.rows import IS_FINAL, SCHEMA, WITHOUT_BODY, frame_of, next_run
from npi_pipeline.journal.segments import (
    CompactedJournal,
    CompactedPart,
    ForeignJournalError,
    JournalDamagedError,
    JournalError,
    add_rows,
    load_compacted_journal,
)
from npi_pipeline.journal.snapshot_rows import bodies_of, found_records, with_digests
from npi_pipeline.journal.writer import JournalWriter

__all__ = [
    "COMPACTED_PART_ROWS",
    "IS_FINAL",
    "SCHEMA",
    "WITHOUT_BODY",
    "CompactedJournal",
    "CompactedPart",
    "ForeignJournalError",
    "JournalDamagedError",
    "JournalError",
    "JournalWriter",
    "add_rows",
    "bodies_of",
    "compact_journal",
    "compacted_parts",
    "first_run_of_refetch",
    "found_records",
    "frame_of",
    "keep_snapshot_outcomes",
    "load_compacted_journal",
    "next_run",
    "read_compacted_journal",
    "read_outcomes",
    "reuse_answers",
    "rows_of",
    "unchanged_journal",
    "with_digests",
]
