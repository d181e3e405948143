"""Pictures for the UI. Not here: how they look in it (``browser``)."""

from __future__ import annotations

import itertools
import re
import urllib.parse
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from npi_pipeline.orchestration.pictures import INLINE_CHARACTERS, SHADES, TILES, shade_of, state_bars, state_tile_map
from npi_pipeline.providers.states import STATES

LARGEST = 10**9


def test_the_longest_bars_are_still_shown_inline() -> None:
    everywhere = dict.fromkeys([*STATES, "None", "Failed"], LARGEST)
    assert len(state_bars(everywhere)) < INLINE_CHARACTERS


def test_bars_are_ordered_by_rows_and_add_up() -> None:
    counts = {state: number for number, state in enumerate(sorted(STATES), start=1)}
    lines = state_bars({**counts, "None": 7, "without": 0}, failed_name="without").splitlines()[2:]
    shown = [(name, int(rows.replace(",", ""))) for _, name, rows, *_ in (line.split("|") for line in lines)]
    states, rest = shown[:10], shown[10:]
    assert states == sorted(counts.items(), key=lambda item: -item[1])[:10]
    assert rest == [
        (f"{len(counts) - 10} others", sum(sorted(counts.values())[:-10])),
        ("None", 7),
        ("Failed", 0),
    ]


def test_a_single_row_beside_millions_has_a_bar_and_no_row_has_none() -> None:
    bars = dict(line.split("|")[1::2] for line in state_bars({"CA": LARGEST, "RI": 1}).splitlines())
    assert bars["CA"] == "█" * 10
    assert bars["RI"] == "█"
    assert bars["None"] == ""


def test_a_day_without_a_row_has_its_pictures() -> None:
    assert state_bars({"None": 0, "Failed": 0}).endswith("|None|0||\n|Failed|0||")
    assert {shade for shade, _ in tiles_of(state_tile_map({"None": 0, "Failed": 0}))} == {SHADES[0]}


@given(st.lists(st.integers(0, LARGEST), min_size=len(TILES), max_size=len(TILES)))
def test_the_map_of_any_counts_is_shown_inline_and_has_a_tile_for_each_state(counts: list[int]) -> None:
    rows = dict(zip(TILES, counts, strict=True))
    drawn = state_tile_map({**rows, "None": LARGEST, "Failed": LARGEST, "GU": LARGEST})
    assert len(drawn) < INLINE_CHARACTERS
    expected = {(SHADES[shade_of(count, max(counts))], TILES[state]) for state, count in rows.items()}
    assert tiles_of(drawn) == expected


def test_a_map_with_every_shade_is_shown_inline() -> None:
    every_shade = itertools.cycle([0, 1, 100, 400, 1000])
    drawn = state_tile_map(dict(zip(TILES, every_shade, strict=False)))
    assert {shade for shade, _ in tiles_of(drawn)} == set(SHADES)
    assert len(drawn) < INLINE_CHARACTERS


def test_the_map_has_every_state_dc_and_puerto_rico_once() -> None:
    elsewhere = {"VI", "GU", "AS", "MP", "FM", "MH", "PW", "AA", "AE", "AP"}
    assert set(TILES) == set(STATES) - elsewhere
    assert len(set(TILES.values())) == len(TILES)


def test_each_label_stands_on_its_tile() -> None:
    labels = {}
    for text in svg_of(state_tile_map({})).iter(f"{SVG}text"):
        # Two letters and a space, each as wide as the others, are a tile.
        for match in re.finditer(r"[A-Z]{2}", text.text or ""):
            labels[match[0]] = (int(text.get("x", "0")) + match.start() // 3, int(text.get("y", "")) - 1)
    assert labels == TILES


def test_labels_are_readable_on_every_shade() -> None:
    # The contrast of black on a colour, as WCAG has it; 4.5 is what it asks for.
    def luminance(shade: str) -> float:
        channels = (int(digit * 2, 16) / 255 for digit in shade)
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    assert [shade for shade in SHADES if (luminance(shade) + 0.05) / 0.05 < 4.5] == []


def test_no_count_but_none_has_the_shade_of_none() -> None:
    assert shade_of(0, LARGEST) == 0
    assert shade_of(1, LARGEST) == 1
    assert shade_of(LARGEST, LARGEST) == len(SHADES) - 1


SVG = "{http://www.w3.org/2000/svg}"


def svg_of(markdown: str) -> ET.Element:
    """The picture in a Markdown image, which is one word without a bracket that would end it."""
    address = re.fullmatch(r"!\[\]\(data:image/svg\+xml,([^\s()]+)\)", markdown.replace("\u00a0", "%C2%A0"))
    assert address
    return ET.fromstring(urllib.parse.unquote(address[1]))


def tiles_of(markdown: str) -> set[tuple[str, tuple[int, int]]]:
    """The shade and place of each tile that is drawn."""
    return {
        (path.get("stroke", "")[1:], (int(x), int(y)))
        for path in svg_of(markdown).iter(f"{SVG}path")
        for x, y in re.findall(r"M(\d+),(\d+)z", path.get("d", ""))
    }
