"""NPIs looked up from the command line, in each kind of registry."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

from npi_pipeline.outcomes import Outcome
from npi_pipeline.registries.nppes_bulk.day_snapshot import keep_snapshot_of_day
from npi_pipeline.registries.nppes_bulk.snapshot import prepare_snapshot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.providers import npi_numbers, outcome_of
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline_tests.cli.test_commands import invoke
from npi_pipeline_tests.registries.nppes_bulk.made_files import csv_of, deactivated, make_monthly, person

A, B, C = "1000000004", "1000000012", "1000000020"
FOUND = next(npi for npi in npi_numbers(100) if outcome_of(npi) is Outcome.found)
UNKNOWN = next(npi for npi in npi_numbers(500) if outcome_of(npi) is Outcome.not_found)


def test_each_npi_is_told_once_in_the_order_given_and_the_exit_code_says_whether_all_are_found(
    registry: EmulatedRegistry,
) -> None:
    said = invoke("lookup", UNKNOWN, "12", FOUND, FOUND, "--json", NPI_REGISTRY_URL=registry.url)
    told = json.loads(said.stdout)
    assert [(row["npi"], row["outcome"]) for row in told] == [
        (UNKNOWN, "not_found"),
        ("12", "invalid"),
        (FOUND, "found"),
    ]
    assert str(told[2]["body"]["results"][0]["number"]) == FOUND
    assert said.exit_code == 1
    person = invoke("lookup", FOUND, NPI_REGISTRY_URL=registry.url)
    assert person.exit_code == 0
    assert person.stdout.startswith(f"{FOUND} found, HTTP 200\n")
    assert registry.stats().answers == 3


def test_a_registry_that_is_not_there_is_told_without_what_is_secret_in_its_url() -> None:
    said = invoke(
        "lookup",
        FOUND,
        "--json",
        NPI_REGISTRY_URL="http://127.0.0.1:9/secret-key?number={npi}",
        NPI_MAX_RETRIES="0",
    )
    assert said.exit_code == 1
    (told,) = json.loads(said.stdout)
    assert (told["outcome"], told["body"]) == ("failed", None)
    assert "secret-key" not in said.output


def test_of_the_registrys_files_the_newest_snapshot_that_is_prepared_is_looked_up_in(tmp_path: Path) -> None:
    root, files = LocalRoot(tmp_path / "root"), tmp_path / "files"
    bulk = {
        "NPI_REGISTRY_FORMAT": "nppes_bulk",
        "NPI_BULK_FILES": str(files),
        "NPI_DATA_ROOT": str(root.folder),
    }
    none = invoke("lookup", A, **bulk)
    assert (none.exit_code, none.stderr.count("\n")) == (2, 1)
    assert "no snapshot of the registry is prepared" in none.stderr
    for month, city in ((9, "ROME"), (10, "PARIS")):
        as_of = dt.date(2026, month, 11)
        make_monthly(files, as_of, csv_of([person(int(A), city=city), deactivated(int(B))]))
        keep_snapshot_of_day(root, as_of, prepare_snapshot(root, as_of, str(files)))
    said = invoke("lookup", C, "1000000005", B, A, "--json", **bulk)
    told = json.loads(said.stdout)
    assert [row["outcome"] for row in told] == ["not_found", "invalid", "deactivated", "found"]
    assert "PARIS" in json.dumps(told[3]["body"])
    assert (said.exit_code, invoke("lookup", A, **bulk).exit_code) == (1, 0)
