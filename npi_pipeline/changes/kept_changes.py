"""The day's changes as they are kept: the CSV, and ``changes.json``, whose presence says that the CSV is whole.

Not here: how changes are found (``npi_pipeline.changes.write_changes``) and with which day a day is compared
(``npi_pipeline.changes.find_changes``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from npi_pipeline.days.paths import CHANGES_NAME, provider_changes_folder
from npi_pipeline.errors import PipelineError
from npi_pipeline.state_files.manifest import Manifest
from npi_pipeline.storage.data_root import DataRoot, HeldLock


class ChangesError(PipelineError):
    """A ``changes.json`` that cannot be understood. One line says why, and the remedy."""


@dataclasses.dataclass(frozen=True, slots=True)
class ChangesFile:
    """The CSV of a day's changes: ``rows`` without the header, ``sha256`` of its bytes in hex.

    ``folder`` is where it lies, below the folder of ``changes.json``; beside that on a local root ("").
    """

    name: str
    rows: int
    bytes: int
    sha256: str
    folder: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Publication:
    """One publication of a day's state files: a day that is made anew has another one.

    ``manifest_sha256`` tells two publications within a second apart.
    """

    day: dt.date
    published_at: dt.datetime
    manifest_sha256: str

    @classmethod
    def of(cls, manifest: Manifest) -> Publication:
        """The publication that ``manifest`` is of."""
        return cls(manifest.day, manifest.published_at, manifest.sha256)


@dataclasses.dataclass(frozen=True, slots=True)
class ChangedField:
    """A column that changed: for how many providers, and the first of them with its old and new cell."""

    field: str
    providers: int
    npi: str
    old: str
    new: str


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """What is known of the changes besides their counts: as ``write_changes.Changes`` has it, for JSON."""

    outcome_changes: tuple[tuple[str, str, int], ...]
    fields: tuple[ChangedField, ...]
    preview: tuple[tuple[str | None, str | None, str | None, str | None, str | None], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptChanges:
    """A day's changes.

    ``compared_with`` is the complete day right before it, None when there is none. ``fields_compared`` is False when
    the two days were recorded in different registry formats; ``escape_formulas`` is what was set when the file was
    written. ``counts`` and ``summary`` are those of ``write_changes.Changes``, and ``input_digest`` is a digest of all
    that shows in the file and of the rest of these fields.
    ``skipped`` has a line for each published day in between that could not be compared with: why, and the remedy.
    """

    version: Literal[1] = 1
    publication: Publication
    compared_with: Publication | None
    skipped: tuple[str, ...] = ()
    fields_compared: bool
    escape_formulas: bool = True
    counts: Mapping[str, int]
    file: ChangesFile
    input_digest: str = ""
    summary: Summary

    @property
    def day(self) -> dt.date:
        """The day whose changes they are."""
        return self.publication.day

    @property
    def path(self) -> str:
        """Where the CSV lies below the data root."""
        folder = provider_changes_folder(self.day)
        return f"{folder}/{self.file.folder}/{self.file.name}" if self.file.folder else f"{folder}/{self.file.name}"

    def in_folder(self, folder: str) -> KeptChanges:
        """The same, with the CSV in that ``folder``."""
        return dataclasses.replace(self, file=dataclasses.replace(self.file, folder=folder))

    def to_json(self) -> bytes:
        """The content of ``changes.json``."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> KeptChanges:
        """The inverse of ``to_json``. Raises ChangesError."""
        try:
            return _DECODER.decode(data)
        except (ValueError, RecursionError) as error:
            raise ChangesError(f"it cannot be understood: {error}") from error


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(KeptChanges)


def keep_changes(root: DataRoot, folder: Path, kept: KeptChanges, held: HeldLock) -> KeptChanges:
    """Make the CSV in the local ``folder`` the changes of the day; it may be moved away. Returns them as they are kept.

    ``held`` is the day's lock on its changes. Raises StorageError, LockedError when the lock was lost.
    """
    return kept.in_folder(
        root.replace_folder(
            provider_changes_folder(kept.day),
            folder,
            CHANGES_NAME,
            lambda subfolder: kept.in_folder(subfolder).to_json(),
            held,
        )
    )


def read_kept_changes(root: DataRoot, day: dt.date) -> KeptChanges:
    """The changes kept for ``day``. Raises FileNotFoundError when there are none, ChangesError."""
    path = f"{provider_changes_folder(day)}/{CHANGES_NAME}"
    try:
        return KeptChanges.from_json(root.read(path))
    except ChangesError as error:
        raise ChangesError(f"{root.uri(path)}: {error}; materialise provider_changes for {day} again") from error
