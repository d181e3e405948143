"""The day's provider table: its Parquet parts, and beside them what is known of it as a whole.

Not here: how records become rows (``npi_pipeline.tables``).
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Generator
from pathlib import Path

from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.day_lock import day_lock
from npi_pipeline.storage.days import PROVIDER_TABLE, TABLE_NAME, provider_table_folder
from npi_pipeline.tables.provider_table import ProviderTable


def keep_provider_table(root: DataRoot, day: dt.date, folder: Path, table: ProviderTable) -> None:
    """Make the parts in the local ``folder`` the table of ``day``; they may be moved away. Raises DayLockedError."""
    (folder / TABLE_NAME).write_bytes(table.to_json())
    with day_lock(root, day, PROVIDER_TABLE) as held:
        root.replace_folder(provider_table_folder(day), folder, TABLE_NAME, held)


def read_provider_table(root: DataRoot, day: dt.date) -> ProviderTable:
    """What is known of the table of ``day``. Raises FileNotFoundError when ``providers`` has not run."""
    return ProviderTable.from_json(root.read(f"{provider_table_folder(day)}/{TABLE_NAME}"))


def provider_parts(root: DataRoot, day: dt.date) -> Generator[Path]:
    """The Parquet parts of the table of ``day`` in the order of their NPIs, each a local file until the next."""
    with tempfile.TemporaryDirectory(prefix="npi-") as scratch:
        part = Path(scratch) / "part.parquet"
        for stored in root.list(provider_table_folder(day)):
            if stored.path.endswith(".parquet"):
                root.download(stored.path, part)
                yield part
