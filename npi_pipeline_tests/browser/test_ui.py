"""The pipeline in the Dagster UI, as a user of it sees it in a real browser."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from npi_pipeline.demo.dagster_ui import is_free
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.storage.publish import verify_published
from npi_pipeline_tests.browser.demo_ui import (
    ASSETS,
    DemoUi,
    browser_page,
    chromium,
    demo_ui,
    expect_every_asset_filled,
    materialise,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None and "CI" not in os.environ, reason="chromium is not installed"),
]

# Whether an element is painted green: asked of the page, since the names of its styles change with each release.
_IS_GREEN = """element => {
    const [red, green, blue] = getComputedStyle(element).color.match(/[0-9.]+/g).map(Number);
    return green > red && green > blue;
}"""


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[DemoUi]:
    with demo_ui(tmp_path, npis=60) as demo:
        yield demo


@pytest.fixture
def toasts() -> list[str]:
    return []


@pytest.fixture
def page(toasts: list[str]) -> Iterator[Page]:
    with browser_page(toasts) as page:
        yield page


def test_missing_days_are_materialised_from_the_ui(page: Page, toasts: list[str], demo: DemoUi) -> None:
    missing = demo.missing_days()
    assert missing
    for day in missing:
        materialise(page, demo, day)

    expect_every_asset_filled(page)
    expect(page.get_by_text(re.compile(r"^(\d+) / \1 Passed$"))).to_have_count(len(ASSETS))
    footers = page.get_by_text(f"{len(demo.days())} partitions", exact=True)
    expect(footers).to_have_count(len(ASSETS))
    assert [footer.evaluate(_IS_GREEN) for footer in footers.all()] == [True] * len(ASSETS)

    page.goto(f"{demo.url}/assets/state_files?view=checks")
    for check in ("every_npi_is_accounted_for", "state_files_match_the_manifest"):
        page.get_by_text(check, exact=True).first.click()
        expect(page.get_by_text("Passed", exact=True)).to_be_visible()

    page.goto(f"{demo.url}/assets/state_files")
    expect(page.get_by_role("cell", name=re.compile("^\\d+ others$"))).to_be_visible()

    assert set(demo.run_statuses()) == {"SUCCESS"}
    assert demo.missing_days() == []
    root = open_data_root(str(demo.data_root))
    for day in missing:
        assert list(verify_published(root, "state_files", dt.date.fromisoformat(day))) == []
    assert len(toasts) == len(missing)
    assert all(toast.startswith("Launched run") for toast in toasts), toasts

    assert demo.interrupt() == 0
    ports = {int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", demo.messages)}
    assert len(ports) == 3
    assert all(is_free(port) for port in ports)
