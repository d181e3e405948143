"""A day's outcomes taken through both steps, from compacted journal parts to state files, read back as CSV."""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from npi_pipeline.journal import SCHEMA
from npi_pipeline.providers.provider_table import ProviderTable, write_provider_table
from npi_pipeline.registries import FORMATS
from npi_pipeline.state_files.manifest import StateFile
from npi_pipeline.state_files.write_state_files import write_state_files

# A cell may be as long as an answer, and Python's reader takes 128 KiB unless told.
csv.field_size_limit(2**31 - 1)

RESPONSES = Path(__file__).parent / "data" / "registry" / "responses"
FETCHED_AT = dt.datetime(2026, 11, 23, 6, 30, tzinfo=dt.timezone.utc)


def real_bodies() -> dict[str, str]:
    """The real answers by NPI."""
    return {path.stem: path.read_text() for path in sorted(RESPONSES.glob("*.json"))}


def nppes_body(npi: str, **changes: object) -> str:
    """An answer of the current shape; ``changes`` replace keys of its record."""
    record = {
        "addresses": [address("MAILING", "NY"), address("LOCATION", "CA")],
        "basic": {
            "first_name": "ADA",
            "last_name": "LOVE",
            "sex": "F",
            "status": "A",
            "enumeration_date": "2010-01-02",
        },
        "created_epoch": "1171564996000",
        "endpoints": [],
        "enumeration_type": "NPI-1",
        "identifiers": [],
        "last_updated_epoch": "1371564996000",
        "number": npi,
        "other_names": [],
        "practiceLocations": [],
        "taxonomies": [taxonomy("207Q00000X")],
    }
    return json.dumps({"result_count": 1, "results": [{**record, **changes}]})


def address(purpose: str, state: object, **changes: object) -> dict[str, Any]:
    return {
        "address_1": "1 MAIN ST",
        "address_purpose": purpose,
        "address_type": "DOM",
        "city": "TOWN",
        "country_code": "US",
        "country_name": "United States",
        "postal_code": "900010000",
        "state": state,
        **changes,
    }


def taxonomy(code: str, **changes: object) -> dict[str, Any]:
    fields = {"code": code, "desc": "Family Medicine", "license": None, "primary": True, "state": None}
    return {**fields, "taxonomy_group": "", **changes}


Outcome = tuple[str, str, "str | None", "str | None"]
"""NPI, outcome, reason, body."""


def found(bodies: Mapping[str, str]) -> list[Outcome]:
    return [(npi, "found", None, body) for npi, body in sorted(bodies.items())]


def journal(outcomes: Iterable[Outcome], cuts: Sequence[int] = ()) -> list[pl.DataFrame]:
    """Compacted journal parts of ``outcomes``, cut before the rows ``cuts``."""
    rows = [
        (npi, 1, outcome, reason, False, 200, 1, FETCHED_AT, body)
        for npi, outcome, reason, body in sorted(outcomes, key=lambda row: row[0])
    ]
    bounds = [0, *sorted(cuts), len(rows)]
    return [pl.DataFrame(rows[start:stop], schema=SCHEMA, orient="row") for start, stop in itertools.pairwise(bounds)]


@dataclass(frozen=True)
class Day:
    """What a day came to. ``files`` are the bytes of each state's file, ``segments`` the provider table's."""

    table: ProviderTable
    written: list[StateFile]
    files: dict[str, bytes]
    parts: list[Path]

    def rows(self, state: str) -> list[dict[str, str]]:
        """The rows of a state's file by column."""
        return list(csv.DictReader(io.StringIO(self.files[state].decode(), newline=""), strict=True))

    def row(self, npi: str) -> dict[str, str]:
        """The row of ``npi`` from whichever file has it."""
        return next(row for state in self.files for row in self.rows(state) if row["npi"] == npi)

    def states_of(self, npi: str) -> list[str]:
        return [state for state in sorted(self.files) if any(row["npi"] == npi for row in self.rows(state))]


def day(
    folder: Path,
    outcomes: Iterable[Outcome],
    *,
    format_name: str = "nppes",
    cuts: Sequence[int] = (),
    list_widths: Mapping[str, int] | None = None,
    escape_formulas: bool = True,
) -> Day:
    """Both steps, in ``folder``."""
    parts, files = folder / "table", folder / "files"
    parts.mkdir(parents=True)
    files.mkdir()
    frames = journal(outcomes, cuts)
    table = write_provider_table(lambda: frames, FORMATS[format_name].layout, parts, list_widths=list_widths)
    kept = sorted(parts.iterdir())
    written = write_state_files(
        msgspec.json.decode(msgspec.json.encode(table), type=ProviderTable),
        kept,
        frames,
        files,
        lambda state: f"day_{state}.csv",
        escape_formulas=escape_formulas,
    )
    contents = {file.state: (files / file.name).read_bytes() for file in written}
    assert sorted(path.name for path in files.iterdir()) == sorted(file.name for file in written)
    return Day(table, written, contents, kept)
