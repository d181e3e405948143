"""The README's pictures, made from the demo: ``python -m npi_pipeline_tests.browser.pictures [folder]``.

Not here: how the demo and the browser are driven (``demo_ui``).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from npi_pipeline_tests.browser.demo_ui import DemoUi, browser_page, demo_ui, expect_every_asset_filled, materialise

_FOLDER = Path(__file__).parents[2] / "docs/pictures"

_WIDTH = 1280
# So wide that the graph shows more of the assets than their names.
_GRAPH_WIDTH = 1500
_NPIS = 300


def take_pictures(demo: DemoUi, page: Page, folder: Path) -> None:
    """Save all pictures to ``folder``; materialises the demo's missing days on the way."""

    def save(name: str, height: int, width: int = _WIDTH) -> None:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / f"{name}.png", animations="disabled")

    page.goto(demo.graph_page)
    page.get_by_text("Hide navigation").click()

    page.goto(f"{demo.url}/assets/state_files?view=partitions&partition={demo.days()[-1]}")
    expect(page.get_by_text("rows_per_state")).to_be_visible()
    save("partitions", 700)

    # The graph is fitted into the window when it is opened.
    page.set_viewport_size({"width": _GRAPH_WIDTH, "height": 560})
    for day in demo.missing_days():
        materialise(page, demo, day)
    expect_every_asset_filled(page)
    page.reload()
    expect_every_asset_filled(page)
    save("asset_graph", 560, _GRAPH_WIDTH)

    page.goto(f"{demo.url}/assets/state_files")
    expect(page.get_by_text("rows_per_state")).to_be_visible()
    save("state_files", 960)
    page.get_by_text("[Show Markdown]").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("img", name="rows per state")).to_be_visible()
    dialog.screenshot(path=folder / "map_of_states.png", animations="disabled")

    page.goto(f"{demo.url}/assets/state_files?view=checks")
    expect(page.get_by_text("Latest execution")).to_be_visible()
    save("checks", 640)


def main() -> None:
    """Make the pictures anew."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as work,
        demo_ui(Path(work), npis=_NPIS) as demo,
        browser_page([], pixels=1.2) as page,
    ):
        take_pictures(demo, page, folder)
    for file in sorted(folder.glob("*.png")):
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
