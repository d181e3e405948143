"""Records with more than their columns hold. Not here: the checks as such (``orchestration.test_checks``)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from npi_pipeline.proofs.providers import databases_take_the_columns, no_unknown_fields, states_are_recognised
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import complete
from npi_pipeline_tests.flattened import address, nppes_body, taxonomy

DAY = dt.date(2026, 11, 23)
FOUND = [f"10000000{number}" for number in range(10, 15)]


def test_a_record_with_more_items_than_columns_is_told_with_its_npi_and_the_remedy(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    many = [taxonomy(f"T{number}", desc="d" * 100) for number in range(40)]
    complete(root, DAY, {FOUND[0]: nppes_body(FOUND[0], taxonomies=many), FOUND[1]: nppes_body(FOUND[1])})
    finding = no_unknown_fields(root, DAY)
    assert not finding.holds
    assert finding.line.startswith(f"1 records hold fields without a column, kept in `unknown_fields`: {FOUND[0]}: {{")
    assert f"taxonomies is longer than its columns in 1 of them ({FOUND[0]}): give it more with NPI_LIST_WIDTHS" in (
        finding.line
    )
    assert len(finding.line) < 500, "one line, however much there is"
    complete(root, DAY, {FOUND[1]: nppes_body(FOUND[1])})
    assert no_unknown_fields(root, DAY).holds


def test_more_columns_than_databases_take_are_told_with_the_setting_that_made_them(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    bodies = {FOUND[0]: nppes_body(FOUND[0], taxonomies=[taxonomy("A")] * 300)}
    complete(root, DAY, bodies)
    assert databases_take_the_columns(root, DAY).holds
    complete(root, DAY, bodies, FileSettings(list_widths="taxonomies=300"))
    finding = databases_take_the_columns(root, DAY)
    assert not finding.holds
    assert int(finding.figures["columns"]) > 1_600
    assert finding.line.startswith(f"{finding.figures['columns']:,} columns, of 1,600 that PostgreSQL takes")
    assert "the widest lists: taxonomies=300" in finding.line
    assert "give them less in NPI_LIST_WIDTHS" in finding.line


def test_how_many_npis_have_an_unrecognised_state_is_told_with_the_states(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    abroad = [address("LOCATION", "GEORGIA", country_code="GE", address_type="FGN")]
    lines = []
    for count in (0, 1, 2):
        complete(
            root,
            DAY,
            {npi: nppes_body(npi, addresses=abroad) for npi in FOUND[:count]} | {FOUND[4]: nppes_body(FOUND[4])},
        )
        lines.append(states_are_recognised(root, DAY).line)
    assert lines == [
        "every state is recognised",
        "1 NPI with an unrecognised state: 'GEORGIA (GE)' (1)",
        "2 NPIs with an unrecognised state: 'GEORGIA (GE)' (2)",
    ]
