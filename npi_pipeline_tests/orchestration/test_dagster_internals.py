"""Dagster's private parts: all of them are there, and one file knows them."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import npi_pipeline
from npi_pipeline.orchestration import dagster_internals

PACKAGE = Path(npi_pipeline.__file__).parent
INTERNALS = PACKAGE / "orchestration" / "dagster_internals.py"


def private_imports(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of what a file imports of Dagster's private parts; a module as a whole has no name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found = [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        else:
            continue
        yield from (one for one in found if one[0].startswith(("dagster._", "dagster_shared")))
        yield from (one for one in found if one[0] == "dagster" and one[1].startswith("_"))


@pytest.mark.parametrize(("module", "name"), list(private_imports(INTERNALS)))
def test_what_is_used_of_dagsters_private_parts_is_still_there(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name), f"{name} has moved from {module}: mend dagster_internals.py"


def test_all_that_is_imported_there_is_for_others() -> None:
    assert sorted(dagster_internals.__all__) == sorted(name for _, name in private_imports(INTERNALS))


def test_one_file_alone_imports_dagsters_private_parts() -> None:
    assert [path for path in PACKAGE.rglob("*.py") if path != INTERNALS and list(private_imports(path))] == []
