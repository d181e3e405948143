"""Pictures for the UI. Not here: how they look in it (``browser``)."""

from __future__ import annotations

from npi_pipeline.pictures import INLINE_CHARACTERS, state_bars, state_tile_map
from npi_pipeline.tables.states import STATES

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
    assert state_tile_map({"None": 0, "Failed": 0}).startswith("![rows per state](data:image/svg+xml;base64,")
