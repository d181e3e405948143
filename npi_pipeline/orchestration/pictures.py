"""Pictures for the UI, as Markdown, each short enough for Dagster to show it in the asset's page itself.

Dagster puts Markdown of ``INLINE_CHARACTERS`` or more behind a link. A plotting library's picture of this map is
sixteen times as long at least, and so it is written by hand. Not here: numbers and tables (the assets give them as
metadata).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

INLINE_CHARACTERS = 1000

_BARS = 10
_BAR_WIDTH = 10

# The United States as a grid of tiles, a row a line, in the arrangement that newsrooms use.
_TILES = """
.  .  .  .  .  .  .  .  .  .  ME
.  .  .  .  .  .  .  .  .  VT NH
WA ID MT ND MN IL WI MI NY RI MA
OR NV WY SD IA IN OH PA NJ CT .
CA UT CO NE MO KY WV VA MD DE .
.  AZ NM KS AR TN NC SC DC .  .
AK .  .  OK LA MS AL GA .  .  .
HI .  .  TX .  .  .  FL .  PR .
"""
TILES = {
    state: (x, y)
    for y, line in enumerate(_TILES.strip().splitlines())
    for x, state in enumerate(line.split())
    if state != "."
}
"""Column and row of each state on the map."""

# From no rows at all to most; black is readable on each of them, in the light and in the dark theme.
SHADES = ("eee", "cdf", "9cf", "5ae", "28c")
_NO_BREAK_SPACE = "\u00a0"


def state_bars(counts: Mapping[str, int], failed_name: str = "Failed") -> str:
    """A bar for each of the states with the most rows, and for None and Failed.

    ``counts`` is rows per state file.
    """
    states = sorted((-count, state) for state, count in counts.items() if state not in {"None", failed_name})
    largest = max(counts.values(), default=0)
    lines = ["|state|rows| |", "|:-|-:|:-|"]
    lines += [_bar_line(state, -count, largest) for count, state in states[:_BARS]]
    if others := states[_BARS:]:
        lines.append(f"|{len(others)} others|{-sum(count for count, _ in others):,}| |")
    lines += [
        _bar_line("None", counts.get("None", 0), largest),
        _bar_line("Failed", counts.get(failed_name, 0), largest),
    ]
    return "\n".join(lines)


def _bar_line(name: str, count: int, largest: int) -> str:
    # Blocks narrower than a whole one come from other fonts, and stand out of the bar.
    blocks = max(round(count / largest * _BAR_WIDTH), 1) if count else 0
    return f"|{name}|{count:,}|{'█' * blocks}|"


def state_tile_map(counts: Mapping[str, int]) -> str:
    """A tile for each state, DC and Puerto Rico, darker the more rows it has. ``counts`` is rows per state file.

    An SVG in the address of an image, with only those characters encoded that Markdown or an address cannot have.
    """
    largest = max((counts.get(state, 0) for state in TILES), default=0)
    by_shade: dict[int, str] = {}
    for state, (x, y) in TILES.items():
        shade = shade_of(counts.get(state, 0), largest)
        # A line of no length with square ends: the shortest way to say square.
        by_shade[shade] = by_shade.get(shade, "") + f"M{x},{y}z"
    tiles = "".join(f"<path%20stroke='%23{SHADES[shade]}'%20d='{path}'/>" for shade, path in sorted(by_shade.items()))
    return (
        "![](data:image/svg+xml,<svg%20xmlns='http://www.w3.org/2000/svg'%20width='240'%20viewBox='-.5-1,11,9'"
        f"%20style='stroke-width:.9;stroke-linecap:square;font:.55px%20courier'>{tiles}"
        # Half a tile's label to the left: what begins at the middle of a tile then stands in the middle.
        f"<svg%20x='-.3'%20y='-.8'>{_LABELS}</svg></svg>)"
    )


def shade_of(count: int, largest: int) -> int:
    """The shade of a tile: 0 for no rows, then up to 4 by the square root, which keeps small states apart."""
    return math.ceil((len(SHADES) - 1) * math.sqrt(count / largest)) if count else 0


def _labels() -> str:
    """A line of text for each row of tiles, in a font of even width: two letters and a space are a tile wide."""
    lines = []
    for y, line in enumerate(_TILES.strip().splitlines()):
        cells = line.split()
        columns = [x for x, state in enumerate(cells) if state != "."]
        first, last = columns[0], columns[-1]
        text = _NO_BREAK_SPACE.join(cells[first : last + 1]).replace(".", 2 * _NO_BREAK_SPACE)
        x = f"x='{first}'%20" if first else ""
        lines.append(f"<text%20{x}y='{y + 1}'>{text}</text>")
    return "".join(lines)


_LABELS = _labels()
