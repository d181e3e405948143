"""From the bytes of the list to its distinct NPIs, and what of it was not clear.

Every record that holds anything is accounted for: it is the header or stands above it, or is an NPI (perhaps an invalid
one), or the repetition of one. Valid NPIs in other places than those that were taken are counted and named.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools

import polars as pl

from npi_pipeline.check_digit import why_invalid
from npi_pipeline.findings import Npis
from npi_pipeline.npi_list.cells import ARMOUR, as_number, as_text, clean, cleaned
from npi_pipeline.npi_list.column import ColumnChoice, Record, choose_column
from npi_pipeline.npi_list.dialect import Dialect, find_dialect
from npi_pipeline.npi_list.records import records_of
from npi_pipeline.npi_list.text import ListUnreadableError, text_of

PARSER_VERSION = 2
"""Raised with every change of what the same bytes mean."""

SCHEMA = pl.Schema({"npi": pl.String, "reason": pl.String, "line": pl.UInt32, "occurrences": pl.UInt32})
VALID = pl.Schema({"npi": pl.UInt32, "line": pl.UInt32, "occurrences": pl.UInt32})

_SAMPLE_LINES = 5000
_EXAMPLES = 3
# Digits with no letter between them: what groups them (1,234,567,893), and what stands between two NPIs.
_DIGITS_IN_GROUPS = r"[0-9]+(?:[^0-9\pL]{1,3}[0-9]+)*"
_OUTSIDE = pl.Schema({"npi": pl.UInt32, "line": pl.UInt32, "column": pl.UInt32, "is_torn": pl.Boolean})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListLayout:
    """How a list was read.

    ``header`` is the name of the column that was taken, ``column`` its position (from 1), ``title_lines`` what stands
    above the header. ``ambiguities`` are the reasons why NPIs may have been missed or be wrong, one line with a remedy
    each; ``remarks`` is what a person may want to know besides.
    """

    header: str | None
    lines: int
    empty_lines: int
    column: int = 1
    title_lines: int = 0
    ambiguities: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class NpiList(ListLayout):
    """The distinct NPIs of a list: one row for each, sorted by npi.

    ``valid`` has the columns of ``VALID`` and holds NPIs as numbers, of which many go into little memory; ``rejected``,
    what is no NPI, has those of ``SCHEMA``: ``reason`` says why, ``line`` is where it stands first (from 1),
    ``occurrences`` how often.
    """

    valid: pl.DataFrame
    rejected: pl.DataFrame

    @functools.cached_property
    def npis(self) -> pl.DataFrame:
        """All of them with the columns of ``SCHEMA``, as text, which takes memory. Of the valid, ``reason`` is null."""
        npis = self.valid.select(as_text(pl.col("npi")), pl.lit(None, pl.String).alias("reason"), "line", "occurrences")
        return npis if self.rejected.is_empty() else pl.concat([npis, self.rejected]).sort("npi")

    @property
    def as_set(self) -> Npis:
        """All of them, to be compared with others."""
        return Npis.of([self.valid["npi"], self.rejected["npi"]])

    @property
    def distinct(self) -> int:
        """How many distinct NPIs, those that are invalid too."""
        return self.valid.height + self.rejected.height

    @property
    def duplicates(self) -> int:
        """Lines that only repeat an NPI."""
        return sum(int(npis["occurrences"].sum()) - npis.height for npis in (self.valid, self.rejected))

    @property
    def invalid(self) -> int:
        """Distinct NPIs that are never sent to the registry."""
        return self.rejected.height

    @property
    def column_name(self) -> str:
        """The column for a person, such as ``column 2 'NPI'``."""
        return f"column {self.column}" + (f" {self.header[:40]!r}" if self.header else "")

    def examples_of_invalid(self, most: int) -> list[str]:
        """The first of them for a person, each like ``line 2 '12345' (has 5 digits instead of 10)``."""
        first = self.rejected.sort("line").head(most)
        return [
            f"line {line} {npi[:40]!r} ({reason})"
            for npi, reason, line in first.select("npi", "reason", "line").iter_rows()
        ]


def parse_npi_list(data: bytes, column: str = "") -> NpiList:
    """The distinct NPIs of the list ``data``; ``column`` is NPI_LIST_COLUMN. Raises ListUnreadableError."""
    sample = "".join(itertools.islice(io.StringIO(next(text_of(data), ""), newline="\n"), _SAMPLE_LINES))
    dialect = find_dialect(sample)
    records = _sample_records(sample, dialect)
    if not records:
        raise ListUnreadableError("is empty")
    choice = choose_column(records, column)
    title_lines = sum(record.line < choice.line for record in records) + dialect.said_in_line
    read = _Read(choice, after=max(choice.line, dialect.said_in_line))
    for frame in records_of(text_of(data), dialect.delimiter, dialect.width):
        read.add(frame)
    valid, rejected = read.distinct()
    if valid.is_empty() and rejected.is_empty():
        name = choice.header[choice.index] if choice.header else ""
        raise ListUnreadableError(f"holds the header {name[:40]!r} and no NPI")
    ambiguities, remarks = read.unclear(valid["npi"], is_set=bool(column))
    return NpiList(
        valid=valid,
        rejected=rejected,
        header=choice.header[choice.index] if choice.index < len(choice.header) else None,
        lines=read.lines,
        empty_lines=read.empty,
        column=choice.index + 1,
        title_lines=title_lines,
        ambiguities=((choice.ambiguity,) if choice.ambiguity else ()) + ambiguities,
        remarks=remarks,
    )


def _sample_records(sample: str, dialect: Dialect) -> list[Record]:
    return [
        Record(line, cleaned_cells)
        for frame in records_of([sample] if sample else [], dialect.delimiter, dialect.width)
        for line, cells in frame.select("line", "cells").iter_rows()
        if any(cleaned_cells := tuple(map(clean, cells))) and line > dialect.said_in_line
    ]


class _Read:
    """What was read of a list so far: its NPIs as numbers, what is no NPI as text, and NPIs that stand elsewhere."""

    def __init__(self, choice: ColumnChoice, after: int) -> None:
        self.lines = self.empty = self.strays = 0
        self._choice = choice
        self._after = after
        self._valid: list[pl.DataFrame] = []
        self._invalid: list[pl.DataFrame] = []
        self._outside: list[pl.DataFrame] = []
        self._first_strays: list[int] = []

    def add(self, records: pl.DataFrame) -> None:
        """Take in the records of one piece."""
        if records.is_empty():
            return
        cell = cleaned(pl.col("cells").list.get(self._choice.index, null_on_oob=True)).fill_null("")
        records = records.with_columns(cell=cell).with_columns(npi=as_number(pl.col("cell")))
        self.lines = _last_line(records)
        if not (records["cell"] != "").all():
            is_empty = records.select((pl.col("cell") == "") & _has_no_text(pl.col("cells"))).to_series()
            self.empty += int(is_empty.sum())
            records = records.filter(~is_empty)
        records = records.filter(pl.col("line") > self._after)
        strays = records.filter("stray")["line"]
        self.strays += strays.len()
        self._first_strays += strays.head(_EXAMPLES - len(self._first_strays)).to_list()
        self._valid.append(records.filter(pl.col("npi").is_not_null()).select("npi", "line"))
        invalid = records.filter(pl.col("npi").is_null())
        if not invalid.is_empty():
            self._invalid.append(
                invalid.group_by(npi=pl.col("cell")).agg(line=pl.min("line"), occurrences=pl.len().cast(pl.UInt32))
            )
            self._outside.append(_inside(invalid, self._choice.index))
        several = records.filter(pl.col("cells").list.len() > 1)
        if not several.is_empty():
            self._outside.append(_outside(several, self._choice.index))

    def distinct(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """One row for each distinct NPI, as ``NpiList`` has them: the valid ones, and the others."""
        valid = pl.concat([VALID.to_frame().select("npi", "line"), *self._valid])
        self._valid.clear()
        # Sorted rather than hashed: it takes a third of the memory. Most lists are sorted, and not copied.
        if not valid["npi"].is_sorted():
            valid = valid.sort("npi", maintain_order=True)
        is_first = valid["npi"].ne_missing(valid["npi"].shift())
        if is_first.all():
            valid = valid.with_columns(occurrences=pl.lit(1, pl.UInt32))
        else:
            first = is_first.arg_true()
            valid = valid[first].with_columns(occurrences=first.shift(-1, fill_value=valid.height) - first)
        if not self._invalid:
            return valid, SCHEMA.to_frame()
        rejected = (
            pl.concat(self._invalid)
            .group_by("npi")
            .agg(pl.min("line"), pl.sum("occurrences"))
            .with_columns(reason=pl.col("npi").map_elements(_reason, return_dtype=pl.String))
        )
        columns = [pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()]
        return valid, rejected.select(columns).sort("npi")

    def unclear(self, valid: pl.Series, *, is_set: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is not clear, and what is only remarked on: ``is_set`` says that the column was chosen by a person."""
        ambiguities, remarks = [], []
        if self.strays:
            lines = ", ".join(map(str, self._first_strays))
            ambiguities.append(
                f"{self.strays:,} quotes do not close, in line {lines}: what they begin was read as lines by "
                "themselves; close them"
            )
        lost = pl.concat([_OUTSIDE.to_frame(), *self._outside]).unique("npi", keep="first", maintain_order=True)
        if not lost.is_empty():
            lost = lost.join(valid.to_frame(), on="npi", how="anti", maintain_order="left")
        torn = lost.filter("is_torn")
        if not torn.is_empty():
            ambiguities.append(self._told(torn, "inside of longer cells") + "; mend these lines, one NPI a line")
        others = lost.filter(~pl.col("is_torn"))
        if not others.is_empty():
            told = self._told(others, "outside of that column and were not taken")
            if is_set:
                remarks.append(told)
            else:
                ambiguities.append(
                    f"{told}; name their column in NPI_LIST_COLUMN if they are meant, else set it to "
                    f"{self._choice.index + 1}"
                )
        return tuple(ambiguities), tuple(remarks)

    def _told(self, lost: pl.DataFrame, where: str) -> str:
        examples = (
            f"{npi} in line {line}, {self._choice.describe(column)}"
            for npi, line, column in lost.select("npi", "line", "column").head(_EXAMPLES).iter_rows()
        )
        return f"{lost.height:,} valid NPIs stand {where}, e.g. {'; '.join(examples)}"


def _last_line(records: pl.DataFrame) -> int:
    """The last line of the last record."""
    line, spans, cells = records.select("line", "spans", "cells").row(-1)
    return int(line) + (sum(cell.count("\n") for cell in cells) if spans else 0)


def _has_no_text(cells: pl.Expr) -> pl.Expr:
    return ~cells.list.eval(pl.element().str.strip_chars(ARMOUR) != "").list.any()


def _inside(invalid: pl.DataFrame, column: int) -> pl.DataFrame:
    """Valid NPIs inside of cells that are more than an NPI, with what groups their digits or without."""
    cells = invalid.select("line", "cell", column=pl.lit(column, pl.UInt32), is_torn=pl.lit(value=True))
    cells = cells.filter(pl.col("cell").str.count_matches("[0-9]") >= 10)  # noqa: PLR2004
    runs = cells.with_columns(npi=pl.col("cell").str.extract_all("[0-9]+"))
    groups = cells.with_columns(pl.col("cell").str.extract_all(_DIGITS_IN_GROUPS)).explode("cell")
    groups = groups.with_columns(pl.col("cell").str.replace_all("[^0-9]", "")).filter(
        pl.col("cell").str.len_bytes() % 10 == 0
    )
    whole = groups.with_columns(npi=pl.col("cell").str.extract_all("[0-9]{10}"))
    return _as_found(pl.concat([runs, whole]).explode("npi"))


def _outside(records: pl.DataFrame, column: int) -> pl.DataFrame:
    """Valid NPIs in other columns than ``column``, of records of several cells."""
    found = (
        records.select("line", "cells", column=pl.int_ranges(pl.col("cells").list.len(), dtype=pl.UInt32))
        .explode("cells", "column")
        .filter((pl.col("column") != column) & pl.col("cells").str.contains("[12][0-9]{9}"))
        .select("line", "column", is_torn=pl.lit(value=False), npi=pl.col("cells").str.extract_all("[0-9A-Za-z]+"))
    )
    return _as_found(found.explode("npi"))


def _as_found(texts: pl.DataFrame) -> pl.DataFrame:
    """Those of ``texts`` that are valid NPIs (_OUTSIDE), each once, where it stands first."""
    found = texts.with_columns(as_number(pl.col("npi"))).drop_nulls("npi").select(*_OUTSIDE)
    return found.unique("npi", keep="first", maintain_order=True)


def _reason(npi: str) -> str:
    return why_invalid(npi) or "" if npi else "the NPI column is empty"
