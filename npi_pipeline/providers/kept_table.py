"""The day's provider table: its Parquet parts, and ``table.json``, which names them and says what is known of them.

Not here: how records become rows (``provider_table``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import tempfile
from collections.abc import Generator
from pathlib import Path

import msgspec

from npi_pipeline.days.paths import TABLE_NAME, provider_table_folder
from npi_pipeline.errors import PipelineError
from npi_pipeline.providers.provider_table import ProviderTable
from npi_pipeline.storage.data_root import CHUNK_BYTES, DataRoot, HeldLock

_DIGITS_IN_NAME = 16


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

    ``parts`` are in the order of their NPIs. ``folder`` is where they lie, below the folder of ``table.json``; beside
    that on a local root ("").
    """

    day: dt.date
    table: ProviderTable
    parts: tuple[TablePart, ...]
    folder: str = ""

    @property
    def paths(self) -> list[str]:
        """The paths of the parts below the data root."""
        folder = provider_table_folder(self.day)
        below = f"{folder}/{self.folder}" if self.folder else folder
        return [f"{below}/{part.name}" for part in self.parts]

    def to_json(self) -> bytes:
        """The content of ``table.json``."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> KeptTable:
        """The inverse of ``to_json``. Raises TableError."""
        try:
            return _DECODER.decode(data)
        except (ValueError, RecursionError) as error:
            raise TableError(f"it cannot be understood: {error}") from error


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(KeptTable)


def keep_provider_table(root: DataRoot, day: dt.date, folder: Path, table: ProviderTable, held: HeldLock) -> None:
    """Make the parts in the local ``folder`` the table of ``day``; they may be moved away.

    ``held`` is the day's lock on the table, taken before anything was read that the parts are made of.
    Raises StorageError, LockedError when the lock was lost.
    """
    parts = tuple(map(_named_by_content, sorted(folder.iterdir())))
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
        kept = KeptTable.from_json(root.read(path))
    except TableError as error:
        raise TableError(f"{root.uri(path)}: {error}; {_remedy(day)}") from error
    if kept.day != day:
        raise TableError(f"{root.uri(path)} is of {kept.day} and not of {day}; {_remedy(day)}")
    return kept


def read_provider_table(root: DataRoot, day: dt.date) -> ProviderTable:
    """What is known of the table of ``day`` as a whole. Raises as ``read_kept_table`` does."""
    return read_kept_table(root, day).table


def parts_of(root: DataRoot, kept: KeptTable) -> Generator[Path]:
    """The parts of this very table in the order of their NPIs, each a local file until the next.

    Raises TableError when one is missing or damaged, StorageError.
    """
    with tempfile.TemporaryDirectory(prefix="npi-") as scratch:
        part = Path(scratch) / "part.parquet"
        for path, known in zip(kept.paths, kept.parts, strict=True):
            try:
                root.download(path, part)
            except FileNotFoundError as error:
                raise TableError(f"{root.uri(path)} is missing: {_remedy(kept.day)}") from error
            if _sha256(part) != known.sha256:
                raise TableError(f"{root.uri(path)} is damaged: {_remedy(kept.day)}")
            yield part


def provider_parts(root: DataRoot, day: dt.date) -> Generator[Path]:
    """The Parquet parts of the table of ``day``, as ``parts_of`` gives them; raises as ``read_kept_table`` does too."""
    yield from parts_of(root, read_kept_table(root, day))


def _named_by_content(part: Path) -> TablePart:
    """Give a part a name that no part with other rows has: a reader of an earlier table never gets this one's."""
    sha256 = _sha256(part)
    named = part.rename(part.with_stem(f"{part.stem}-{sha256[:_DIGITS_IN_NAME]}"))
    return TablePart(named.name, sha256)


def _remedy(day: dt.date) -> str:
    return f"materialise providers for {day} again"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
