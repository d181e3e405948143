"""The README is what makes one start, and no more."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()


def test_it_is_read_in_a_minute() -> None:
    assert len(README.splitlines()) < 120
    assert len(re.findall(r"^!\[", README, re.MULTILINE)) == 3


def test_every_file_that_it_shows_or_names_is_there() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert [link for link in links if not (PROJECT / link).exists()] == []


def test_every_page_can_be_reached_from_it() -> None:
    pages = {f"docs/{page.name}" for page in (PROJECT / "docs").glob("*.md")}
    assert pages - set(re.findall(r"\]\(([^)#]+)\)", README)) == set()
