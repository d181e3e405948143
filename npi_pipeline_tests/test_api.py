"""The public names: that they are given lazily, stay what they are, and stand in docs/api.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import npi_pipeline
from npi_pipeline.outcomes import Outcome
from npi_pipeline.settings import SettingsError
from npi_pipeline.testing.providers import another_found_npi
from npi_pipeline.testing.registry import EmulatedRegistry
from npi_pipeline_tests.scan_schemas import schema_lists

PAGE = (Path(__file__).parents[1] / "docs/api.md").read_text()
FOUND = another_found_npi("1000000004")


def printed_by(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, npi_pipeline; dir(npi_pipeline); print(set(sys.modules) & {'dagster', 'polars', 'boto3'})"
    assert printed_by(code) == "set()"


def test_every_public_name_is_there_also_after_the_rooms_are_imported() -> None:
    code = (
        "import npi_pipeline.http_fetch.fetch, npi_pipeline.http_fetch.lookup, npi_pipeline.scans\n"
        "from npi_pipeline import *\n"
        "print(all(callable(getattr(npi_pipeline, name)) for name in npi_pipeline.__all__), fetch.__module__)"
    )
    assert printed_by(code) == "True npi_pipeline.http_fetch.fetch"


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fetsch'"):
        npi_pipeline.fetsch  # noqa: B018


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(npi_pipeline.__file__).parent / "py.typed").exists()
    pyproject = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert '[tool.setuptools.package-data]\nnpi_pipeline = ["py.typed",' in pyproject


def test_a_lookup_gives_each_distinct_npi_its_outcome_in_the_order_given(registry: EmulatedRegistry) -> None:
    outcomes = npi_pipeline.lookup([FOUND, "1234567890", FOUND], url=registry.url)
    assert [(of.npi, of.verdict.outcome) for of in outcomes] == [
        (FOUND, Outcome.found),
        ("1234567890", Outcome.invalid),
    ]
    assert registry.requests_by_npi() == {FOUND: 1}
    (alone,) = npi_pipeline.lookup(FOUND, url=registry.url)
    assert alone.body == outcomes[0].body


@pytest.mark.parametrize(
    ("registry", "url", "line"),
    [
        (
            "nppes",
            "http://127.0.0.1:9/?number=1",
            "NPI_REGISTRY_URL cannot be used: must contain `{npi}` where the NPI goes",
        ),
        ("nppes", "http://127.0.0.1:99999/{npi}?key=secret", "NPI_REGISTRY_URL cannot be used: no request can be made"),
        ("affiliated_practices", None, "the registry format affiliated_practices has no public URL"),
        ("nppes_bulk", None, "the registry format nppes_bulk has no URL"),
        ("npes", None, "NPI_REGISTRY_FORMAT='npes' cannot be used: "),
    ],
)
def test_a_registry_that_cannot_be_asked_is_told_on_one_line(registry: str, url: str | None, line: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(line)) as caught:
        npi_pipeline.lookup(FOUND, registry, url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_page_names_every_public_name_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(npi_pipeline.__all__)


def test_the_page_has_the_schemas_that_the_scans_give() -> None:
    between = PAGE.partition("<!-- schemas -->\n")[2].partition("\n<!-- /schemas -->")[0]
    assert between == schema_lists(), "paste what `python -m npi_pipeline_tests.scan_schemas` prints"
