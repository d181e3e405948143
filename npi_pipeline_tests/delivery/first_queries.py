"""The queries that the README gives the reader of each sink to begin with."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def first_query(sink: str) -> str:
    """That of the row which begins with ``sink``."""
    return str(re.findall(rf"^\| {sink}.*\| `(.*)` \|$", README.read_text(), re.MULTILINE)[0])
