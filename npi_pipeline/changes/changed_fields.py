"""Which cells of the state files differ between two answers about the same provider.

Both answers are flattened as for the state files, by the same readers, and compared cell by cell as text: a missing
value, null and the empty text are the same empty cell. Lists are compared by position. What no column holds is one
cell, ``unknown_fields``. Not here: which answers are compared (``changes``).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence

import polars as pl

from npi_pipeline.providers.declared import read_declared
from npi_pipeline.providers.inferred import read_undeclared
from npi_pipeline.providers.rows import Rows
from npi_pipeline.schema.columns import TableLayout
from npi_pipeline.schema.json_paths import UNKNOWN_FIELDS, Path, column_of, order_of
from npi_pipeline.state_files.csv_injection import escape_formulas

SCHEMA = pl.Schema([("pair", pl.UInt32), ("field", pl.String), ("old", pl.String), ("new", pl.String)])

_NO_CELLS = pl.DataFrame(schema={"pair": pl.UInt32, "field": pl.String, "cell": pl.String})
# The order of the state files' columns: by the block (the scalars, then list after list, then what is unknown), in a
# list by position, and then by the field's place.
_ORDER = ["pair", "block", "position", "place"]
_PLAIN = ""


@dataclasses.dataclass(frozen=True)
class Cells:
    """How cells are written: as in the state files.

    ``list_widths`` pins how many items of a list have columns. Where ``escape_formulas`` is set, a quote stands before
    each formula in a column of text, and where ``byte_order_mark`` is, that mark before the header. For a format
    without a declared schema, ``old_numbers`` and ``new_numbers`` are the columns that held no text in the state files
    of the one and the other day, and ``columns`` those that either day had (None: any).
    """

    list_widths: Mapping[str, int] = dataclasses.field(default_factory=dict)
    escape_formulas: bool = True
    byte_order_mark: bool = False
    old_numbers: Collection[str] = ()
    new_numbers: Collection[str] = ()
    columns: Collection[str] | None = None


def changed_fields(bodies: Sequence[str], layout: TableLayout, cells: Cells) -> pl.DataFrame:
    """The cells that differ (SCHEMA), in the order of the pairs and then of the state files' columns.

    ``bodies`` are the old and the new answer of pair 0, of pair 1 and so on. ``old`` and ``new`` are null for an empty
    cell. Raises ValueError when an answer cannot be read as one of ``layout``.
    """
    try:
        if layout.declared:
            return _changed_declared(bodies, layout, cells)
        return _changed_undeclared(bodies, layout, cells)
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"an answer is not what its format found ({error})") from error


def _changed_declared(bodies: Sequence[str], layout: TableLayout, cells: Cells) -> pl.DataFrame:
    rows = read_declared(bodies, layout, cells.list_widths)
    declared = (_changed_columns(*block, escape=cells.escape_formulas) for block in _blocks(rows, layout))
    changed = [
        frame.with_columns(block=pl.lit(number, pl.Int32))
        for number, block in enumerate(itertools.chain(declared, [_changed_rest(rows)]))
        for frame in block
    ]
    if not changed:
        return pl.DataFrame(schema=SCHEMA)
    return pl.concat(changed).sort(_ORDER).select(*SCHEMA)


def _blocks(rows: Rows, layout: TableLayout) -> Iterator[tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, str]]:
    """The declared columns of old and new answers, by turns in ``rows``, block by block: see ``_changed_columns``."""
    old, new = rows.frame.gather_every(2), rows.frame.gather_every(2, 1)
    lists = [part.name for part in layout.lists_of_columns()]
    pairs = pl.DataFrame({"pair": pl.int_range(old.height, dtype=pl.UInt32, eager=True)})
    nowhere = pairs.with_columns(position=pl.lit(0, pl.Int64))
    yield nowhere, old.drop(lists), new.drop(lists), _PLAIN
    for name in lists:
        old_items, new_items = _items(pairs, old[name], "old"), _items(pairs, new[name], "new")
        items = old_items.join(new_items, on=["pair", "position"], how="full", coalesce=True)
        yield items, items["old"].struct.unnest(), items["new"].struct.unnest(), f"{name}[{{}}].{{}}"


def _items(pairs: pl.DataFrame, lists: pl.Series, name: str) -> pl.DataFrame:
    """The items of ``lists``, one list for each of ``pairs``, one below the other with their positions."""
    rows = pairs.with_columns(lists.alias(name), position=pl.int_ranges(0, lists.list.len()))
    return rows.explode(name, "position", empty_as_null=False, keep_nulls=False)


def _changed_columns(
    keys: pl.DataFrame, old: pl.DataFrame, new: pl.DataFrame, name: str, *, escape: bool
) -> Iterator[pl.DataFrame]:
    """The differing cells of each column of ``old`` and ``new``, whose rows are those of ``keys``.

    ``name`` makes the name of the state files' column of a position and a column; _PLAIN is the column's own name.
    """
    sides = [side.select(pl.all().name.prefix(prefix)) for side, prefix in ((old, "old "), (new, "new "))]
    both = pl.concat(sides, how="horizontal")
    # All columns at once: one at a time polars' own cost is half of the whole.
    differs = both.select(_differs(column, dtype).alias(column) for column, dtype in old.schema.items())
    for place, column in enumerate(old.columns):
        if not differs[column].any():
            continue
        changed = keys.filter(differs[column]).select(
            "pair",
            "position",
            place=pl.lit(place, pl.Int32),
            field=pl.lit(column) if name == _PLAIN else pl.format(name, "position", pl.lit(column)),
        )
        values = both.filter(differs[column]).select(
            old=pl.col(f"old {column}").cast(pl.String), new=pl.col(f"new {column}").cast(pl.String)
        )
        texts = ("old", "new") if old.schema[column] == pl.String and escape else ()
        yield pl.concat([changed, escape_formulas(values, texts)], how="horizontal")


def _changed_rest(rows: Rows) -> Iterator[pl.DataFrame]:
    """The differing cells of what no column holds, shaped as those of ``_changed_columns``.

    Few records have any, but one may be as long as an answer: compared as columns it would be copied again and again.
    """
    texts = [rest.text for rest in rows.rest]
    by_pair = enumerate(zip(texts[::2], texts[1::2], strict=True))
    differing = [(pair, old, new) for pair, (old, new) in by_pair if (old or "") != (new or "")]
    if differing:
        yield pl.DataFrame(differing, schema=["pair", "old", "new"], orient="row").select(
            pl.col("pair").cast(pl.UInt32),
            position=pl.lit(0, pl.Int64),
            place=pl.lit(0, pl.Int32),
            field=pl.lit(UNKNOWN_FIELDS),
            # Of an object, which no spreadsheet takes for a formula.
            old=pl.col("old").cast(pl.String),
            new=pl.col("new").cast(pl.String),
        )


def _differs(column: str, dtype: pl.DataType) -> pl.Expr:
    old, new = pl.col(f"old {column}"), pl.col(f"new {column}")
    return old.fill_null("") != new.fill_null("") if dtype == pl.String else old.ne_missing(new)


def _changed_undeclared(bodies: Sequence[str], layout: TableLayout, cells: Cells) -> pl.DataFrame:
    paths: set[Path] = set()
    old, new = [_NO_CELLS], [_NO_CELLS]
    start = 0
    for rows in read_undeclared(bodies, layout, cells.list_widths, cells.columns):
        paths.update(rows.paths)
        long = _long(rows, start)
        is_new = pl.col("row") % 2 == 1
        cell_of_pair = (pl.col("row") // 2).cast(pl.UInt32).alias("pair"), "field", "cell"
        old.append(long.filter(~is_new).select(*cell_of_pair))
        new.append(long.filter(is_new).select(*cell_of_pair))
        start += len(rows.practice)
    both = pl.concat(old).join(pl.concat(new), on=["pair", "field"], how="full", coalesce=True, suffix="_new")
    changed = both.rename({"cell": "old", "cell_new": "new"}).filter(pl.col("old").ne_missing(pl.col("new")))
    names = [*(column_of(path) for path in sorted(paths, key=order_of)), UNKNOWN_FIELDS]
    places = pl.DataFrame({"field": names}).with_row_index("place")
    ordered = changed.join(places, on="field", how="left").sort("pair", "place")
    if cells.escape_formulas:
        ordered = ordered.with_columns(
            _escaped_but(ordered, "old", cells.old_numbers), _escaped_but(ordered, "new", cells.new_numbers)
        )
    return ordered.select(*SCHEMA)


def _long(rows: Rows, start: int) -> pl.DataFrame:
    """The cells of ``rows`` that are not empty as row, field and cell; rows are numbered from ``start``."""
    wide = rows.frame.with_columns(_unknown_column(rows))
    names = pl.Series("field", wide.columns)
    # The names are the registry's: any of ours beside them could be one of them.
    wide.columns = [str(number) for number in range(wide.width)]
    # The cells of one column after those of another.
    numbered = wide.unpivot(value_name="cell").select(
        "cell", number=pl.int_range(pl.len()) // wide.height, row=pl.int_range(pl.len()) % wide.height + start
    )
    long = numbered.filter(pl.col("cell") != "")
    return long.select("row", names.gather(long["number"]), "cell")


def _escaped_but(rows: pl.DataFrame, name: str, numbers: Collection[str]) -> pl.Series:
    """The column ``name`` escaped, but in the rows of fields that are ``numbers``."""
    is_number = rows["field"].is_in(list(numbers))
    column: pl.Series = rows[name].zip_with(is_number, escape_formulas(rows, (name,))[name])
    return column


def _unknown_column(rows: Rows) -> pl.Series:
    return pl.Series(UNKNOWN_FIELDS, [rest.text for rest in rows.rest], dtype=pl.String)
