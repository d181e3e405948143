"""Makes a dissemination file into a prepared file, once: zip in, parts in the order of the NPIs out.

The zip is streamed: one thread unpacks it ahead, blocks of rows become records, which are sorted in runs, and the runs
are merged range by range with the rows of the other CSVs. So ten million providers take no more memory than a million.

Killed on the way, it is done anew: the index, which is written last, says that a file is prepared.

Not here: how a row becomes a record (``records``, ``child_files``), and what a block is (``csv_blocks``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.resources
import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import polars as pl

from npi_pipeline.days.lock import held_lock
from npi_pipeline.days.paths import LOCKS
from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.child_files import LIST_OF, child_items_of, with_child_items
from npi_pipeline.registries.nppes_bulk.columns import RARELY_FILLED, FileColumns, child_columns, main_columns
from npi_pipeline.registries.nppes_bulk.contents import SHEET, Content, ensure_unchanged, opened, sha256_of
from npi_pipeline.registries.nppes_bulk.csv_blocks import BLOCK_BYTES, Rows, raw_blocks, read_block, read_header
from npi_pipeline.registries.nppes_bulk.deactivations import deactivated_rows
from npi_pipeline.registries.nppes_bulk.files import DOWNLOADS, MAIN, DisseminationFile, FileKind, with_dates
from npi_pipeline.registries.nppes_bulk.in_threads import ahead, mapped
from npi_pipeline.registries.nppes_bulk.prepared import (
    DIGEST,
    PART_ROWS,
    PART_SCHEMA,
    PREPARED_FILES,
    Part,
    PreparedFile,
    load_prepared,
    save_prepared,
    write_part,
)
from npi_pipeline.registries.nppes_bulk.records import records_of
from npi_pipeline.registries.nppes_bulk.scratch import scratch_folder
from npi_pipeline.registries.nppes_bulk.sorted_rows import LAST_NPI, Sorter
from npi_pipeline.registries.nppes_bulk.store_schema import LISTS, STORE_SCHEMA
from npi_pipeline.storage.data_root import DataRoot, LockedError

OnProgress = Callable[[str], object]

# As long as it takes another run to prepare the whole country on a slow machine.
_PATIENCE_SECONDS = 2 * 3600.0
_TOLD_EACH_SECONDS = 60.0
_RANGE_ROWS = 16 * PART_ROWS
# To S3, most of the time is spent waiting.
_WRITERS = 4
_PARTS_WAITING = 32
_MAX_SHARE_OF_ODD_LINES = 0.01
# What a row becomes depends on these.
_CODE = ("store_schema", "columns", "records", "child_files", "csv_blocks", "deactivations", "prepare", "prepared")


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
            with scratch_folder() as scratch:
                prepared = _Preparing(
                    root=root,
                    bulk=bulk,
                    file=file,
                    name=name,
                    sha256=sha256,
                    scratch=scratch,
                    on_progress=on_progress,
                ).run()
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


@dataclasses.dataclass(kw_only=True)
class _Preparing:
    """One preparing of one file: where from, where to and how far it is."""

    root: DataRoot
    bulk: DataRoot
    file: DisseminationFile
    name: str
    sha256: str
    scratch: Path
    on_progress: OnProgress
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    without_provider: dict[str, int] = dataclasses.field(default_factory=dict)
    incomplete: dict[int, str] = dataclasses.field(default_factory=dict)
    """NPIs of which a row of another file than the main one cannot be read, with why."""

    def run(self) -> PreparedFile:
        file = self.file
        with opened(self.bulk, file) as contents:
            ranges = self._report(contents) if file.kind is FileKind.deactivations else self._providers(contents)
            parts = self._written(ranges)
        return PreparedFile(
            prepared=self.name,
            name=file.name,
            kind=file.kind,
            first=file.first,
            date=file.date,
            size=file.size,
            sha256=self.sha256,
            rows=sum(part.rows for part in parts),
            problems=self.counts["problems"],
            deactivated=self.counts["deactivated"],
            repeated=self.counts["repeated"],
            strays=self.counts["strays"],
            without_provider=self.without_provider,
            contents={content.name: content.size for content in contents.values()},
            parts=tuple(parts),
        )

    def _report(self, contents: dict[str, Content]) -> Iterator[pl.DataFrame]:
        if SHEET not in contents:
            raise BulkFileError(f"{self.file.name} holds no report: download it again from {DOWNLOADS}")
        with contents[SHEET].open() as stream:
            yield deactivated_rows(stream.read(), f"{self.file.name}: {contents[SHEET].name}")

    def _providers(self, contents: dict[str, Content]) -> Iterator[pl.DataFrame]:
        if MAIN not in contents:
            raise BulkFileError(f"{self.file.name} holds no npidata_pfile_*.csv: download it again from {DOWNLOADS}")
        with_dates(self.file, contents[MAIN].name)
        records = self._sorter("records", STORE_SCHEMA)
        self._read_records(contents[MAIN], records)
        children = {}
        for kind in sorted(contents.keys() - {MAIN, SHEET}):
            children[kind] = self._sorter(kind, _child_schema(kind))
            self._read_children(kind, contents[kind], children[kind])
        return self._merged(records, children)

    def _sorter(self, name: str, schema: pl.Schema) -> Sorter:
        folder = self.scratch / name
        folder.mkdir()
        return Sorter(folder, schema)

    def _read_records(self, content: Content, records: Sorter) -> None:
        where = f"{self.file.name}: {content.name}"
        strays, full = 0, b""
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(content.open())
            columns = main_columns(read_header(stream, where), where)
            blocks = stack.enter_context(contextlib.closing(self._blocks(stream, content, where)))
            convert = functools.partial(_records_in, columns=columns, sparse=RARELY_FILLED)
            for found, rows in stack.enter_context(contextlib.closing(mapped(convert, blocks))):
                records.add(found)
                strays += rows.strays
                full += rows.full
                # Few, so they are put together: a small block costs nearly as much as a large one.
                if len(full) > BLOCK_BYTES:
                    records.add(_records_in(full, columns, ())[0])
                    full = b""
        records.add(_records_in(full, columns, ())[0])
        records.finish()
        # In a week of a small, made-up country nothing may happen.
        if self.file.kind is FileKind.monthly and not records.npis:
            raise BulkFileError(f"{where} has no rows: download it again from {DOWNLOADS}")
        self.counts["strays"] += strays
        self._refuse_too_much_that_is_odd(where, records, strays)

    def _refuse_too_much_that_is_odd(self, where: str, sorter: Sorter, odd: int) -> None:
        rows = sum(len(npis) for npis in sorter.npis)
        if odd > rows * _MAX_SHARE_OF_ODD_LINES:
            raise BulkFileError(
                f"{where} has {rows} rows of NPIs and {odd} other lines: it is no file of the registry; download it "
                f"again from {DOWNLOADS}"
            )

    def _read_children(self, kind: str, content: Content, items: Sorter) -> None:
        where = f"{self.file.name}: {content.name}"
        strays, problems = 0, dict[int, str]()
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(content.open())
            columns = child_columns(kind, read_header(stream, where), where)
            for block in stack.enter_context(contextlib.closing(self._blocks(stream, content, where))):
                rows = read_block(block, columns.names)
                items.add(child_items_of(kind, rows.values, columns))
                strays += rows.strays
                problems |= {npi: f"in {content.name} {problem}" for npi, problem in rows.problems}
        items.finish()
        self.counts["strays"] += strays
        self.incomplete |= problems
        self._refuse_too_much_that_is_odd(where, items, strays + len(problems))

    def _blocks(self, stream: BinaryIO, content: Content, where: str) -> Generator[bytes]:
        """The blocks of a CSV, unpacked ahead in a thread; how far it got is told now and then."""
        read = 0
        told = time.monotonic()
        with contextlib.closing(ahead(raw_blocks(stream, where))) as blocks:
            for block in blocks:
                yield block
                read += len(block)
                if time.monotonic() - told > _TOLD_EACH_SECONDS:
                    self.on_progress(f"{where}: {read >> 20:,} of {content.size >> 20:,} MB read")
                    told = time.monotonic()

    def _merged(self, records: Sorter, children: dict[str, Sorter]) -> Iterator[pl.DataFrame]:
        """The rows of the prepared file, in ranges."""
        self.without_provider = dict.fromkeys(children, 0)
        for last in _range_ends(records.npis):
            rows = records.up_to(last)
            once = _each_npi_once(rows)
            self.counts["repeated"] += rows.height - once.height
            items = {}
            for kind, sorter in children.items():
                found = sorter.up_to(last)
                items[kind] = found.join(once, on="npi", how="semi", maintain_order="left")
                self.without_provider[kind] += found.height - items[kind].height
            yield self._without_incomplete(with_child_items(once, items))
        for kind, sorter in children.items():
            self.without_provider[kind] += sorter.up_to(LAST_NPI).height

    def _without_incomplete(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, with a problem in the place of a record that would lack an item."""
        if not self.incomplete:
            return rows
        here = rows.filter(pl.col("npi").is_in(list(self.incomplete)) & pl.col("number").is_not_null())["npi"]
        return _with_problems(rows, {npi: self.incomplete[npi] for npi in here})

    def _written(self, ranges: Iterator[pl.DataFrame]) -> list[Part]:
        """Write the parts of each range, a few at a time."""
        parts: list[Part] = []
        waiting: list[Future[Part]] = []
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="registry-write") as pool:
            for rows in ranges:
                self.counts["problems"] += rows.height - rows["problem"].null_count()
                self.counts["deactivated"] += rows.height - rows["deactivated_on"].null_count()
                whole = rows.with_columns(pl.struct(pl.all().exclude("npi")).hash().alias(DIGEST))
                waiting += [
                    pool.submit(write_part, self.root, self.name, part)
                    for part in whole.select(PART_SCHEMA.names()).iter_slices(PART_ROWS)
                ]
                while len(waiting) > _PARTS_WAITING:
                    parts.append(waiting.pop(0).result())
            return parts + [future.result() for future in waiting]


def _child_schema(kind: str) -> pl.Schema:
    return pl.Schema({"npi": pl.UInt32(), "item": LISTS[LIST_OF[kind]].inner})


def _records_in(block: bytes, columns: FileColumns, sparse: Collection[str]) -> tuple[pl.DataFrame, Rows]:
    """The records of a block, those that cannot be read among them, and the rows that they are of."""
    rows = read_block(block, columns.names, sparse)
    there = dataclasses.replace(columns, names=tuple(rows.values.columns))
    found = [records_of(rows.values, there)] if rows.values.height else []
    return pl.concat([*found, _problem_rows(rows.problems)]), rows


def _each_npi_once(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each NPI. Where its rows differ, nobody knows which is right: its row cannot be read."""
    if rows["npi"].is_unique().all():
        return rows
    once = rows.unique("npi", keep="first", maintain_order=True)
    differing = rows.select("npi", pl.struct(pl.all().exclude("npi")).hash().alias(DIGEST)).unique()
    npis = differing.filter(pl.col("npi").is_duplicated())["npi"]
    return _with_problems(once, dict.fromkeys(npis, "its NPI has rows in the file that differ"))


def _with_problems(rows: pl.DataFrame, problems: Mapping[int, str]) -> pl.DataFrame:
    """The rows, sorted by NPI, with ``problems`` in the place of those of the same NPIs."""
    others = rows.filter(~pl.col("npi").is_in(list(problems)))
    return pl.concat([others, _problem_rows(list(problems.items()))]).sort("npi")


def _problem_rows(problems: Sequence[tuple[int, str]]) -> pl.DataFrame:
    rows = pl.DataFrame(problems, schema={"npi": pl.UInt32, "problem": pl.String}, orient="row")
    others = [pl.lit(None, dtype).alias(name) for name, dtype in STORE_SCHEMA.items() if name not in rows.columns]
    return rows.with_columns(others).select(STORE_SCHEMA.names())


def _range_ends(npis: Sequence[pl.Series]) -> list[int]:
    """The last NPI of each range of so many NPIs."""
    if not npis:
        return []
    distinct = pl.concat(npis).unique().sort()
    ends = distinct.gather_every(_RANGE_ROWS, offset=_RANGE_ROWS - 1).to_list()
    return ends if ends and ends[-1] == distinct[-1] else [*ends, int(distinct[-1])]
