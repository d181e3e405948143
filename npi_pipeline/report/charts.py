"""The pictures of the page as inline SVG: their colours are those of the page's style, in dark mode and in print too.

No plotting library draws them: its colours would be fixed, and its weight would be in every run.
Not here: bars, which are HTML (``day_report.html``).
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import math
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup, escape

SHADES = 5
"""Of the map: 0 for none, then darker."""

_LINE = (300, 64)
_MARGIN = 5


@functools.cache
def state_outlines() -> Mapping[str, str]:
    """The path of each state, and of DC, by its code."""
    outlines: dict[str, str] = json.loads(
        importlib.resources.files("npi_pipeline.report").joinpath("us_states.json").read_text("utf-8")
    )
    return outlines


def state_map(values: Mapping[str, int], name: str, told: Callable[[str, int], str], *, is_change: bool) -> Markup:
    """A map of the states, shaded by the values; with ``is_change``, gains and losses have colours of their own.

    ``name`` is what a screen reader says of it, ``told`` what is said of one state.
    """
    outlines = state_outlines()
    largest = max((abs(values.get(state, 0)) for state in outlines), default=0)
    paths = []
    for state, outline in outlines.items():
        value = values.get(state, 0)
        side = "" if not is_change or not value else "up" if value > 0 else "down"
        shade = f"{side}{shade_of(abs(value), largest)}"
        paths.append(
            Markup('<path class="s{}" d="{}"><title>{}</title></path>').format(shade, outline, told(state, value))
        )
    return Markup('<svg class="map" viewBox="-8 -4 985 612" role="img" aria-label="{}">{}</svg>').format(
        name, Markup("").join(paths)
    )


def shade_of(count: int, largest: int) -> int:
    """0 for none, then up to SHADES by the square root, which keeps small states apart."""
    return math.ceil(SHADES * math.sqrt(count / largest)) if count else 0


def columns(counts: Sequence[int], name: str) -> Markup:
    """A column for each of ``counts``, as wide as the page. ``name`` is what a screen reader says of it."""
    largest = max(counts, default=0) or 1
    drawn = Markup("").join(
        Markup('<rect x="{}" y="{}" width=".86" height="{}"/>').format(
            number, _short(100 - 100 * count / largest), _short(100 * count / largest)
        )
        for number, count in enumerate(counts)
        if count
    )
    return Markup(
        '<svg class="columns" viewBox="0 0 {} 100" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(max(len(counts), 1), name, drawn)


def line(values: Sequence[float | None], name: str) -> Markup:
    """A line through the values of the days; broken where there is none. ``name`` is what a screen reader says."""
    known = [value for value in values if value is not None]
    if not known:
        return Markup("")
    lowest, highest = min(known), max(known)
    width, height = _LINE

    def point(number: int, value: float) -> tuple[str, str]:
        across = number / max(len(values) - 1, 1)
        up = (value - lowest) / (highest - lowest) if highest > lowest else 0.5
        return (
            _short(_MARGIN + across * (width - 2 * _MARGIN)),
            _short(height - _MARGIN - up * (height - 2 * _MARGIN)),
        )

    path, dots, before = [], [], False
    for number, value in enumerate(values):
        if value is not None:
            x, y = point(number, value)
            path.append(f"{'L' if before else 'M'}{x},{y}")
            is_alone = not before and (number + 1 == len(values) or values[number + 1] is None)
            dots += [(x, y, "")] if is_alone else []
        before = value is not None
    last = max(number for number, value in enumerate(values) if value is not None)
    dots.append((*point(last, values[last] or 0.0), "last"))
    drawn = Markup("").join(Markup('<circle cx="{}" cy="{}" r="3" class="{}"/>').format(*dot) for dot in dots)
    return Markup('<svg class="line" viewBox="0 0 {} {}" role="img" aria-label="{}"><path d="{}"/>{}</svg>').format(
        width, height, name, escape("".join(path)), drawn
    )


def _short(number: float) -> str:
    return f"{number:.1f}".rstrip("0").rstrip(".")
