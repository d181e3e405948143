"""Pictures for the UI, as Markdown.

Dagster shows what is shorter than ``INLINE_CHARACTERS`` in the asset's page itself, and longer ones behind a link.
Not here: numbers and tables (the assets give them as metadata).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from xml.sax.saxutils import escape

INLINE_CHARACTERS = 1000

_BARS = 10
_BAR_WIDTH = 10

# The United States as a grid of tiles, a row a line, in the arrangement that newsrooms use; territories, military
# addresses and the two files that are no state stand below.
_TILES = """
AK .  .  .  .  .  .  .  .  .  .  ME
.  .  .  .  .  .  .  .  .  .  VT NH
WA ID MT ND MN IL WI MI .  NY MA RI
OR NV WY SD IA IN OH PA .  NJ CT .
CA UT CO NE MO KY WV VA MD DE .  .
.  AZ NM KS AR TN NC SC DC .  .  .
.  .  .  OK LA MS AL GA .  .  .  .
HI .  .  TX .  .  .  .  FL .  PR VI
GU MP AS FM MH PW .  AA AE AP None Failed
"""
_SIZE = 44
_EMPTY, _DARK_TEXT, _LIGHT_TEXT = "#eef0f4", "#1f2430", "#ffffff"


def state_bars(counts: Mapping[str, int], failed_name: str = "Failed") -> str:
    """A bar for each of the states with the most rows, and for None and Failed; short enough to be shown inline.

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


def state_tile_map(counts: Mapping[str, int], failed_name: str = "Failed") -> str:
    """A tile for each state, darker the more rows it has, as one Markdown image. ``counts`` is rows per state file."""
    counts = {"Failed" if state == failed_name else state: count for state, count in counts.items()}
    largest = max([count for state, count in counts.items() if state not in {"None", "Failed"}], default=0)
    tiles = "".join(
        _tile(state, x, y, counts.get(state, 0), largest)
        for y, line in enumerate(_TILES.strip().splitlines())
        for x, state in enumerate(line.split())
        if state != "."
    )
    width, height = 12 * _SIZE, 9 * _SIZE
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" text-anchor="middle">{tiles}</svg>'
    )
    return f"![rows per state](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _tile(state: str, x: int, y: int, count: int, largest: int) -> str:
    # The square root keeps small states apart from empty ones beside California.
    share = min(1.0, (count / largest) ** 0.5) if count and largest else 0.0
    if state in {"None", "Failed"}:
        fill, text = ("#d08770", _LIGHT_TEXT) if count else (_EMPTY, _DARK_TEXT)
    else:
        fill = f"hsl(215,55%,{85 - 50 * share:.0f}%)" if count else _EMPTY
        text = _LIGHT_TEXT if share > 0.45 else _DARK_TEXT  # noqa: PLR2004
    left, top, middle = x * _SIZE + 1, y * _SIZE + 1, x * _SIZE + _SIZE / 2
    return (
        f'<rect x="{left}" y="{top}" width="{_SIZE - 2}" height="{_SIZE - 2}" rx="4" fill="{fill}"/>'
        f'<text x="{middle}" y="{top + 18}" font-size="12" fill="{text}">{escape(state)}</text>'
        f'<text x="{middle}" y="{top + 33}" font-size="11" fill="{text}">{_short(count)}</text>'
    )


def _short(count: int) -> str:
    """A count in at most four characters."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if count >= 10 * size:
            return f"{count / size:.0f}{unit}"
    return f"{count}"
