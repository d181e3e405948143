"""The day's provider table: its Parquet parts, and ``table.json``, which names them and says what is known of them.

Not here: how records become rows (``provider_table``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import tempfile
from collections.abc import Generator
from pathlib import Path

from npi_pipeline.days.paths import TABLE_NAME, provider_table_folder
from npi_pipeline.errors import PipelineError
from npi_pipeline.providers.provider_table import ProviderTable
from npi_pipeline.storage.data_root import CHUNK_BYTES, DataRoot, HeldLock


class TableError(PipelineError):
    """A provider table that cannot be understood, or is damaged. One line says why, and the remedy."""


@dataclasses.dataclass(frozen=True, slots=True)
class TablePart:
    """One Parquet part: its name, and the SHA-256 of its bytes in hex."""

    name: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class KeptTable:
    """The provider table of a day.

    ``folder`` is where the parts lie, below the folder of ``table.json``; beside that on a local root (""). ``parts``
    are in the order of their NPIs; None in tables of earlier releases, of which all parts in the folder are.
    """

    day: dt.date
    table: ProviderTable
    parts: tuple[TablePart, ...] | None
    folder: str = ""

    @property
    def paths(self) -> list[str]:
        """The paths of the parts below the data root; none of a table that does not name them."""
        folder = provider_table_folder(self.day)
        below = f"{folder}/{self.folder}" if self.folder else folder
        return [f"{below}/{part.name}" for part in self.parts or ()]

    def to_json(self) -> bytes:
        """The content of ``table.json``."""
        content = {
            **({"folder": self.folder} if self.folder else {}),
            "parts": [dataclasses.asdict(part) for part in self.parts or ()],
            "table": json.loads(self.table.to_json()),
        }
        return (json.dumps(content, indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, day: dt.date, data: bytes) -> KeptTable:
        """The inverse of ``to_json``. Raises TableError."""
        try:
            content = json.loads(data)
            if "table" not in content:
                return cls(day, ProviderTable.from_json(data), parts=None)
            return cls(
                day,
                ProviderTable.from_json(json.dumps(content["table"]).encode()),
                tuple(TablePart(**part) for part in content["parts"]),
                content.get("folder", ""),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise TableError(f"it cannot be understood: {type(error).__name__} {error}") from error


def keep_provider_table(root: DataRoot, day: dt.date, folder: Path, table: ProviderTable, held: HeldLock) -> None:
    """Make the parts in the local ``folder`` the table of ``day``; they may be moved away.

    ``held`` is the day's lock on the table, taken before anything was read that the parts are made of.
    Raises StorageError, LockedError when the lock was lost.
    """
    parts = tuple(TablePart(part.name, _sha256(part)) for part in sorted(folder.iterdir()))
    root.replace_folder(
        provider_table_folder(day),
        folder,
        TABLE_NAME,
        lambda subfolder: KeptTable(day, table, parts, subfolder).to_json(),
        held,
    )


def read_kept_table(root: DataRoot, day: dt.date) -> KeptTable:
    """The table of ``day``. Raises FileNotFoundError when ``providers`` has not run, TableError."""
    path = f"{provider_table_folder(day)}/{TABLE_NAME}"
    try:
        return KeptTable.from_json(day, root.read(path))
    except TableError as error:
        raise TableError(f"{root.uri(path)}: {error}; {_remedy(day)}") from error


def read_provider_table(root: DataRoot, day: dt.date) -> ProviderTable:
    """What is known of the table of ``day`` as a whole. Raises as ``read_kept_table`` does."""
    return read_kept_table(root, day).table


def parts_of(root: DataRoot, kept: KeptTable) -> Generator[Path]:
    """The parts of this very table in the order of their NPIs, each a local file until the next.

    Raises TableError when one is missing or damaged, StorageError.
    """
    if kept.parts is None:
        stored = root.list(provider_table_folder(kept.day))
        paths: dict[str, str | None] = dict.fromkeys(file.path for file in stored if file.path.endswith(".parquet"))
    else:
        paths = dict(zip(kept.paths, (part.sha256 for part in kept.parts), strict=True))
    with tempfile.TemporaryDirectory(prefix="npi-") as scratch:
        part = Path(scratch) / "part.parquet"
        for path, sha256 in paths.items():
            try:
                root.download(path, part)
            except FileNotFoundError as error:
                raise TableError(f"{root.uri(path)} is missing: {_remedy(kept.day)}") from error
            if sha256 not in (None, _sha256(part)):
                raise TableError(f"{root.uri(path)} is damaged: {_remedy(kept.day)}")
            yield part


def provider_parts(root: DataRoot, day: dt.date) -> Generator[Path]:
    """The Parquet parts of the table of ``day``, as ``parts_of`` gives them; raises as ``read_kept_table`` does too."""
    yield from parts_of(root, read_kept_table(root, day))


def _remedy(day: dt.date) -> str:
    return f"materialise providers for {day} again"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
