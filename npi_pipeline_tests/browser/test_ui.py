"""The pipeline in the Dagster UI, as a user of it sees it in a real browser."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from npi_pipeline.demo.dagster_ui import is_free
from npi_pipeline.journal import read_outcomes
from npi_pipeline.state_files.verification import verify_published
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline_tests.browser.demo_ui import (
    DemoUi,
    backfill_what_is_missing,
    browser_page,
    chromium,
    demo_ui,
    eventually,
    expect_every_asset_filled,
    materialise,
    open_launchpad,
    press_launch,
    terminate,
    write_at_launchpad,
)

pytestmark = [
    pytest.mark.browser,
    # On one worker: they share one demo.
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(chromium() is None and "CI" not in os.environ, reason="chromium is not installed"),
]

# Whether an element is painted green: asked of the page, since the names of its styles change with each release.
_IS_GREEN = """element => {
    const [red, green, blue] = getComputedStyle(element).color.match(/[0-9.]+/g).map(Number);
    return green > red && green > blue;
}"""


NPIS = 60


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoUi]:
    """One demo for all: each test takes a missing day, or all that are left."""
    with demo_ui(tmp_path_factory.mktemp("demo"), npis=NPIS, days=5) as demo:
        yield demo


@pytest.fixture
def toasts() -> list[str]:
    return []


@pytest.fixture
def page(toasts: list[str]) -> Iterator[Page]:
    with browser_page(toasts) as page:
        yield page


def test_a_run_with_another_setting_is_terminated_in_mid_fetch_and_goes_on_when_run_again(
    page: Page, demo: DemoUi
) -> None:
    day = demo.missing_days()[0]
    before = len(demo.runs())

    open_launchpad(page, demo, day, threads=0)
    press_launch(page)
    refusal = page.get_by_role("dialog")
    expect(refusal).to_contain_text("NPI_THREADS=0 cannot be used: Input should be greater than or equal to 1")
    refusal.get_by_role("button", name="OK").click()
    write_at_launchpad(page, fetch_mode="some")
    expect(page.get_by_text("config:fetch_mode not in enum type FetchMode")).to_be_visible()
    expect(page.get_by_role("button", name="Launch Run")).to_be_disabled()
    assert len(demo.runs()) == before

    # So slow that it would take a minute.
    write_at_launchpad(page, requests_per_second=1)
    press_launch(page)
    eventually(lambda: len(demo.runs()) > before)
    run = demo.run_of(day)
    assert run["runConfigYaml"] == "ops:\n  npi_records:\n    config:\n      requests_per_second: 1\n"
    root = open_data_root(str(demo.data_root))
    date = dt.date.fromisoformat(day)
    eventually(lambda: demo.slots_taken() == 1 and not read_outcomes(root, date).is_empty())

    terminate(page, demo, run["id"])
    eventually(lambda: demo.run_of(day)["status"] == "CANCELED" and demo.slots_taken() == 0)
    had = read_outcomes(root, date).height
    assert 0 < had < NPIS
    assert day in demo.missing_days()

    materialise(page, demo, day)
    eventually(lambda: demo.run_of(day)["status"] == "SUCCESS")
    assert demo.metadata("npi_records", day)["asked_in_this_run"] == NPIS - had
    assert verify_published(root, "state_files", date) == ()


def test_missing_days_are_backfilled_from_the_ui(page: Page, toasts: list[str], demo: DemoUi) -> None:
    missing = demo.missing_days()
    assert len(missing) > 1
    backfill_what_is_missing(page, demo, len(missing))

    assets = demo.assets()
    expect_every_asset_filled(page, demo)
    # The report has no checks: it tells of those of the others.
    expect(page.get_by_text(re.compile(r"^(\d+) / \1 Passed$"))).to_have_count(len(assets) - 1)
    footers = page.get_by_text(f"{len(demo.days())} partitions", exact=True)
    expect(footers).to_have_count(len(assets))
    assert [footer.evaluate(_IS_GREEN) for footer in footers.all()] == [True] * len(assets)

    runs = [demo.run_of(day) for day in missing]
    eventually(lambda: {demo.run_of(day)["status"] for day in missing} == {"SUCCESS"})
    assert len({run["tags"]["dagster/backfill"] for run in runs}) == 1
    assert demo.missing_days() == []
    root = open_data_root(str(demo.data_root))
    for day in missing:
        assert list(verify_published(root, "state_files", dt.date.fromisoformat(day))) == []
        assert demo.metadata("npi_records", day)["asked_in_this_run"] == NPIS
    assert [toast.split()[:2] for toast in toasts] == [["Created", "backfill"]]


def test_checks_and_the_map_are_seen_on_the_page_of_an_asset(page: Page, demo: DemoUi) -> None:
    page.goto(f"{demo.url}/assets/state_files?view=checks")
    for check in ("every_npi_is_accounted_for", "state_files_match_the_manifest"):
        page.get_by_text(check, exact=True).first.click()
        expect(page.get_by_text("Passed", exact=True)).to_be_visible()

    page.goto(f"{demo.url}/assets/state_files")
    expect(page.get_by_role("cell", name=re.compile("^\\d+ others$"))).to_be_visible()
    seen = page.get_by_role("row", name="map_of_states").locator("img")
    expect(seen).to_be_visible()
    # Not shown, an image that cannot be read has no size.
    assert seen.evaluate("image => image.naturalWidth") > 100
    page.get_by_role("button", name="Plots").click()
    expect(page.get_by_text("rows_CA", exact=True)).to_be_visible()


# The last one: the demo that all of them share ends here.
def test_ctrl_c_ends_the_demo_and_frees_its_ports(demo: DemoUi) -> None:
    assert demo.interrupt() == 0
    ports = {int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", demo.messages)}
    assert len(ports) == 3
    assert all(is_free(port) for port in ports)
