"""What changed from one day to a later one, NPI by NPI, as one CSV.

Who joined or left the list, whose outcome is another, and every field of a provider that changed, with old and new
value.

The two days' outcomes are walked in step, a few thousand NPIs at a time; equal answers are not looked into.
RFC 4180 but for the line ends, which are LF; UTF-8; sorted by NPI and then as the columns of the state files.
Not here: which days are compared (``find_changes``), the fields (``changed_fields``), where the file is kept
(``kept_changes``).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path as File

import polars as pl

from npi_pipeline.changes.changed_fields import Cells, changed_fields
from npi_pipeline.changes.kept_changes import ChangedField, ChangesFile, KeptChanges, Summary
from npi_pipeline.providers.answers import UnreadableAnswerError
from npi_pipeline.providers.rows import runs_of
from npi_pipeline.schema.columns import Column, ColumnType, TableLayout
from npi_pipeline.state_files.csv_files import BYTE_ORDER_MARK, csv_of
from npi_pipeline.state_files.csv_injection import escape_formulas

COLUMNS = (
    Column("npi", ColumnType.string, "The NPI that something changed about."),
    Column(
        "change",
        ColumnType.string,
        "joined or left (the NPI list), outcome (another one than before) or field (of a provider found on both days).",
    ),
    Column("field", ColumnType.string, "The state files' column that changed, as location_address.city; or outcome."),
    Column("old", ColumnType.string, "Its cell on the day compared with; empty when there was nothing."),
    Column("new", ColumnType.string, "Its cell on this day; empty when there is nothing any more."),
)
OUTCOME_COLUMNS = ("npi", "outcome", "body")
"""The columns of the journals that are compared."""
PREVIEW_ROWS = 10
SHOWN_CHARACTERS = 200

_SCHEMA = pl.Schema([(column.name, pl.String()) for column in COLUMNS])
_FOUND, _DEACTIVATED = "found", "deactivated"
_NOBODY = pl.DataFrame(schema=dict.fromkeys(OUTCOME_COLUMNS, pl.String))
# So many differing NPIs are gathered before they are compared, or so many characters of their answers: with few at a
# time polars' own cost prevails.
_GATHERED = 2_000
_GATHERED_CHARACTERS = 8 << 20
_PAIRS_AT_A_TIME = 2_500


@dataclasses.dataclass(frozen=True)
class Changes:
    """What changed as a whole, and the file that says it all.

    ``counts``: NPIs that ``joined`` or ``left`` the list, ``outcomes_changed`` of NPIs on both lists, how many of these
    are ``deactivated`` now, ``providers_changed`` and ``fields_changed`` of those found on both days.
    ``outcome_changes`` counts NPIs by old and new outcome. ``fields`` are the changed columns, those of most providers
    first. ``preview`` has the first rows of the file. Cells of both are shortened to SHOWN_CHARACTERS.
    """

    counts: dict[str, int]
    outcome_changes: dict[tuple[str, str], int]
    fields: tuple[ChangedField, ...]
    preview: pl.DataFrame
    file: ChangesFile

    def summary(self) -> Summary:
        """What is known of them besides counts and file."""
        return Summary(
            outcome_changes=tuple((*change, npis) for change, npis in self.outcome_changes.items()),
            fields=self.fields,
            preview=tuple(self.preview.iter_rows()),
        )

    @classmethod
    def of_kept(cls, kept: KeptChanges) -> Changes:
        """Those that are kept, as they were found."""
        return cls(
            counts=dict(kept.counts),
            outcome_changes={(old, new): npis for old, new, npis in kept.summary.outcome_changes},
            fields=kept.summary.fields,
            preview=pl.DataFrame(kept.summary.preview, schema=_SCHEMA, orient="row"),
            file=kept.file,
        )


Bodies = Callable[[pl.Series], pl.DataFrame]
"""From some NPIs, found on both days, to their answers: npi, body (old) and body_new."""


def write_changes(
    old: Iterable[pl.DataFrame],
    new: Iterable[pl.DataFrame],
    layout: TableLayout | None,
    path: File,
    cells: Cells,
    *,
    bodies: Bodies | None = None,
) -> Changes:
    """Write to ``path`` what changed from ``old`` to ``new``.

    Both are OUTCOME_COLUMNS of a day's compacted journal, in order. With ``bodies``, their column body may hold
    anything that is another one for another answer, and only the answers that differ are fetched.
    ``layout`` is of the registry format of both; with None, fields are not compared. The same outcomes and answers
    give the same bytes. Raises ValueError when an answer cannot be read.
    """
    summary = _Summary()
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for content in _contents(_in_step(old, new), layout, cells, summary, bodies):
            file.write(content)
            digest.update(content)
            size += len(content)
    return summary.changes(path.name, size, digest.hexdigest())


def _contents(
    runs: Iterable[tuple[pl.DataFrame, pl.DataFrame]],
    layout: TableLayout | None,
    cells: Cells,
    summary: _Summary,
    bodies: Bodies | None,
) -> Iterator[bytes]:
    """The file piece by piece, of the two days' rows in step."""

    def content(differing: _Differing) -> bytes:
        rows = _rows(differing, layout, cells)
        summary.add(rows)
        return csv_of(rows)

    yield BYTE_ORDER_MARK * cells.byte_order_mark + csv_of(_SCHEMA.to_frame(), include_header=True)
    # Mapped: a loop would hold one piece, with all that it is made of, while the next is gathered.
    yield from map(content, _gathered(_differing_rows(runs, bodies, compare_bodies=layout is not None)))


class _Day:
    """The rows of one day, taken run by run. A frame is read when it is needed, and let go with its last row."""

    def __init__(self, frames: Iterable[pl.DataFrame]) -> None:
        self._frames = (frame for frame in frames if frame.height)
        self._frame: pl.DataFrame | None = None

    def last_npi(self) -> str | None:
        """The last of the NPIs at hand; None when there are no more."""
        if self._frame is None:
            self._frame = next(self._frames, None)
        return None if self._frame is None else self._frame["npi"][-1]

    def up_to(self, npi: str) -> pl.DataFrame:
        """Take the rows up to an NPI, of those at hand."""
        if self._frame is None:
            return _NOBODY
        count = int(self._frame["npi"].search_sorted(npi, side="right"))
        run, rest = self._frame[:count], self._frame[count:]
        self._frame = rest if rest.height else None
        return run.select(_NOBODY.columns)


def _in_step(old: Iterable[pl.DataFrame], new: Iterable[pl.DataFrame]) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The rows of both days for the same run of NPIs, run after run."""
    before, after = _Day(old), _Day(new)
    while lasts := [npi for npi in (before.last_npi(), after.last_npi()) if npi is not None]:
        yield before.up_to(min(lasts)), after.up_to(min(lasts))


@dataclasses.dataclass
class _Differing:
    """NPIs that differ. ``outcomes`` has those with another outcome (null: not on that day's list).

    ``npis`` are those with another answer, ``bodies`` their old and new answers by turns.
    """

    outcomes: list[pl.DataFrame] = dataclasses.field(default_factory=list)
    npis: list[str] = dataclasses.field(default_factory=list)
    bodies: list[str] = dataclasses.field(default_factory=list)

    characters: int = 0

    def add(self, marked: pl.DataFrame) -> None:
        self.outcomes.append(marked.filter("has_other_outcome").select("npi", old="outcome", new="outcome_new"))
        answers = marked.filter("has_other_answer")
        self.npis += answers["npi"].to_list()
        # As Python's strings: a filtered column keeps all the bodies of its part in memory.
        for bodies in zip(answers["body"], answers["body_new"], strict=True):
            self.bodies += bodies
            self.characters += sum(map(len, bodies))

    @property
    def count(self) -> int:
        return len(self.npis) + sum(frame.height for frame in self.outcomes)

    @property
    def is_enough(self) -> bool:
        return self.count >= _GATHERED or self.characters >= _GATHERED_CHARACTERS


def _differing_rows(
    runs: Iterable[tuple[pl.DataFrame, pl.DataFrame]], bodies: Bodies | None, *, compare_bodies: bool
) -> Iterator[pl.DataFrame]:
    """The rows of both days that differ, with their answers."""
    # Mapped: nothing that has been handed on stays in memory meanwhile.
    marked = map(functools.partial(_marked, compare_bodies=compare_bodies), runs)
    if bodies is None:
        yield from marked
        return
    for rows in (some for frame in marked for some in frame.iter_slices(_GATHERED)):
        answers = bodies(rows.filter("has_other_answer")["npi"])
        yield rows.drop("body", "body_new").join(answers, on="npi", how="left", maintain_order="left")


def _gathered(differing: Iterable[pl.DataFrame]) -> Iterator[_Differing]:
    gathered = [_Differing()]
    # Popped: nothing that was handed on stays in memory meanwhile.
    for marked in differing:
        for run in _runs_by_size(marked):
            gathered[0].add(marked[run])
            if gathered[0].is_enough:
                yield gathered.pop()
                gathered.append(_Differing())
    if gathered[0].count:
        yield gathered.pop()


def _marked(run: tuple[pl.DataFrame, pl.DataFrame], *, compare_bodies: bool) -> pl.DataFrame:
    """The rows of both days that differ, and in what."""
    # Joined and sorted without the answers, of which each step would make a copy.
    old, new = (day.select("npi", "outcome", row=pl.int_range(pl.len(), dtype=pl.UInt32)) for day in run)
    both = old.join(new, on="npi", how="full", coalesce=True, suffix="_new").sort("npi")
    answers = _answers(both, run)
    has_other_answer = (pl.col("outcome") == _FOUND) & (answers["body"] != answers["body_new"])
    marked = both.with_columns(has_other_outcome=pl.col("outcome").ne_missing(pl.col("outcome_new"))).with_columns(
        has_other_answer=~pl.col("has_other_outcome") & has_other_answer & pl.lit(compare_bodies)
    )
    differing = marked.filter(pl.col("has_other_outcome") | pl.col("has_other_answer"))
    return differing.with_columns(_answers(differing, run)).drop("row", "row_new")


def _answers(both: pl.DataFrame, run: tuple[pl.DataFrame, pl.DataFrame]) -> pl.DataFrame:
    """The answers in the rows of ``run`` that ``both`` names; null where a day has none."""
    old, new = run
    return pl.DataFrame({"body": old["body"].gather(both["row"]), "body_new": new["body"].gather(both["row_new"])})


def _runs_by_size(marked: pl.DataFrame) -> Iterator[slice]:
    """As many rows at a time as are gathered."""
    sizes = marked["body"].str.len_bytes().fill_null(0) + marked["body_new"].str.len_bytes().fill_null(0)
    return runs_of(sizes.to_list(), _GATHERED_CHARACTERS)


def _rows(differing: _Differing, layout: TableLayout | None, cells: Cells) -> pl.DataFrame:
    """The rows of the file for ``differing``, sorted."""
    change = (
        pl.when(pl.col("old").is_null()).then(pl.lit("joined"))
        .when(pl.col("new").is_null()).then(pl.lit("left"))
        .otherwise(pl.lit("outcome"))
    )  # fmt: skip
    outcomes = pl.concat(differing.outcomes).with_columns(change=change, field=pl.lit("outcome"))
    frames = [outcomes.select(*_SCHEMA)]
    if layout is not None:
        frames += [_field_rows(differing, start, layout, cells) for start in _starts(differing.npis)]
    # An NPI has a row of its outcome or rows of its fields, and these are in order already.
    rows = pl.concat(frames).sort("npi", maintain_order=True)
    return escape_formulas(rows, ("npi",)) if cells.escape_formulas else rows


def _starts(npis: list[str]) -> range:
    return range(0, len(npis), _PAIRS_AT_A_TIME)


def _field_rows(differing: _Differing, start: int, layout: TableLayout, cells: Cells) -> pl.DataFrame:
    stop = start + _PAIRS_AT_A_TIME
    npis = pl.Series("npi", differing.npis[start:stop])
    try:
        changed = changed_fields(differing.bodies[2 * start : 2 * stop], layout, cells)
    except ValueError as error:
        raise UnreadableAnswerError(
            f"an answer between NPIs {npis[0]} and {npis[-1]} cannot be read ({error}): materialise npi_records of "
            "both days with NPI_FETCH_MODE=all"
        ) from error
    return changed.with_columns(npis.gather(changed["pair"]), change=pl.lit("field")).select(*_SCHEMA)


def _shown(name: str) -> pl.Expr:
    """A cell as it is shown: the texts come from outside, and may be as long as an answer."""
    return pl.col(name).str.head(SHOWN_CHARACTERS)


class _Summary:
    """What adds up over the rows."""

    def __init__(self) -> None:
        self._by_change: Counter[str] = Counter()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._providers = 0
        self._fields: dict[str, ChangedField] = {}
        self._preview: list[tuple[str | None, ...]] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Take the next rows; all of one NPI come at once."""
        self._by_change.update(dict(rows["change"].value_counts().iter_rows()))
        for old, new, count in (
            rows.filter(pl.col("change") == "outcome").group_by("old", "new").len().iter_rows()
        ):  # fmt: skip
            self._outcomes[old, new] += count
        fields = rows.filter(pl.col("change") == "field")
        self._providers += fields["npi"].n_unique()
        by_field = fields.group_by("field").agg(pl.len(), pl.first("npi"), _shown("old").first(), _shown("new").first())
        for field, providers, npi, old, new in by_field.iter_rows():
            known = self._fields.get(field) or ChangedField(field, 0, npi, old or "", new or "")
            self._fields[field] = dataclasses.replace(known, providers=known.providers + providers)
        shown = rows.head(PREVIEW_ROWS - len(self._preview)).with_columns(_shown("old"), _shown("new"))
        # As Python's strings: a column keeps the texts that its own are cut from in memory.
        self._preview += shown.rows()

    def changes(self, name: str, size: int, sha256: str) -> Changes:
        """All of it; ``name``, ``size`` and ``sha256`` are the file's."""
        return Changes(
            counts={
                "joined": self._by_change["joined"],
                "left": self._by_change["left"],
                "outcomes_changed": self._by_change["outcome"],
                "deactivated": sum(count for (_, new), count in self._outcomes.items() if new == _DEACTIVATED),
                "providers_changed": self._providers,
                "fields_changed": self._by_change["field"],
            },
            outcome_changes=dict(sorted(self._outcomes.items())),
            fields=tuple(sorted(self._fields.values(), key=lambda changed: (-changed.providers, changed.field))),
            preview=pl.DataFrame(self._preview, schema=_SCHEMA, orient="row"),
            file=ChangesFile(name, self._by_change.total(), size, sha256),
        )
