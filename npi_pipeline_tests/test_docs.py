"""What ``docs/`` says is what the code is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from npi_pipeline_tests.data_dictionary import data_dictionary

PROJECT = Path(__file__).parents[1]
PAGES = ("docs/architecture.md", "docs/api.md", "docs/deliveries.md", "CONTRIBUTING.md", "CHANGELOG.md")


def test_the_data_dictionary_is_the_one_that_the_code_gives() -> None:
    kept = (PROJECT / "docs/data_dictionary.md").read_text()
    assert kept == data_dictionary(), "run `python -m npi_pipeline_tests.data_dictionary > docs/data_dictionary.md`"


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_is_there(page: str) -> None:
    text = (PROJECT / page).read_text()
    top = "|".join(re.escape(path.name) for path in PROJECT.iterdir())
    paths = re.findall(rf"`((?:{top})/[\w./-]*)`", text) + re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    missing = [
        path for path in paths if not any((start / path).exists() for start in (PROJECT, (PROJECT / page).parent))
    ]
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
