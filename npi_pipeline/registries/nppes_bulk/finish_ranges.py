"""The ranges of a prepared file: records and items of one range of NPIs put together, and written as parts.

Each range that is finished is noted in the scratch folder, so that a process that is killed does not finish it twice.
Not here: how records and items get there (``read_contents``), and what a part is (``prepared``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import msgspec
import polars as pl

from npi_pipeline.registries.nppes_bulk.child_files import with_child_items
from npi_pipeline.registries.nppes_bulk.in_threads import mapped
from npi_pipeline.registries.nppes_bulk.prepared import (
    PART_ROWS,
    PART_SCHEMA,
    Part,
    digests,
    folder_of,
    write_part,
)
from npi_pipeline.registries.nppes_bulk.sorted_rows import LAST_NPI
from npi_pipeline.registries.nppes_bulk.sorter import Sorter
from npi_pipeline.registries.nppes_bulk.store_schema import problem_rows
from npi_pipeline.storage.data_root import DataRoot

_RANGE_ROWS = 8 * PART_ROWS
# To S3, most of the time is spent waiting.
_WRITERS = 8


@dataclasses.dataclass(frozen=True)
class _Range:
    """The rows up to the NPI ``last``, sorted, in STORE_SCHEMA; ``items`` of their lists by the kind of their CSV."""

    last: int
    rows: pl.DataFrame
    items: Mapping[str, pl.DataFrame] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FinishedRange:
    """A range that was written: its parts, and what was counted (see ``PreparedFile``)."""

    last: int
    parts: tuple[Part, ...]
    problems: int = 0
    deactivated: int = 0
    repeated: int = 0
    without_provider: dict[str, int] = dataclasses.field(default_factory=dict)


_DECODER = msgspec.json.Decoder(FinishedRange)
_ENCODER = msgspec.json.Encoder()


def finish_all(
    root: DataRoot,
    prepared: str,
    records: Sorter,
    items: Mapping[str, Sorter],
    *,
    incomplete: Mapping[int, str],
    noted: Path,
) -> list[FinishedRange]:
    """Write the parts of the prepared file of that name, range by range, but for those that are noted as finished.

    ``incomplete`` are NPIs of which an item cannot be read, with why. Raises StorageError.
    """
    finished = _noted(root, prepared, noted)
    begun = finished[-1].last if finished else 0
    for sorter in (records, *items.values()):
        sorter.skip(begun)

    def ranges() -> Iterator[_Range]:
        for last in _range_ends(records.npis):
            if last > begun:
                yield _Range(last, records.up_to(last), {kind: sorter.up_to(last) for kind, sorter in items.items()})

    with contextlib.ExitStack() as stack:
        writers = stack.enter_context(_writers())
        notes = stack.enter_context(noted.open("ab"))
        finish = functools.partial(_finish, root, prepared, incomplete, writers)
        for done in stack.enter_context(contextlib.closing(mapped(finish, ranges()))):
            finished.append(done)
            notes.write(_ENCODER.encode(done) + b"\n")
            notes.flush()
    left = {kind: sorter.up_to(LAST_NPI).height for kind, sorter in items.items()}
    return [*finished, FinishedRange(LAST_NPI, (), without_provider=left)]


def finish_at_once(root: DataRoot, prepared: str, rows: pl.DataFrame) -> FinishedRange:
    """Write the parts of a prepared file whose ``rows`` (STORE_SCHEMA, sorted) are all there. Raises StorageError."""
    with _writers() as writers:
        return _finish(root, prepared, {}, writers, _Range(LAST_NPI, rows))


def _writers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_WRITERS, thread_name_prefix="registry-write")


def _finish(
    root: DataRoot, prepared: str, incomplete: Mapping[int, str], writers: Executor, given: _Range
) -> FinishedRange:
    """Put a range together and write its parts."""
    once = _each_npi_once(given.rows)
    items = {kind: found.join(once, on="npi", how="semi", maintain_order="left") for kind, found in given.items.items()}
    rows = _without_incomplete(with_child_items(once, items), incomplete)
    whole = rows.with_columns(digests(rows)).select(PART_SCHEMA.names())
    parts = writers.map(lambda part: write_part(root, prepared, part), whole.iter_slices(PART_ROWS))
    return FinishedRange(
        last=given.last,
        parts=tuple(parts),
        problems=rows.height - rows["problem"].null_count(),
        deactivated=rows.height - rows["deactivated_on"].null_count(),
        repeated=given.rows.height - once.height,
        without_provider={kind: given.items[kind].height - items[kind].height for kind in items},
    )


def _noted(root: DataRoot, prepared: str, noted: Path) -> list[FinishedRange]:
    """The ranges that were finished before; none when a part of theirs is not there any more."""
    finished: list[FinishedRange] = []
    # The last line is cut when it was killed while it was written.
    with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
        finished.extend(_DECODER.decode(line) for line in noted.read_bytes().splitlines())
    kept = {file.path.rpartition("/")[2] for file in root.list(folder_of(prepared))} if finished else set()
    if not all(part.name in kept for done in finished for part in done.parts):
        finished = []
    noted.write_bytes(b"".join(_ENCODER.encode(done) + b"\n" for done in finished))
    return finished


def _each_npi_once(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each NPI. Where its rows differ, nobody knows which is right: its row cannot be read."""
    if rows["npi"].is_unique().all():
        return rows
    once = rows.unique("npi", keep="first", maintain_order=True)
    differing = rows.select("npi").with_columns(digests(rows)).unique()
    npis = differing.filter(pl.col("npi").is_duplicated())["npi"]
    return _with_problems(once, dict.fromkeys(npis, "its NPI has rows in the file that differ"))


def _without_incomplete(rows: pl.DataFrame, incomplete: Mapping[int, str]) -> pl.DataFrame:
    """The rows, with a problem in the place of a record that would lack an item."""
    if not incomplete:
        return rows
    here = rows.filter(pl.col("npi").is_in(list(incomplete)) & pl.col("number").is_not_null())["npi"]
    return _with_problems(rows, {npi: incomplete[npi] for npi in here})


def _with_problems(rows: pl.DataFrame, problems: Mapping[int, str]) -> pl.DataFrame:
    """The rows, sorted by NPI, with ``problems`` in the place of those of the same NPIs."""
    others = rows.filter(~pl.col("npi").is_in(list(problems)))
    return pl.concat([others, problem_rows(list(problems.items()))]).sort("npi")


def _range_ends(npis: pl.Series) -> list[int]:
    """The last NPI of each range of so many NPIs."""
    distinct = npis.unique().sort()
    if distinct.is_empty():
        return []
    ends = distinct.gather_every(_RANGE_ROWS, offset=_RANGE_ROWS - 1).to_list()
    return ends if ends and ends[-1] == distinct[-1] else [*ends, int(distinct[-1])]
