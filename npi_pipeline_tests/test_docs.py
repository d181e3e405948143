"""What ``docs/`` says is what the code is."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import npi_pipeline
from npi_pipeline.orchestration.checks import asset_checks
from npi_pipeline.settings import CheckSettings
from npi_pipeline.settings.__main__ import settings_table
from npi_pipeline_tests.data_dictionary import data_dictionary

PROJECT = Path(__file__).parents[1]
PAGES = (*sorted((PROJECT / "docs").glob("*.md")), PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md")


def test_the_data_dictionary_is_the_one_that_the_code_gives() -> None:
    kept = (PROJECT / "docs/data_dictionary.md").read_text()
    assert kept == data_dictionary(), "run `python -m npi_pipeline_tests.data_dictionary > docs/data_dictionary.md`"


def test_the_settings_table_is_the_one_that_the_settings_give() -> None:
    page = (PROJECT / "docs/settings.md").read_text()
    between = re.search(r"<!-- settings: [^>]*-->\n(.*?)\n<!-- /settings -->", page, re.DOTALL)
    assert between is not None
    assert between[1].strip() == settings_table(), "paste what `python -m npi_pipeline.settings` prints"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    top = "|".join(re.escape(path.name) for path in PROJECT.iterdir())
    paths = re.findall(rf"`((?:{top})/[\w./-]*)`", text) + re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    missing = [path for path in paths if not any((start / path).exists() for start in (PROJECT, page.parent))]
    assert missing == []


def test_every_function_of_the_tour_is_in_the_file_that_is_named_with_it() -> None:
    named = re.findall(
        r"`(npi_pipeline/[\w/]+\.py)`:((?:,? `[\w.]+`)+)", (PROJECT / "docs/architecture.md").read_text()
    )
    assert len(named) > 20
    missing = [
        f"{path}: {name}"
        for path, names in named
        for name in re.findall(r"`([\w.]+)`", names)
        if name not in names_in(PROJECT / path)
    ]
    assert missing == []


def names_in(path: Path) -> set[str]:
    """The functions and classes of a module, methods as ``Class.method``."""
    body = ast.parse(path.read_text()).body
    names = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return names | {
        f"{node.name}.{method.name}"
        for node in body
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, ast.FunctionDef)
    }


def test_the_site_is_built_and_no_link_or_anchor_of_it_leads_nowhere(tmp_path: Path) -> None:
    mkdocs = Path(sys.executable).with_name("mkdocs")
    built = subprocess.run(
        [mkdocs, "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=PROJECT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.returncode, built.stderr) == (0, "")
    page = (tmp_path / "settings/index.html").read_text()
    assert "NPI_MAX_RETRIES" in page
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', page), "nothing is loaded from elsewhere"
    reference = (tmp_path / "reference/index.html").read_text()
    assert [name for name in npi_pipeline.__all__ if f'id="npi_pipeline.{name}"' not in reference] == []
    # What a link may not lead to is seen by the build; what it may, only here.
    assert "checks.png" in (tmp_path / "day/index.html").read_text()


def test_what_to_do_is_said_of_every_check_of_every_asset() -> None:
    page = (PROJECT / "docs/checks.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (yes)? ?\| .+ \|$", page, re.MULTILINE)
    specs = [spec for check in asset_checks(CheckSettings(), has_snapshot=True) for spec in check.check_specs]
    assert sorted(rows) == sorted(
        (spec.name, spec.asset_key.to_user_string(), "yes" if spec.blocking else "") for spec in specs
    )
