"""What a published day was made from, and the leading columns of its files, read back for proofs.

Not here: whether the files are as the manifest says (``verification``), and what is claimed of them (``proofs``).
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from npi_pipeline.journal import read_compacted_journal
from npi_pipeline.npi_list.kept_list import KeptListError, read_kept_source
from npi_pipeline.state_files.csv_files import csv_rows, leading_columns
from npi_pipeline.state_files.manifest import Manifest
from npi_pipeline.storage.data_root import DataRoot

# An invalid NPI may look like a formula; a list's NPIs never begin with the quote that escapes it.
UNESCAPED = pl.col("npi").fill_null("").str.strip_prefix("'")


def rows_of_state_file(root: DataRoot, path: str, *columns: str) -> pl.DataFrame:
    """The first ``columns`` of the state file at ``path``, as text; NPIs as they are in the list. Raises ValueError."""
    return rows_in(root.chunks(path), *columns)


def rows_in(chunks: Iterable[bytes], *columns: str) -> pl.DataFrame:
    """The first ``columns`` of a state file, given in pieces, as ``rows_of_state_file`` has them. Raises ValueError."""
    return leading_columns(csv_rows(chunks), *columns).with_columns(UNESCAPED)


def is_list_of(root: DataRoot, manifest: Manifest) -> bool:
    """Whether the list kept for the day is the one that it was published from."""
    try:
        kept = read_kept_source(root, manifest.day)
    except (FileNotFoundError, KeptListError):
        return False
    return (kept.sha256, kept.column) == (manifest.list_sha256, manifest.source.get("column"))


def is_journal_of(root: DataRoot, manifest: Manifest) -> bool:
    """Whether the compacted journal of the day is the one that it was published from."""
    return read_compacted_journal(root, manifest.day).digest == manifest.journal_digest
