"""Makes a dissemination file into a prepared file, once: zip in, parts in the order of the NPIs out.

The zip is streamed: one thread unpacks it ahead, blocks of rows become records, which are sorted in runs
(``read_contents``), and the runs are merged range by range with the rows of the other CSVs (``finish_ranges``). So ten
million providers take no more memory than a million.

The index, which is written last, says that a file is prepared. Killed before that, it goes on where it was, on the same
machine; on another one it is done anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.resources
import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from npi_pipeline.days.lock import held_lock
from npi_pipeline.days.paths import LOCKS
from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.child_files import LIST_OF
from npi_pipeline.registries.nppes_bulk.contents import SHEET, Content, ensure_unchanged, opened, sha256_of
from npi_pipeline.registries.nppes_bulk.deactivations import deactivated_rows
from npi_pipeline.registries.nppes_bulk.files import DOWNLOADS, MAIN, DisseminationFile, FileKind, with_dates
from npi_pipeline.registries.nppes_bulk.finish_ranges import FinishedRange, finish_all, finish_at_once
from npi_pipeline.registries.nppes_bulk.prepared import (
    PREPARED_FILES,
    PreparedFile,
    load_prepared,
    save_prepared,
)
from npi_pipeline.registries.nppes_bulk.read_contents import OnProgress, read_csv
from npi_pipeline.registries.nppes_bulk.scratch import scratch_folder
from npi_pipeline.registries.nppes_bulk.sorter import Sorter
from npi_pipeline.registries.nppes_bulk.store_schema import LISTS, STORE_SCHEMA
from npi_pipeline.storage.data_root import DataRoot, LockedError

# As long as it takes another run to prepare the whole country on a slow machine.
_PATIENCE_SECONDS = 2 * 3600.0
# What a row becomes depends on these.
_CODE = (
    "store_schema", "columns", "records", "child_files", "csv_blocks", "deactivations",
    "prepare", "read_contents", "sorter", "finish_ranges", "prepared",
)  # fmt: skip


def prepare_file(
    root: DataRoot, bulk: DataRoot, file: DisseminationFile, on_progress: OnProgress = lambda _line: None
) -> PreparedFile:
    """The prepared file of ``file``, which lies in ``bulk``: the one that is there, or else it is made now.

    One run at a time makes it, and the others wait. ``on_progress`` is told a line now and then.
    Raises BulkFileError, StorageError.
    """
    sha256 = _known_sha256(root, bulk, file)
    name = f"{file.date}_{file.kind.value}_{sha256[:16]}_{_code_digest()}"
    if found := load_prepared(root, name):
        return found
    try:
        with held_lock(root, f"{LOCKS}/{PREPARED_FILES}/{name}", wait_seconds=_PATIENCE_SECONDS) as held:
            if found := load_prepared(root, name):
                return found
            with scratch_folder(root.uri(name)) as scratch:
                preparing = _Preparing(
                    root=root, file=file, name=name, sha256=sha256, scratch=scratch, on_progress=on_progress
                )
                with opened(bulk, file) as contents:
                    prepared = preparing.run(contents)
                ensure_unchanged(bulk, file)
                held.ensure_held()
                save_prepared(root, prepared)
    except LockedError as error:
        raise BulkFileError(
            f"{file.name} is being prepared by {error.holder} since {error.since}: {error.remedy}", retryable=True
        ) from error
    on_progress(
        f"prepared {file.name}: {prepared.rows:,} NPIs, {prepared.deactivated:,} of them out of service and "
        f"{prepared.problems:,} with a row that cannot be read"
    )
    return prepared


def _known_sha256(root: DataRoot, bulk: DataRoot, file: DisseminationFile) -> str:
    """The digest of the file, which is read for it once."""
    seen = hashlib.sha256(repr((bulk.uri(), file.stored)).encode()).hexdigest()
    path = f"{PREPARED_FILES}/seen/{seen[:32]}.json"
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return str(json.loads(root.read(path))["sha256"])
    sha256 = sha256_of(bulk, file)
    ensure_unchanged(bulk, file)
    root.write(path, json.dumps({"name": file.name, "size": file.size, "sha256": sha256}).encode())
    return sha256


@functools.cache
def _code_digest() -> str:
    """Tells the code that makes rows from any other."""
    digest = hashlib.sha256(repr(STORE_SCHEMA).encode())
    package = importlib.resources.files(__package__)
    tables = sorted((table for table in package.joinpath("code_tables").iterdir()), key=lambda table: table.name)
    for source in [*(package.joinpath(f"{name}.py") for name in _CODE), *tables]:
        if source.is_file():
            digest.update(source.read_bytes())
    return digest.hexdigest()[:8]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Preparing:
    """One preparing of one file: where from and where to."""

    root: DataRoot
    file: DisseminationFile
    name: str
    sha256: str
    scratch: Path
    on_progress: OnProgress

    def run(self, contents: Mapping[str, Content]) -> PreparedFile:
        """Write the parts; returns what the index will say of them."""
        file, strays = self.file, 0
        if file.kind is FileKind.deactivations:
            ranges = [self._report(contents)]
        else:
            ranges, strays = self._providers(contents)
        parts = [part for done in ranges for part in done.parts]
        without_provider: Counter[str] = Counter()
        for done in ranges:
            without_provider.update(done.without_provider)
        return PreparedFile(
            prepared=self.name,
            name=file.name,
            kind=file.kind,
            first=file.first,
            date=file.date,
            size=file.size,
            sha256=self.sha256,
            rows=sum(part.rows for part in parts),
            problems=sum(done.problems for done in ranges),
            deactivated=sum(done.deactivated for done in ranges),
            repeated=sum(done.repeated for done in ranges),
            strays=strays,
            without_provider=dict(without_provider),
            contents={content.name: content.size for content in contents.values()},
            parts=tuple(parts),
        )

    def _report(self, contents: Mapping[str, Content]) -> FinishedRange:
        if SHEET not in contents:
            raise BulkFileError(f"{self.file.name} holds no report: download it again from {DOWNLOADS}")
        with contents[SHEET].open() as stream:
            rows = deactivated_rows(stream.read(), self._where(contents[SHEET]))
        return finish_at_once(self.root, self.name, rows)

    def _providers(self, contents: Mapping[str, Content]) -> tuple[list[FinishedRange], int]:
        """The ranges of a monthly or weekly file, and how many lines of its CSVs are of no NPI."""
        if MAIN not in contents:
            raise BulkFileError(f"{self.file.name} holds no npidata_pfile_*.csv: download it again from {DOWNLOADS}")
        with_dates(self.file, contents[MAIN].name)
        kinds = (MAIN, *sorted(contents.keys() - {MAIN, SHEET}))
        with ThreadPoolExecutor(1, thread_name_prefix="registry-sort") as writer:
            sorters = {kind: Sorter(self.scratch / kind, _schema_of(kind), writer) for kind in kinds}
            if left := len(sorters[MAIN].npis):
                self.on_progress(f"{self.file.name}: goes on where a run was ended that had read {left:,} NPIs")
            read = {
                kind: read_csv(kind, contents[kind], sorter, self._where(contents[kind]), self.on_progress)
                for kind, sorter in sorters.items()
            }
        records = sorters.pop(MAIN)
        # In a week of a small, made-up country nothing may happen.
        if self.file.kind is FileKind.monthly and records.npis.is_empty():
            raise BulkFileError(f"{self._where(contents[MAIN])} has no rows: download it again from {DOWNLOADS}")
        incomplete = {npi: problem for so_far in read.values() for npi, problem in so_far.problems.items()}
        finished = self.scratch / "finished.jsonl"
        ranges = finish_all(self.root, self.name, records, sorters, incomplete=incomplete, noted=finished)
        return ranges, sum(so_far.strays for so_far in read.values())

    def _where(self, content: Content) -> str:
        return f"{self.file.name}: {content.name}"


def _schema_of(kind: str) -> pl.Schema:
    return STORE_SCHEMA if kind == MAIN else pl.Schema({"npi": pl.UInt32(), "item": LISTS[LIST_OF[kind]].inner})
