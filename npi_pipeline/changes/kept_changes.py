"""The day's changes as they are kept: the CSV, and ``changes.json``, whose presence says that the CSV is whole.

Not here: how changes are found (``npi_pipeline.changes.write_changes``) and with which day a day is compared
(``npi_pipeline.changes.find_changes``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from npi_pipeline.days.paths import CHANGES_NAME, provider_changes_folder
from npi_pipeline.errors import PipelineError
from npi_pipeline.state_files.manifest import Manifest
from npi_pipeline.storage.data_root import DataRoot, HeldLock

VERSION = 1


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
        return cls(manifest.day, manifest.published_at, hashlib.sha256(manifest.to_json()).hexdigest())


@dataclasses.dataclass(frozen=True)
class KeptChanges:
    """A day's changes.

    ``compared_with`` is the complete day right before it, None when there is none. ``fields_compared`` is False when
    the two days were recorded in different registry formats. ``counts`` and ``summary`` are those of
    ``write_changes.Changes``, and ``input_digest`` is a digest of all that shows in the file and of the rest of these
    fields; summary and digest are None in changes of earlier releases.
    ``skipped`` has a line for each published day in between that could not be compared with: why, and the remedy.
    """

    publication: Publication
    compared_with: Publication | None
    fields_compared: bool
    counts: Mapping[str, int]
    file: ChangesFile
    input_digest: str | None = None
    summary: Mapping[str, Any] | None = None
    skipped: tuple[str, ...] = ()

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
        content = {
            "version": VERSION,
            **_publication_as_json(self.publication),
            "compared_with": _publication_as_json(self.compared_with) if self.compared_with else None,
            **({"skipped": list(self.skipped)} if self.skipped else {}),
            "fields_compared": self.fields_compared,
            "counts": dict(self.counts),
            **{name: value for name, value in dataclasses.asdict(self.file).items() if name != "folder" or value},
            **({"input_digest": self.input_digest} if self.input_digest else {}),
            **({"summary": self.summary} if self.summary else {}),
        }
        return (json.dumps(content, indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> KeptChanges:
        """The inverse of ``to_json``. Raises ChangesError."""
        try:
            content = json.loads(data)
            if content["version"] != VERSION:
                raise ChangesError(f"it has version {content['version']}, this release reads version {VERSION}")
            other = content["compared_with"]
            return cls(
                publication=_publication_in(content),
                compared_with=_publication_in(other) if other else None,
                fields_compared=content["fields_compared"],
                counts=content["counts"],
                file=ChangesFile(
                    content["name"],
                    content["rows"],
                    content["bytes"],
                    content["sha256"],
                    content.get("folder", ""),
                ),
                input_digest=content.get("input_digest"),
                summary=content.get("summary"),
                skipped=tuple(content.get("skipped", ())),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ChangesError(f"it cannot be understood: {type(error).__name__} {error}") from error


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


def _publication_as_json(publication: Publication) -> dict[str, str]:
    return {
        "day": publication.day.isoformat(),
        "published_at": publication.published_at.isoformat(timespec="seconds"),
        "manifest_sha256": publication.manifest_sha256,
    }


def _publication_in(content: Mapping[str, str]) -> Publication:
    return Publication(
        day=dt.date.fromisoformat(content["day"]),
        published_at=dt.datetime.fromisoformat(content["published_at"]),
        manifest_sha256=content["manifest_sha256"],
    )
