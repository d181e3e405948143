"""The CSVs of a dissemination file read into sorters: rows of the main one as records, of the others as items of lists.

A process that is killed leaves what it had read: whoever reads the same CSV into the same sorter goes on there.
Not here: what a block is (``csv_blocks``), and how a row becomes a record (``records``, ``child_files``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Collection, Generator, Sequence
from typing import BinaryIO

import msgspec
import polars as pl

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.child_files import child_items_of
from npi_pipeline.registries.nppes_bulk.columns import RARELY_FILLED, FileColumns, child_columns, main_columns
from npi_pipeline.registries.nppes_bulk.contents import Content
from npi_pipeline.registries.nppes_bulk.csv_blocks import BLOCK_BYTES, raw_blocks, read_block, read_header
from npi_pipeline.registries.nppes_bulk.files import DOWNLOADS, MAIN
from npi_pipeline.registries.nppes_bulk.in_threads import ahead, mapped
from npi_pipeline.registries.nppes_bulk.records import records_of
from npi_pipeline.registries.nppes_bulk.sorter import Sorter
from npi_pipeline.registries.nppes_bulk.store_schema import problem_rows

OnProgress = Callable[[str], object]
_Convert = Callable[[bytes], "_Converted"]

_TOLD_EACH_SECONDS = 60.0
_MAX_SHARE_OF_ODD_LINES = 0.01


@dataclasses.dataclass
class ReadSoFar:
    """How far a CSV was read: so many blocks, in which ``strays`` lines were of no NPI.

    ``problems`` are the NPIs of rows that cannot be read, with why, of a CSV whose rows are items of lists.
    """

    blocks: int = 0
    strays: int = 0
    problems: dict[int, str] = dataclasses.field(default_factory=dict)
    is_whole: bool = False


@dataclasses.dataclass(frozen=True)
class _Converted:
    """What became of a block: ``rows`` are for the sorter, and the rest is as ``csv_blocks.Rows`` has it."""

    rows: pl.DataFrame
    full: bytes
    strays: int
    problems: list[tuple[int, str]] = dataclasses.field(default_factory=list)


_DECODER = msgspec.json.Decoder(ReadSoFar)
_ENCODER = msgspec.json.Encoder()


def read_csv(kind: str, content: Content, sorter: Sorter, where: str, on_progress: OnProgress) -> ReadSoFar:
    """Read the CSV ``content`` into ``sorter``: records of the main one, items of the others (see CHILD_COLUMNS).

    A row of the main one that cannot be read is there with its problem. ``where`` names the CSV. Raises BulkFileError.
    """

    def converters(header: Sequence[str]) -> tuple[_Convert, _Convert]:
        if kind == MAIN:
            columns = main_columns(header, where)
            convert_full = functools.partial(_records_in, columns=columns, sparse=())
            return functools.partial(_records_in, columns=columns, sparse=RARELY_FILLED), convert_full
        convert = functools.partial(_items_in, kind=kind, columns=child_columns(kind, header, where))
        return convert, convert

    so_far = _read(content, sorter, converters, where, on_progress)
    so_far.problems = {npi: f"in {content.name} {problem}" for npi, problem in so_far.problems.items()}
    _refuse_too_much_that_is_odd(where, sorter, so_far.strays + len(so_far.problems))
    return so_far


def _read(
    content: Content,
    sorter: Sorter,
    converters: Callable[[Sequence[str]], tuple[_Convert, _Convert]],
    where: str,
    on_progress: OnProgress,
) -> ReadSoFar:
    """Read what was not read yet. Of the two converters of a header one is for blocks, and one for full lines."""
    so_far = ReadSoFar() if sorter.note is None else _DECODER.decode(sorter.note)
    if so_far.is_whole:
        sorter.finish()
        return so_far
    full = b""
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(content.open())
        convert, convert_full = converters(read_header(stream, where))
        blocks = stack.enter_context(contextlib.closing(_blocks(stream, content, where, on_progress)))
        unread = itertools.islice(blocks, so_far.blocks, None)
        for block in stack.enter_context(contextlib.closing(mapped(convert, unread))):
            sorter.add(block.rows)
            full += block.full
            so_far.blocks += 1
            so_far.strays += block.strays
            so_far.problems.update(block.problems)
            # Few, so they are put together: a small block costs nearly as much as a large one.
            if full and (len(full) > BLOCK_BYTES or sorter.is_full):
                sorter.add(convert_full(full).rows)
                full = b""
            if sorter.is_full:
                sorter.keep(_ENCODER.encode(so_far).decode())
        if full:
            sorter.add(convert_full(full).rows)
    so_far.is_whole = True
    sorter.keep(_ENCODER.encode(so_far).decode())
    sorter.finish()
    return so_far


def _blocks(stream: BinaryIO, content: Content, where: str, on_progress: OnProgress) -> Generator[bytes]:
    """The blocks of a CSV, unpacked ahead in a thread; how far it got is told now and then."""
    read = 0
    told = time.monotonic()
    with contextlib.closing(ahead(raw_blocks(stream, where))) as blocks:
        for block in blocks:
            yield block
            read += len(block)
            if time.monotonic() - told > _TOLD_EACH_SECONDS:
                on_progress(f"{where}: {read >> 20:,} of {content.size >> 20:,} MB read")
                told = time.monotonic()


def _records_in(block: bytes, columns: FileColumns, sparse: Collection[str]) -> _Converted:
    """The records of a block, and those that cannot be read among them."""
    rows = read_block(block, columns.names, sparse)
    there = dataclasses.replace(columns, names=tuple(rows.values.columns))
    found = [records_of(rows.values, there)] if rows.values.height else []
    return _Converted(pl.concat([*found, problem_rows(rows.problems)]), rows.full, rows.strays)


def _items_in(block: bytes, kind: str, columns: FileColumns) -> _Converted:
    """The items of a block."""
    rows = read_block(block, columns.names)
    return _Converted(child_items_of(kind, rows.values, columns), rows.full, rows.strays, rows.problems)


def _refuse_too_much_that_is_odd(where: str, sorter: Sorter, odd: int) -> None:
    rows = len(sorter.npis)
    if odd > rows * _MAX_SHARE_OF_ODD_LINES:
        raise BulkFileError(
            f"{where} has {rows} rows of NPIs and {odd} other lines: it is no file of the registry; download it "
            f"again from {DOWNLOADS}"
        )
