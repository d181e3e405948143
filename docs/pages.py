"""The pages of the documentation site that are kept elsewhere: sections of the README, and what stands beside code.

So each is written once, and reads well where it is kept too. ``mkdocs.yml`` names this as its hook.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PROJECT = Path(__file__).parents[1]

SECTIONS = {
    "index.md": ("", "Try it"),
    "day.md": ("What happens on a day",),
    "use.md": ("Use it on your bucket and registry", "Every day, by itself"),
    "settings.md": ("Settings",),
    "files.md": ("The files",),
    "failures.md": ("When things fail",),
    "performance.md": ("How fast",),
    "code.md": ("The code",),
}
"""By page the sections of the README: its second headings; "" is what stands before the first."""
WHOLE = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "production.md": "deploy/README.md",
    "downstream.md": "examples/downstream/README.md",
    "queries.md": "examples/queries/README.md",
}
"""By page the file that is the whole of it."""
_LINK = re.compile(r"(\]\()(?!https?:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    from mkdocs.structure.files import File

    for page, text in pages():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Lead links out of ``docs/`` to the pages that are made of what they name."""
    return _with_links(markdown, Path("docs"))


def pages() -> Iterator[tuple[str, str]]:
    """Each page's name and its text."""
    sections = sections_of((PROJECT / "README.md").read_text("utf-8"))
    for page, names in SECTIONS.items():
        yield page, _with_links("\n".join(sections[name] for name in names), Path())
    for page, source in WHOLE.items():
        yield page, _with_links((PROJECT / source).read_text("utf-8"), Path(source).parent)


def sections_of(readme: str) -> dict[str, str]:
    """The README's sections by their headings; each heading is a page's title then."""
    first, *others = re.split(r"^## ", readme, flags=re.MULTILINE)
    return {"": first} | {text.partition("\n")[0]: _as_page(text) for text in others}


def _as_page(section: str) -> str:
    # Below a page's title no level is left out.
    return "# " + re.sub(r"^###", "##", section, flags=re.MULTILINE)


def _with_links(text: str, folder: Path) -> str:
    """The text of a file in ``folder`` with links to pages, and to what lies in ``docs/`` as from there."""

    def led(link: re.Match[str]) -> str:
        target = (PROJECT / folder / link[2]).resolve().relative_to(PROJECT)
        if target.parts[:1] == ("docs",):
            return f"{link[1]}{target.relative_to('docs').as_posix()}"
        page = next((page for page, source in WHOLE.items() if Path(source) == target), None)
        return f"{link[1]}{page or ('index.md' if target == Path('README.md') else link[2])}"

    return _LINK.sub(led, text)
