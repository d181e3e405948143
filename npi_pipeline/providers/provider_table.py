"""The provider table: one row per found NPI, sorted, in Parquet parts; and what is to be said about it as a whole.

A part has the columns of the state files, but for two things. A declared list is one column of lists of objects
(``taxonomies``), which the state files spread over ``taxonomies[0].code`` and so on: so every part has the same schema
however wide the lists of the day are, and takes a quarter of the time to write and two thirds of the space (measured,
it would be 85 % empty cells). And two columns belong to the table alone: ``states`` and ``unrecognised_states``.
The parts of a format without a declared schema have the columns that their records need.
Not here: the flattening (``declared``, ``inferred``) and where the parts are kept (``kept_table``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path as File
from typing import TypeAlias

import polars as pl

from npi_pipeline.journal import JournalDamagedError
from npi_pipeline.providers.answers import UnreadableAnswerError
from npi_pipeline.providers.declared import read_declared, rows_of_records
from npi_pipeline.providers.inferred import (
    MAX_PATHS,
    TooManyPathsError,
    merged_type,
    most_common_columns,
    read_undeclared,
)
from npi_pipeline.providers.rows import Rows, runs_of
from npi_pipeline.schema.columns import Column, ColumnType, TableLayout, file_columns, record_columns
from npi_pipeline.schema.json_paths import (
    LEADING_COLUMNS,
    STATES,
    UNKNOWN_FIELDS,
    UNRECOGNISED_STATES,
    Path,
    column_of,
    order_of,
)

NO_STATE = "None"
"""Stands for the state in the name of the file of providers without a usable practice state."""

OUTCOME_COLUMNS = ("npi", "outcome", "reason", "fetched_at", "body")
"""The columns of the journal that the table is made from."""

EXAMPLES = 5
# In none of the texts: they are single lines.
_SEPARATOR = "\n"
MAX_NOTICED = 1000
_MAX_NOTICED_LENGTH = 200


Cell: TypeAlias = str | int | float | bool | None


@dataclasses.dataclass(frozen=True)
class Noticed:
    """Something that a check warns of: what, in how many records, and the first NPIs."""

    what: str
    records: int
    examples: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ProviderTable:
    """What is known of a day's provider table once all its parts are written.

    ``columns`` is the header of the day's files. ``widths`` says how wide each declared list is.
    ``unknown_fields`` are paths that no column holds, ``beyond_width`` lists that are longer than they have columns;
    both are kept in the column ``unknown_fields``. Whoever keeps the table knows the rest: ``preview`` has its first
    rows with their first columns, for a person, ``journal_digest`` is that of the journal that the rows were made from,
    and ``input_digest`` one of all that they depend on and of these fields.
    """

    columns: tuple[Column, ...]
    widths: dict[str, int]
    rows: int
    unknown_fields: tuple[Noticed, ...]
    beyond_width: tuple[Noticed, ...]
    unrecognised_states: tuple[Noticed, ...]
    preview: tuple[dict[str, Cell], ...] = ()
    journal_digest: str = ""
    input_digest: str = ""


class _Tally:
    """Counts of what was noticed; bounded, since what is noticed comes from outside."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, what: str, npi: str) -> None:
        what = what[:_MAX_NOTICED_LENGTH]
        if what not in self._counts and len(self._counts) >= MAX_NOTICED:
            what = "(others)"
        self._counts[what] = self._counts.get(what, 0) + 1
        examples = self._examples.setdefault(what, [])
        if len(examples) < EXAMPLES and npi not in examples:
            examples.append(npi)

    def noticed(self) -> tuple[Noticed, ...]:
        ranked = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return tuple(Noticed(what, count, tuple(self._examples[what])) for what, count in ranked)


class _Summary:
    """What adds up over the parts."""

    def __init__(self, layout: TableLayout, pinned: Mapping[str, int]) -> None:
        self._layout = layout
        self._widths: dict[str, int] = {part.name: pinned.get(part.name, 0) for part in layout.lists_of_columns()}
        self._paths: dict[Path, ColumnType | None] = {}
        self._rows = 0
        self._unknown, self._beyond, self._unrecognised = _Tally(), _Tally(), _Tally()

    def add(self, npis: list[str], rows: Rows) -> None:
        self._rows += len(npis)
        for name, width in rows.widths.items():
            self._widths[name] = max(self._widths[name], width)
        for path, type_ in rows.paths.items():
            self._paths[path] = merged_type(self._paths.get(path), type_)
        if len(self._paths) > MAX_PATHS:
            raise TooManyPathsError
        for npi, rest, (_, unrecognised) in zip(npis, rows.rest, rows.practice, strict=True):
            for text in unrecognised:
                self._unrecognised.add(text, npi)
            for name in rest.beyond:
                self._beyond.add(name, npi)
            for name in rest.unknown:
                self._unknown.add(name, npi)

    def table(self) -> ProviderTable:
        if self._layout.declared:
            record = record_columns(self._layout, self._widths)
        else:
            record = tuple(
                Column(column_of(path), self._paths[path] or ColumnType.string, "As the registry gave it.")
                for path in sorted(self._paths, key=order_of)
            )
        return ProviderTable(
            columns=file_columns(record),
            widths=self._widths,
            rows=self._rows,
            unknown_fields=self._unknown.noticed(),
            beyond_width=self._beyond.noticed(),
            unrecognised_states=self._unrecognised.noticed(),
        )


def refuse_unknown_lists(layout: TableLayout, names: Iterable[str]) -> None:
    """Raise ValueError when a declared ``layout`` lacks one of the lists ``names``.

    A format without a declared schema has whatever lists the day's records have: of it nothing is refused.
    """
    lists = [part.name for part in layout.lists_of_columns()]
    strange = sorted(set(names) - set(lists))
    if layout.declared and strange:
        raise ValueError(f"no list is called {', '.join(strange)}: a width can be given to {', '.join(lists)}")


def write_provider_table(
    read_outcomes: Callable[[], Iterable[pl.DataFrame]],
    layout: TableLayout,
    folder: File,
    *,
    list_widths: Mapping[str, int] | None = None,
) -> ProviderTable:
    """Write the provider table of the journal's outcomes as ``part-00000.parquet``, ... into ``folder``.

    ``read_outcomes`` gives OUTCOME_COLUMNS of the compacted journal, in the order of their NPIs; rows that are not
    ``found`` are skipped. It is called again where the records have more paths than a table may have columns, to find
    out which of them most records have. ``list_widths`` pins how many columns a list gets.

    Raises ValueError when a list of ``list_widths`` does not exist, JournalDamagedError when the NPIs are out of order,
    UnreadableAnswerError.
    """
    pinned = dict(list_widths or {})
    refuse_unknown_lists(layout, pinned)
    try:
        return _written(_flattened(_found(read_outcomes()), layout, pinned), layout, folder, pinned)
    except TooManyPathsError:
        for part in folder.glob("part-*.parquet"):
            part.unlink()
    bodies = (body for found in _found(read_outcomes()) for body in found["body"].to_list())
    columns = most_common_columns(bodies, pinned)
    return _written(_flattened(_found(read_outcomes()), layout, pinned, columns), layout, folder, pinned)


def write_table_of_records(
    found: Iterable[pl.DataFrame],
    layout: TableLayout,
    folder: File,
    *,
    list_widths: Mapping[str, int] | None = None,
) -> ProviderTable:
    """As ``write_provider_table``, of records that are in the declared columns already.

    ``found`` has the columns of the found NPIs' outcomes and, after them, the declared ones with their lists whole.
    Raises ValueError when a list of ``list_widths`` does not exist.
    """
    pinned = dict(list_widths or {})
    refuse_unknown_lists(layout, pinned)
    pairs = ((frame, rows_of_records(frame, layout, pinned)) for frame in found if not frame.is_empty())
    return _written(pairs, layout, folder, pinned)


def _written(
    parts: Iterable[tuple[pl.DataFrame, Rows]], layout: TableLayout, folder: File, pinned: Mapping[str, int]
) -> ProviderTable:
    """Write the parts, each given as the outcomes of its NPIs and their rows."""
    summary = _Summary(layout, pinned)
    for number, (found, rows) in enumerate(parts):
        part = folder / f"part-{number:05d}.parquet"
        _with_internals(found, rows).write_parquet(part, compression="zstd", compression_level=1)
        summary.add(found["npi"].to_list(), rows)
    return summary.table()


def _flattened(
    frames: Iterable[pl.DataFrame],
    layout: TableLayout,
    pinned: Mapping[str, int],
    columns: Collection[str] | None = None,
) -> Iterator[tuple[pl.DataFrame, Rows]]:
    for found in frames:
        start = 0
        for rows in _read(found, layout, pinned, columns):
            yield found.slice(start, len(rows.practice)), rows
            start += len(rows.practice)


def _found(outcomes: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The rows of found NPIs, as many at a time as are handled at once."""
    # Not "": that is an NPI of the journal, when the list has a line whose NPI column is empty.
    last: str | None = None
    for frame in outcomes:
        npis = frame["npi"]
        if frame.is_empty():
            continue
        if (last is not None and npis[0] <= last) or not npis.is_sorted() or npis.n_unique() != len(npis):
            raise JournalDamagedError(
                f"the journal is out of order at NPI {npis[0]}: materialise npi_records of that day with "
                "NPI_FETCH_MODE=all"
            )
        last = npis[-1]
        found = frame.filter(pl.col("outcome") == "found")
        if not found.is_empty():
            yield from (found[run] for run in runs_of(found["body"].str.len_bytes().fill_null(0).to_list()))


def _read(
    found: pl.DataFrame, layout: TableLayout, pinned: Mapping[str, int], columns: Collection[str] | None
) -> Iterator[Rows]:
    bodies = found["body"].to_list()
    try:
        if layout.declared:
            yield read_declared(bodies, layout, pinned)
        else:
            yield from read_undeclared(bodies, layout, pinned, columns)
    except TooManyPathsError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        between = f"between NPIs {found['npi'][0]} and {found['npi'][-1]}"
        raise UnreadableAnswerError(
            f"an answer {between} is not what its format found ({error}): materialise npi_records of that day "
            "with NPI_FETCH_MODE=all"
        ) from error


def _with_internals(found: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    leading = found.select("npi", "outcome", "reason", fetched_on=pl.col("fetched_at").dt.date())
    return pl.DataFrame(
        [
            *leading.select(LEADING_COLUMNS).get_columns(),
            *rows.frame.get_columns(),
            pl.Series(UNKNOWN_FIELDS, [rest.text for rest in rows.rest], dtype=pl.String),
            _lists_of_text(STATES, [states for states, _ in rows.practice]),
            _lists_of_text(UNRECOGNISED_STATES, [texts for _, texts in rows.practice]),
        ]
    )


def _lists_of_text(name: str, lists: Sequence[tuple[str, ...]]) -> pl.Series:
    """A column of lists. polars makes a series for each when given lists; splitting text is thirty times as fast."""
    joined = pl.Series(name, [_SEPARATOR.join(texts) if texts else None for texts in lists], dtype=pl.String)
    return joined.str.split(_SEPARATOR)
