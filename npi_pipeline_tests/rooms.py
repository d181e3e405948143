"""The picture of the package: ``python -m npi_pipeline_tests.rooms`` prints who imports whom and how much.

Not here: what a room may import; that is a contract in ``pyproject.toml``, held by ``make lint``.
"""

from __future__ import annotations

from pathlib import Path

import grimp

ROOT = "npi_pipeline"


def main() -> None:
    """Print a line for each room, and the longest file."""
    project = Path(__file__).parents[1]
    graph = grimp.build_graph(ROOT)
    rooms = sorted(graph.find_children(ROOT))
    for room in rooms:
        known = [
            other.rpartition(".")[2]
            for other in rooms
            if other != room and graph.direct_import_exists(importer=room, imported=other, as_packages=True)
        ]
        path = project / room.replace(".", "/")
        files = list(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        print(f"{room.rpartition('.')[2]:14} {sum(map(lines_of, files)):6,} lines -> {' '.join(known) or 'none'}")
    longest = max((project / ROOT).rglob("*.py"), key=lines_of)
    print(f"longest file: {longest.relative_to(project)}, {lines_of(longest)} lines")


def lines_of(path: Path) -> int:
    """How many lines a file has."""
    return path.read_text().count("\n")


if __name__ == "__main__":
    main()
