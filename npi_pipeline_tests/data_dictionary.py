"""The data dictionary, made from the code and a day of real records: ``python -m npi_pipeline_tests.data_dictionary``.

What it prints is ``docs/data_dictionary.md``, held by ``test_docs``. Columns, types and meanings come from the declared
schemas, examples from the real answers in ``data/registry``. A column or key that comes new is refused until it is
described.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from npi_pipeline.changes import write_changes
from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.changes.kept_changes import read_kept_changes
from npi_pipeline.journal import SCHEMA as JOURNAL
from npi_pipeline.npi_list import parse_npi_list
from npi_pipeline.outcomes import Outcome
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.nppes_bulk.records import CAPITALS_IN_BULK, DASHES_IN_API, NOT_CARRIED, NOT_IN_BULK
from npi_pipeline.schema.columns import LEADING, TRAILING, Column, PickedFields, record_columns
from npi_pipeline.schema.json_paths import STATES, UNRECOGNISED_STATES
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.publish import read_manifest
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import complete
from npi_pipeline_tests.flattened import real_bodies

DAYS = (dt.date(2026, 11, 23), dt.date(2026, 11, 24))
# Of the first day alone; what the second day has besides are two made-up ones without a record.
LEAVES = "1003101296"
WITHOUT_RECORD: dict[str, str | Outcome] = {"1234567893": Outcome.not_found, "1003000126": Outcome.deactivated}
LONGEST_EXAMPLE = 60

SOURCE_OF_LEADING = {
    "npi": "the NPI list",
    "outcome": "the journal",
    "reason": "the journal; the registry's own words where it gave any",
    "fetched_on": "the journal: the day of `fetched_at`",
    "unknown_fields": "whatever has no column, by its path in the record",
}
PAGE = """\
# Data dictionary

Every column of every file of a day. Made by `python -m npi_pipeline_tests.data_dictionary`, not by hand; examples are
of the real records in `npi_pipeline_tests/data/registry`. `[*]` stands for each position of a list, from 0:
`taxonomies[*].code` are the columns `taxonomies[0].code`, `taxonomies[1].code`, ... How wide each list is, the day's
widest record says, or `NPI_LIST_WIDTHS`.

## State files: `npi_data_<day>_<state>.csv` and `npi_data_<day>_None.csv`

One row per found NPI in the file of each state where the provider practises, for the format `nppes`. A source is a
place in the registry's answer. Every cell is text; the type says what stands in it. An empty cell is null or missing in
every type; a `'` before a cell keeps a spreadsheet from running it.

{state_files}

A format without a declared schema (`affiliated_practices`) has, between the first four columns and the last, a column
for each path that the day's records hold.

## NPIs that could not be had: `npi_data_<day>_Failed.csv`

One row per NPI whose outcome is not `found`, with the same header; all but the first four cells are empty.

| npi | outcome | reason |
|---|---|---|
{failed}

## Changes: `provider_changes_<day>.csv`

| column | type | meaning | example |
|---|---|---|---|
{changes}

## `manifest.json`: what is published

{manifest}

## `changes.json`: what the changes are of

{changes_json}

## Provider table: `provider_table/day=<day>/part-*.parquet`

One typed row per found NPI, with the columns of the state files in types of their own (`int` is Int64, `date` is Date,
`bool` is Boolean), but each list is one column of structs and not spread, and these come last:

{provider_table}

## Journal: `journal/day=<day>/**/*.parquet`

Every outcome; once the day is whole, one row per NPI of the list, sorted by NPI, in `compacted/`, and in `outcomes/`
the same rows without `body`.

{journal}

## NPI list: `npi_list/<day>/npis.parquet`

The distinct NPIs of the list, which lies beside it as it was read (`npi_list.txt`).

{npis}

## From the registry's files (`nppes_bulk`)

The same columns and cells as by API, but for these. Columns that the files cannot fill, which are empty:

{not_in_bulk}

Columns in which the API has `--` where somebody chose none, and the files nothing:

{dashes_in_api}

Columns whose letters the files have as capitals where the API has them as they were typed:

{capitals_in_bulk}

Columns of the files that go nowhere:

{not_carried}
"""

# The day on which the examples were made says nothing.
FETCHED_ON = "2026-11-24"

PROVIDER_TABLE = {
    STATES: "The states where the provider practises, as codes: the files that the row is in. Null: the file `None`.",
    UNRECOGNISED_STATES: "State texts of practice addresses that are no state of the United States.",
}
JOURNAL_MEANING = {
    "npi": "The NPI of the list, or what stands there in its place.",
    "run": "Which run of the day wrote the row, counted from 1; of two rows of an NPI that of the later run stands.",
    "outcome": "`found`, `not_found`, `deactivated`, `invalid` or `failed`.",
    "reason": "Why it is not `found`, on one line.",
    "retryable": "Of `failed`: whether asking again later may help.",
    "status": "HTTP status of the last answer; null when there was none.",
    "attempts": "Requests that were made for the NPI.",
    "fetched_at": "When the outcome was known (UTC).",
    "body": "The registry's answer as it came; null for `failed` and `invalid`.",
}
NPIS_MEANING = {
    "npi": "The NPI, or what stands in its place; sorted.",
    "reason": "Why it is no valid NPI, which is never sent to the registry; null for a valid one.",
    "line": "The first line of the list that it stands on, counted from 1.",
    "occurrences": "On how many lines it stands.",
}
MANIFEST_MEANING = {
    "version": "Of this file's layout.",
    "day": "The day.",
    "published_at": "When it was published (UTC).",
    "source": "The NPI list: bucket, key, ETag, version, when it was put, how it was chosen.",
    "list_sha256": "SHA-256 of the list's bytes.",
    "journal_digest": "Digest of the rows of the journal that the files were made from.",
    "input_digest": "Digest of all that shows in the files: where it is the same, they need not be made again.",
    "folder": "Where the files lie, below the manifest's own folder; empty on a local root, where they lie beside it.",
    "npis": "Distinct NPIs of the list.",
    "outcomes": "How many of them by outcome.",
    "files": "For each file `name`, `state`, `rows` (without the header), `bytes` and `sha256`.",
    "registry_files": "Where the registry is its own files (`nppes_bulk`): of each its `name`, `kind`, `date`, `size` "
    "in bytes and `sha256`.",
    "columns": "The header that all files share.",
}
CHANGES_MEANING = {
    "version": "Of this file's layout.",
    "publication": "Whose changes they are: `day`, `published_at`, and `manifest_sha256` of its `manifest.json`.",
    "compared_with": "The publication that it is compared with, in the same words; null: none.",
    "skipped": "A line for each published day in between that could not be compared with, if any.",
    "fields_compared": "False when the two days were recorded in different registry formats.",
    "escape_formulas": "Whether a quote stands before each text in the CSV that a spreadsheet would run as a formula.",
    "counts": "How many NPIs joined, left, changed their outcome, are deactivated now; providers and fields changed.",
    "file": "The CSV: `name`, `rows` (without the header), `bytes`, `sha256`, and its `folder` below this file's, "
    "empty on a local root.",
    "input_digest": "As in the manifest.",
    "summary": "What is shown in the UI: outcomes by old and new, the fields that changed most, the first rows.",
}


def data_dictionary() -> str:
    """The whole page as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        _make_days(LocalRoot(Path(folder)))
        return PAGE.format(**{name: "\n".join(lines) for name, lines in _tables(Path(folder)).items()})


def _make_days(root: LocalRoot) -> None:
    """Two complete days: on the second a provider has left the list, and another one has moved."""
    bodies: dict[str, str | Outcome] = {**real_bodies(), **WITHOUT_RECORD}
    before = bodies | {"1124642624": re.sub(r'"city":\s*"[^"]*"', '"city": "AUSTIN"', real_bodies()["1124642624"])}
    complete(root, DAYS[0], dict(sorted(before.items())))
    complete(root, DAYS[1], {npi: outcome for npi, outcome in sorted(bodies.items()) if npi != LEAVES})
    find_changes(root, DAYS[1], FileSettings())


def _tables(folder: Path) -> dict[str, Iterable[str]]:
    """What stands in each of the places that PAGE leaves open."""
    state_files = sorted((folder / f"state_files/{DAYS[1]}").glob("*.csv"))
    failed = next(path for path in state_files if path.stem.endswith("_Failed"))
    rows = [row for path in state_files if path != failed for row in _rows_of(path)]
    changes = folder / f"provider_changes/{DAYS[1]}"
    moved = next(row for row in _rows_of(next(changes.glob("*.csv"))) if row["field"] == "location_address.city")
    root = LocalRoot(folder)
    manifest, kept = read_manifest(root, FileSettings().state_files_dir, DAYS[1]), read_kept_changes(root, DAYS[1])
    table = pl.read_parquet_schema(next((folder / f"provider_table/day={DAYS[1]}").glob("*.parquet")))
    return {
        "state_files": _columns_table(_nppes_columns(), rows),
        "failed": (f"| {row['npi']} | {row['outcome']} | {row['reason']} |" for row in _rows_of(failed)),
        "changes": (
            f"| `{column.name}` | {column.type.value} | {column.description} | {_cell(moved[column.name])} |"
            for column in write_changes.COLUMNS
        ),
        "manifest": _keys_table(manifest.to_json(), MANIFEST_MEANING),
        "changes_json": _keys_table(kept.to_json(), CHANGES_MEANING),
        "provider_table": _schema_table({name: table[name] for name in _besides(table)}, PROVIDER_TABLE),
        "npis": _schema_table(parse_npi_list(b"npi\n1234567893\n").npis.schema, NPIS_MEANING),
        "journal": _schema_table(JOURNAL, JOURNAL_MEANING),
        "not_in_bulk": [_names(NOT_IN_BULK)],
        "dashes_in_api": [_names(DASHES_IN_API)],
        "capitals_in_bulk": [_names(CAPITALS_IN_BULK)],
        "not_carried": [f"- `{column}`: {why}" for column, why in NOT_CARRIED.items()],
    }


def _nppes_columns() -> Iterator[tuple[Column, str]]:
    """Each column of the state files with ``[*]`` for positions, and where its value comes from."""
    layout = FORMATS["nppes"].layout
    widths = {part.name: 1 for part in layout.lists_of_columns()}
    former = {
        f"{part.name}.{field.name}": field.former_name
        for part in layout.objects
        for field in part.fields
        if field.former_name
    }
    yield from ((column, SOURCE_OF_LEADING[column.name]) for column in LEADING)
    for column in record_columns(layout, widths):
        name = column.name.replace("[0]", "[*]")
        source = f"`{_path_in_answer(name, layout.picked)}`"
        if name in former:
            source += f" (before: `{former[name]}`)"
        yield Column(name, column.type, column.description), source
    yield from ((column, SOURCE_OF_LEADING[column.name]) for column in TRAILING)


def _path_in_answer(name: str, picked: PickedFields | None) -> str:
    """Where in an answer of ``nppes`` the value of a column stands."""
    if picked is not None:
        for value, pick in picked.picks:
            if name.startswith(f"{pick}."):
                return f"results[0].{picked.name}[{picked.key}={value}].{name.removeprefix(f'{pick}.')}"
        if name.startswith(f"{picked.rest}["):
            return f"results[0].{picked.name}[others].{name.rpartition('.')[2]}"
    return f"results[0].{name}"


def _columns_table(columns: Iterable[tuple[Column, str]], rows: list[dict[str, str]]) -> Iterator[str]:
    yield "| column | type | meaning | source | example |"
    yield "|---|---|---|---|---|"
    for column, source in columns:
        example = FETCHED_ON if column.name == "fetched_on" else _example_of(column.name, rows)
        yield f"| `{column.name}` | {column.type.value} | {column.description} | {source} | {_cell(example)} |"


def _example_of(name: str, rows: list[dict[str, str]]) -> str:
    """The first cell of that column, at whatever position, that is not empty."""
    if "[*]" not in name:
        return next((row[name] for row in rows if row[name]), "")
    of_list = re.compile(re.escape(name).replace(re.escape("[*]"), r"\[\d+\]"))
    return next((cell for row in rows for key, cell in row.items() if cell and of_list.fullmatch(key)), "")


def _cell(text: str) -> str:
    """An example as a cell of Markdown."""
    if not text:
        return ""
    shown = text if len(text) <= LONGEST_EXAMPLE else f"{text[:LONGEST_EXAMPLE]}…"
    return f"`{shown.replace('|', chr(92) + '|')}`"


def _keys_table(content: bytes, meaning: Mapping[str, str]) -> Iterator[str]:
    keys: dict[str, Any] = json.loads(content)
    if differing := keys.keys() ^ meaning.keys():
        raise KeyError(f"described or there, but not both: {', '.join(sorted(differing))}")
    types = {str: "text", int: "number", bool: "true or false", dict: "object", list: "list"}
    yield "| key | type | meaning |"
    yield "|---|---|---|"
    yield from (f"| `{key}` | {types[type(keys[key])]} | {said} |" for key, said in meaning.items())


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f"`{column}`" for column in columns)


def _schema_table(schema: Mapping[str, Any], meaning: Mapping[str, str]) -> Iterator[str]:
    yield "| column | type | meaning |"
    yield "|---|---|---|"
    for name, dtype in schema.items():
        yield f"| `{name}` | {dtype} | {meaning[name]} |"


def _besides(table: Mapping[str, Any]) -> list[str]:
    """The columns of the provider table that the state files do not have."""
    in_files = {re.split(r"\[", column.name)[0] for column, _ in _nppes_columns()}
    return [name for name in table if name not in in_files]


def _rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


if __name__ == "__main__":
    print(data_dictionary(), end="")
