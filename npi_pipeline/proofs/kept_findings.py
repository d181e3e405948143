"""What was last found of the claims about each product of a day, kept beside the day's files.

Whoever has looked keeps it, so that a reader need not prove anew what takes as long as reading all files.
Not here: the claims (the other modules), and who looks when (``orchestration.checks``).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping

import msgspec

from npi_pipeline.days.paths import FINDINGS, findings_path
from npi_pipeline.errors import PipelineError
from npi_pipeline.state_files.manifest import ManifestError
from npi_pipeline.state_files.publish import read_manifest
from npi_pipeline.storage.data_root import DataRoot

# What is proven of a publication; the other products are proven before there is one.
_OF_A_PUBLICATION = frozenset({"state_files", "provider_changes"})


class FindingsError(PipelineError):
    """Findings that cannot be understood. One line says which, and the remedy."""


@dataclasses.dataclass(frozen=True, slots=True)
class KeptFinding:
    """What was found of one claim about ``product``.

    ``name`` is the check's, ``claim`` is what is claimed, in words. A day on which a claim that ``is_blocking`` does
    not hold is made no further. ``line`` and ``figures`` are the finding's. ``is_outdated``: the day was published anew
    since.
    """

    product: str
    name: str
    claim: str
    is_blocking: bool
    holds: bool
    line: str
    figures: Mapping[str, int | float | str] = dataclasses.field(default_factory=dict)
    is_outdated: bool = False


@dataclasses.dataclass(frozen=True)
class _Findings:
    """The file of one product. ``publication`` is the digest of the manifest that was there, if there was one."""

    publication: str | None
    findings: tuple[KeptFinding, ...]


# Made here, once: msgspec 0.22 ends the process when two threads meet a class for the first time at once.
_DECODER = msgspec.json.Decoder(_Findings)


def keep_findings(root: DataRoot, day: dt.date, state_files_dir: str, findings: Iterable[KeptFinding]) -> None:
    """Keep what was found of claims about one product of ``day``, in place of what is kept of the same claims.

    Raises StorageError.
    """
    new = {finding.name: finding for finding in findings}
    for product in {finding.product for finding in new.values()}:
        publication = _publication(root, state_files_dir, day)
        try:
            before = _read(root, day, product)
        except (FileNotFoundError, FindingsError):
            before = _Findings(publication, ())
        # Those of an earlier publication, of which only some claims were looked into anew, are not of this one.
        kept = {finding.name: finding for finding in before.findings if before.publication == publication}
        content = _Findings(publication, tuple({**kept, **new}.values()))
        root.write(findings_path(day, product), msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def read_findings(root: DataRoot, day: dt.date, state_files_dir: str) -> tuple[KeptFinding, ...]:
    """What was last found of each claim about ``day``; nothing of a product that nobody has looked at.

    Raises FindingsError, StorageError.
    """
    publication = _publication(root, state_files_dir, day)
    found = []
    for file in root.list(f"{FINDINGS}/{day}"):
        product = file.path.rpartition("/")[2].removesuffix(".json")
        kept = _read(root, day, product)
        is_outdated = product in _OF_A_PUBLICATION and kept.publication != publication
        found += [dataclasses.replace(finding, is_outdated=is_outdated) for finding in kept.findings]
    return tuple(found)


def _read(root: DataRoot, day: dt.date, product: str) -> _Findings:
    path = findings_path(day, product)
    try:
        return _DECODER.decode(root.read(path))
    except (ValueError, RecursionError) as error:
        raise FindingsError(
            f"{root.uri(path)} cannot be understood ({error}): execute the checks of {product} again"
        ) from error


def _publication(root: DataRoot, state_files_dir: str, day: dt.date) -> str | None:
    try:
        return read_manifest(root, state_files_dir, day).sha256
    except (FileNotFoundError, ManifestError):
        return None
