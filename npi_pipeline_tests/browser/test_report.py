"""The report of a day in a real browser: readable on a phone, and it loads nothing."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.report.make_report import make_report
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline_tests.browser.demo_ui import browser_page, chromium
from npi_pipeline_tests.complete_days import complete
from npi_pipeline_tests.flattened import address, nppes_body

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(chromium() is None and "CI" not in os.environ, reason="chromium is not installed"),
]

DAY = dt.date(2026, 11, 23)
# Of what a reader needs: the contrast of each text with what is behind it (WCAG AA asks for 4.5).
_LOWEST_CONTRAST = """() => {
    const rgb = text => text.match(/[0-9.]+/g).map(Number);
    const light = ([red, green, blue]) => {
        const [r, g, b] = [red, green, blue].map(c => c / 255)
            .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        for (; element; element = element.parentElement) {
            const color = rgb(getComputedStyle(element).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
        }
    };
    const texts = [...document.querySelectorAll("body *")].filter(element => element.checkVisibility()
        && [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
    return Math.min(...texts.filter(element => !(element instanceof SVGElement)).map(element => {
        const [one, other] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
        return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    }));
}"""


_NARROWEST_WORDS = """() => Math.min(...[...document.querySelectorAll("td code")]
    .filter(code => code.checkVisibility() && code.textContent.length > 8).map(code => code.offsetWidth))"""

_CUT_OFF = """() => [...document.querySelectorAll(".scroll")].filter(table => table.scrollWidth > table.clientWidth)
    .map(table => table.innerText)"""


def test_the_report_fits_on_a_phone_can_be_read_in_the_dark_and_loads_nothing(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path / "npi-data")
    one, other = npi_numbers(2, seed=7)
    complete(root, DAY - dt.timedelta(days=1), {one: nppes_body(one), other: nppes_body(other)})
    complete(root, DAY, {one: nppes_body(one, addresses=[address("LOCATION", "TX", city="A" * 300)])})
    find_changes(root, DAY, FileSettings())
    make_report(root, FileSettings(), DAY)
    with browser_page([]) as page:
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        address_of_page = (root.folder / "day_report" / str(DAY) / "day_report.html").as_uri()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in (390, 1280):
                page.set_viewport_size({"width": width, "height": 900})
                page.goto(address_of_page)
                assert page.evaluate("document.documentElement.scrollWidth") == width, "it is scrolled down, not aside"
                if width > 390:
                    assert page.evaluate(_CUT_OFF) == [], "of no table there is a column that nobody sees"
                assert page.evaluate(_LOWEST_CONTRAST) >= 4.5, scheme
                assert page.evaluate(_NARROWEST_WORDS) > 50, "no name is broken in the middle of a word"
        page.emulate_media(media="print")
        assert page.locator("details table").last.is_visible(), "on paper nothing is folded"
        assert not page.locator("summary").last.is_visible()
        assert page.locator("svg path title").filter(has_text="Texas").count() == 2
        assert set(requests) == {address_of_page}
