"""The pages of the documentation site that are kept outside of ``docs/``, beside what they are about.

So each is written once, and reads well where it is kept too. ``mkdocs.yml`` names this as its hook.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PROJECT = Path(__file__).parents[1]

ELSEWHERE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "production.md": "deploy/README.md",
    "downstream.md": "examples/downstream/README.md",
    "queries.md": "examples/queries/README.md",
}
"""By page of the site the file that is its text."""
_LINK = re.compile(r"(\]\()(?!https?:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    from mkdocs.structure.files import File

    for page, source in ELSEWHERE.items():
        text = (PROJECT / source).read_text("utf-8")
        files.append(File.generated(config, page, content=_with_links(text, Path(source).parent)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Lead links out of ``docs/`` to the pages that are made of what they name."""
    return _with_links(markdown, Path("docs"))


def _with_links(text: str, folder: Path) -> str:
    """The text of a file in ``folder``, with links as from ``docs/``: to pages, and to what lies there."""

    def led(link: re.Match[str]) -> str:
        target = (PROJECT / folder / link[2]).resolve().relative_to(PROJECT).as_posix()
        page = next((page for page, source in ELSEWHERE.items() if source == target), target.removeprefix("docs/"))
        return f"{link[1]}{page}"

    return _LINK.sub(led, text)
