"""What is read into types is safe in threads: status, sensors and scans read the files of many days at once."""

from __future__ import annotations

import ast
from pathlib import Path

import npi_pipeline

PACKAGE = Path(npi_pipeline.__file__).parent
# Of these the type is a struct of msgspec's own, which is made whole before it is used.
STRUCTS = {"providers/declared.py"}


def test_types_are_met_first_by_decoders_that_are_made_at_import() -> None:
    """With msgspec 0.22, two threads that meet a dataclass for the first time at once end the process."""
    late = [
        f"{path.relative_to(PACKAGE)}:{call.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).as_posix() not in STRUCTS
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and _meets_a_type(call)
    ]
    assert late == []


def _meets_a_type(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    return name == "msgspec.convert" or (
        name == "msgspec.json.decode" and any(keyword.arg == "type" for keyword in call.keywords)
    )
