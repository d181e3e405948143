"""The manifest: what a published day consists of, as ``manifest.json``. Its presence says that the day is published.

Not here: how it is put in place (``publish``) and how the state files are made (``write_state_files``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from npi_pipeline.errors import PipelineError

VERSION = 1


class ManifestError(PipelineError):
    """A manifest that cannot be understood. One line says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class StateFile:
    """One file of a day: ``rows`` without the header, one per NPI, and ``sha256`` of its bytes in hex.

    ``state`` is the code, ``None`` or the name that stands for failed, as in the file's name.
    """

    name: str
    state: str
    rows: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A published day.

    ``outcomes`` counts the list's distinct NPIs by outcome; ``source`` says which list it was, as
    ``npi_list.kept_list.source_of`` does; ``columns`` is the header that the files of found NPIs share. ``list_sha256``
    is of the list's bytes, in hex, ``journal_digest`` is that of the journal that the files were made from, and
    ``input_digest`` that of all that shows in them and of the manifest itself. ``folder`` is where the files lie, below
    the manifest's own folder; on a local root beside it (""). ``registry_files`` are the files that the registry is,
    where it is files: of each its name, kind, date, size and SHA-256.
    """

    day: dt.date
    published_at: dt.datetime
    source: Mapping[str, Any]
    outcomes: Mapping[str, int]
    columns: tuple[str, ...]
    files: tuple[StateFile, ...]
    list_sha256: str
    journal_digest: str
    input_digest: str = ""
    folder: str = ""
    registry_files: tuple[Mapping[str, Any], ...] = ()
    _read_from: bytes = dataclasses.field(default=b"", init=False, compare=False, repr=False)

    @property
    def sha256(self) -> str:
        """The digest of ``manifest.json``, in hex: as it was read, whichever release wrote it."""
        return hashlib.sha256(self._read_from or self.to_json()).hexdigest()

    def path_of(self, file: StateFile) -> str:
        """Where one of the files lies, from the manifest's own place."""
        return f"{self.folder}/{file.name}" if self.folder else file.name

    def to_json(self) -> bytes:
        """The content of ``manifest.json``: the same manifest gives the same bytes."""
        content = {
            "version": VERSION,
            "day": self.day.isoformat(),
            "published_at": self.published_at.isoformat(timespec="seconds"),
            "source": dict(sorted(self.source.items())),
            "list_sha256": self.list_sha256,
            "journal_digest": self.journal_digest,
            "input_digest": self.input_digest,
            "folder": self.folder,
            "npis": sum(self.outcomes.values()),
            "outcomes": dict(sorted(self.outcomes.items())),
            "registry_files": list(map(dict, self.registry_files)),
            "files": [dataclasses.asdict(file) for file in sorted(self.files, key=lambda file: file.name)],
            "columns": list(self.columns),
        }
        return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """The manifest in ``data``. Raises ManifestError."""
        try:
            content = json.loads(data)
            if content["version"] != VERSION:
                raise ManifestError(
                    f"the manifest has version {content['version']}, this release reads version {VERSION}"
                )
            manifest = _DECODER.decode(data)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ManifestError(f"the manifest cannot be understood: {type(error).__name__} {error}") from error
        object.__setattr__(manifest, "_read_from", data)
        return manifest


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(Manifest)
