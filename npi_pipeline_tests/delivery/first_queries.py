"""The queries that docs/deliveries.md gives the reader of each sink to begin with."""

from __future__ import annotations

import re
from pathlib import Path

DELIVERIES = Path(__file__).parents[2] / "docs/deliveries.md"


def first_query(sink: str) -> str:
    """That of the row which begins with ``sink``."""
    return str(re.findall(rf"^\| {sink}.*\| `(.*)` \|$", DELIVERIES.read_text(), re.MULTILINE)[0])
