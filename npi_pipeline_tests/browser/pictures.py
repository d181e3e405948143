"""The documentation's pictures, made from the demo: ``python -m npi_pipeline_tests.browser.pictures [folder]``.

Not here: how the demo and the browser are driven (``demo_ui``).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from npi_pipeline_tests.browser.demo_ui import (
    DemoUi,
    backfill_what_is_missing,
    browser_page,
    demo_ui,
    eventually,
    expect_every_asset_filled,
    open_launchpad,
)

_FOLDER = Path(__file__).parents[2] / "docs/pictures"


_WIDTH = 1280
_GRAPH_WIDTH = 1760
_REPORT_WIDTH = 1120
_NPIS = 2_000


def take_pictures(demo: DemoUi, page: Page, folder: Path) -> None:
    """Save all pictures to ``folder``; materialises the demo's missing days on the way."""

    def save(name: str, height: int) -> None:
        page.set_viewport_size({"width": _WIDTH, "height": height})
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / f"{name}.png", animations="disabled")

    def scroll_to(text: str) -> None:
        page.get_by_text(text, exact=True).or_(page.get_by_placeholder(text)).evaluate(
            "element => element.scrollIntoView()"
        )

    page.goto(demo.graph_page)
    page.get_by_text("Hide navigation").click()

    page.goto(f"{demo.url}/assets/state_files?view=partitions&partition={demo.days()[-1]}")
    expect(page.get_by_text("rows_per_state")).to_be_visible()
    save("partitions", 620)

    backfill_what_is_missing(page, demo, len(demo.missing_days()))
    eventually(lambda: not demo.missing_days())
    # Narrower, the graph is drawn too small for what it tells of each asset.
    page.set_viewport_size({"width": _GRAPH_WIDTH, "height": 500})
    page.goto(demo.graph_page)
    expect_every_asset_filled(page, demo)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=folder / "asset_graph.png", animations="disabled")

    page.goto(f"{demo.url}/assets/state_files")
    expect(page.get_by_role("row", name="map_of_states").locator("img")).to_be_visible()
    page.set_viewport_size({"width": _WIDTH, "height": 900})
    scroll_to("Filter metadata keys")
    save("state_files", 900)

    page.goto(f"{demo.url}/assets/npi_records")
    page.get_by_role("button", name="Plots").click()
    page.set_viewport_size({"width": _WIDTH, "height": 640})
    scroll_to("dagster/partition_row_count")
    save("plots", 640)

    page.goto(f"{demo.url}/assets/state_files?view=checks")
    expect(page.get_by_text("Latest execution")).to_be_visible()
    save("checks", 640)

    open_launchpad(page, demo, demo.days()[-1], requests_per_second=50, threads="many")
    expect(page.get_by_text("config:threads")).to_be_visible()
    # What may stand where the cursor is, is described beside it.
    page.locator(".CodeMirror").evaluate("({CodeMirror}) => {CodeMirror.focus(); CodeMirror.setCursor(4, 8)}")
    expect(page.get_by_text("Whole number (≥ 1, ≤ 1000)", exact=True)).to_be_visible()
    save("launchpad", 700)

    # The second day follows one that was run right before it: between the two, providers changed.
    page.goto((demo.data_root / "day_report" / demo.days()[1] / "day_report.html").as_uri())
    page.set_viewport_size({"width": _REPORT_WIDTH, "height": 900})
    first, last = (page.locator(section).bounding_box() for section in ("#changes", "#map"))
    assert first
    assert last
    top = first["y"] - 10
    clip = {"x": 0.0, "y": top, "width": float(_REPORT_WIDTH), "height": last["y"] + last["height"] + 10 - top}
    page.screenshot(path=folder / "day_report.png", full_page=True, clip=clip)


def main() -> None:
    """Make the pictures anew."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as work,
        demo_ui(Path(work), npis=_NPIS, days=7) as demo,
        browser_page([]) as page,
    ):
        take_pictures(demo, page, folder)
    for file in sorted(folder.glob("*.png")):
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
