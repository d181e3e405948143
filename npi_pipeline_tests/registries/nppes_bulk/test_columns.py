"""The headers of dissemination files."""

from __future__ import annotations

import pytest

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.columns import (
    CERTIFICATION_DATE,
    CHILD_COLUMNS,
    MAIN_COLUMNS,
    child_columns,
    main_columns,
)
from npi_pipeline_tests.registries.nppes_bulk.real_files import child_rows, main_rows


def test_the_columns_are_those_of_a_real_file_of_2024_in_their_order_but_for_the_one_that_was_renamed():
    real = main_rows().columns
    renamed = ["Provider Sex Code" if name == "Provider Gender Code" else name for name in real]
    assert len(real) == 330
    assert tuple(renamed) == MAIN_COLUMNS
    assert main_columns(real, "a file").names == MAIN_COLUMNS


def test_a_header_from_before_2020_has_no_certification_date():
    assert main_columns(MAIN_COLUMNS[:-1], "a file").names == MAIN_COLUMNS[:-1]
    assert MAIN_COLUMNS[-1] == CERTIFICATION_DATE


@pytest.mark.parametrize("kind", ["othername", "pl"])
def test_the_columns_of_real_files_beside_the_main_one_are_known_with_their_irregular_blanks(kind):
    names = child_columns(kind, child_rows(kind).columns, "a file").names
    assert names == tuple(name for name in CHILD_COLUMNS[kind] if name != "Created Date")


@pytest.mark.parametrize("spelling", [str.upper, str.lower, lambda name: f" {name.replace(' ', '  ')} "])
def test_blanks_and_case_of_a_header_do_not_matter(spelling):
    assert main_columns([spelling(name) for name in MAIN_COLUMNS], "a file").names == MAIN_COLUMNS


def test_a_byte_order_mark_before_the_header_does_not_matter():
    assert main_columns(["\ufeffNPI", *MAIN_COLUMNS[1:]], "a file").names == MAIN_COLUMNS


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (MAIN_COLUMNS[:5], r"^a file has no column 'Provider Last Name \(Legal Name\)' and 323 more like it: "),
        ([name for name in MAIN_COLUMNS if name != "NPI"], "^a file has no column 'NPI': "),
        (["Unnamed: 0", *MAIN_COLUMNS], "^a file has a column that is not known, 'Unnamed: 0': "),
        ([*MAIN_COLUMNS, "npi"], "^a file has twice the column 'NPI': "),
        ([], "^a file has no column 'NPI' and 328 more like it: "),
    ],
)
def test_a_header_that_is_missing_something_or_has_something_that_is_not_known_is_refused_by_name(header, said):
    with pytest.raises(BulkFileError, match=said) as refused:
        main_columns(header, "a file")
    assert "\n" not in str(refused.value)
