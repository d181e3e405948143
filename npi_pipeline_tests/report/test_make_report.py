"""The report of a day says what the day's files say, whatever state they are in."""

from __future__ import annotations

import dataclasses
import datetime as dt
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.days.paths import provider_table_folder
from npi_pipeline.http_fetch.progress import FetchReport
from npi_pipeline.npi_records.kept_fetches import keep_fetch
from npi_pipeline.outcomes import Outcome
from npi_pipeline.proofs.kept_findings import KeptFinding, keep_findings
from npi_pipeline.report.day_report import DayReport, Verdict
from npi_pipeline.report.make_report import has_report, make_report
from npi_pipeline.report.page import duration, share, signed
from npi_pipeline.report.summary import summary_of
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline_tests.complete_days import Outcomes, complete, keep
from npi_pipeline_tests.flattened import address, nppes_body, taxonomy

DAY = dt.date(2026, 11, 23)
BEFORE = DAY - dt.timedelta(days=1)
A, B, C, D, E = sorted(npi_numbers(5, seed=7))
FILES = FileSettings()
# Whoever writes this into the registry wants more than to be looked up.
HOSTILE = "<script>alert(1)</script> & \"x\" onmouseover='y'"

OF_BEFORE: Outcomes = {A: nppes_body(A), B: nppes_body(B), C: nppes_body(C), D: Outcome.failed}
OF_DAY: Outcomes = {
    A: nppes_body(A, addresses=[address("LOCATION", "TX", city=HOSTILE)], taxonomies=[taxonomy("1", desc=HOSTILE)]),
    B: Outcome.deactivated,
    D: Outcome.failed,
    E: nppes_body(E, enumeration_type="NPI-2"),
}
PRODUCTS = ("npi_list", "npi_records", "providers", "state_files", "provider_changes")


@pytest.fixture
def root(tmp_path: Path) -> LocalRoot:
    """Two complete days, of which the second has its changes."""
    root = LocalRoot(tmp_path / "npi-data")
    complete(root, BEFORE, OF_BEFORE)
    complete(root, DAY, OF_DAY)
    find_changes(root, DAY, FILES)
    return root


def prove(root: LocalRoot, *broken: str, is_blocking: bool = True) -> None:
    """Keep findings of each product, that do not hold where the product is among the ``broken``."""
    for product in PRODUCTS:
        holds = product not in broken
        line = f"{HOSTILE} {'holds' if holds else 'does not hold'}"
        finding = KeptFinding(product, f"check_of_{product}", "It is right.", is_blocking, holds, line)
        keep_findings(root, DAY, FILES.state_files_dir, [finding])


def page(root: LocalRoot, day: dt.date = DAY) -> str:
    return root.read(f"day_report/{day}/day_report.html").decode()


def told(root: LocalRoot, day: dt.date = DAY) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(root.read(f"day_report/{day}/day_report.json"))
    return content


def test_a_day_is_told_with_its_counts_its_changes_its_moves_and_its_contents(root: LocalRoot) -> None:
    prove(root)
    report = make_report(root, FILES, DAY)
    assert report.verdict is Verdict.holds
    assert report.outcomes == {"found": 2, "not_found": 0, "deactivated": 1, "invalid": 0, "failed": 1}
    changes = report.changes
    assert changes is not None
    assert (changes.compared_with, changes.providers_moved) == (BEFORE, 1)
    assert [(move.old, move.new, move.providers, move.example) for move in changes.moved] == [("CA", "TX", 1, A)]
    assert changes.outcome_changes == (("found", "deactivated", 1),)
    assert {of.state: (of.rows, of.rows_before) for of in report.states} == {
        "CA": (1, 3),
        "TX": (1, 0),
        "None": (0, 0),
        "Failed": (2, 1),
    }
    assert [failure.examples for failure in report.fetch.failures] == [D]
    contents = report.contents
    assert contents is not None
    assert contents.entity_types == (("NPI-1", 1), ("NPI-2", 1))
    assert contents.taxonomies == (("1", HOSTILE, 1), ("207Q00000X", "Family Medicine", 1))
    assert {of.name: (of.share, of.longest) for of in contents.lists}["taxonomies"] == (1.0, 1)
    assert {of.name: of.share for of in contents.columns}["basic.middle_name"] == 0
    assert [day.day for day in report.recent if day.is_complete] == [BEFORE, DAY]
    assert told(root)["verdict"] == "holds"
    assert told(root)["changes"]["moved"] == [{"old": "CA", "new": "TX", "providers": 1, "example": A}]


def test_the_same_files_give_the_same_bytes(root: LocalRoot) -> None:
    prove(root)
    make_report(root, FILES, DAY)
    first = page(root), told(root)
    make_report(root, FILES, DAY)
    assert (page(root), told(root)) == first


def test_the_page_loads_nothing_and_what_comes_from_outside_is_only_text_on_it(root: LocalRoot) -> None:
    prove(root, "npi_list", is_blocking=False)
    make_report(root, FILES, DAY)
    text = page(root)
    assert html.escape(HOSTILE, quote=False)[:20] in text
    assert not re.search(r"<(script|link|img|iframe|object|embed)", text)
    assert "onmouseover='" not in text
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?[^#"']""", text) == []
    assert "default-src 'none'" in text
    assert len(text.encode()) < 150_000


@pytest.mark.parametrize(
    ("broken", "is_blocking", "verdict"),
    [((), True, Verdict.holds), (("providers",), False, Verdict.warns), (("state_files",), True, Verdict.broken)],
)
def test_the_verdict_is_that_of_the_findings(
    root: LocalRoot, broken: tuple[str, ...], verdict: Verdict, *, is_blocking: bool
) -> None:
    prove(root, *broken, is_blocking=is_blocking)
    report = make_report(root, FILES, DAY)
    assert report.verdict is verdict
    assert report.headline in page(root)


def test_what_was_proven_of_an_earlier_publication_proves_nothing_of_this_one(root: LocalRoot) -> None:
    assert make_report(root, FILES, DAY).verdict is Verdict.unproven
    prove(root)
    complete(root, DAY, {**OF_DAY, E: nppes_body(E)})
    report = make_report(root, FILES, DAY)
    assert report.verdict is Verdict.unproven
    assert {finding.product for finding in report.findings if finding.is_outdated} == {
        "state_files",
        "provider_changes",
    }
    assert "of an earlier publication" in page(root)


def test_a_day_that_is_not_complete_has_a_report_that_says_how_far_it_came(root: LocalRoot) -> None:
    later = DAY + dt.timedelta(days=1)
    keep(root, later, OF_DAY)
    report = make_report(root, FILES, later)
    assert (report.verdict, report.state.value) == (Verdict.incomplete, "partial")
    assert "Not complete" in page(root, later)


def test_what_is_damaged_is_named_with_its_remedy_and_the_rest_is_told(root: LocalRoot) -> None:
    prove(root)
    folder = root.folder / provider_table_folder(DAY)
    for part in folder.glob("*.parquet"):
        part.write_bytes(b"damaged")
    report = make_report(root, FILES, DAY)
    assert report.contents is None
    assert any("materialise providers for 2026-11-23 again" in problem for problem in report.problems)
    assert report.verdict is Verdict.warns
    assert report.outcomes["found"] == 2


def test_the_fetches_are_told_of_as_they_were_kept(root: LocalRoot) -> None:
    fetched = FetchReport(
        attempts=9,
        outcomes={"found": 3, "failed": 1},
        retries={"HTTP 503": 4, HOSTILE: 1},
        refused=2,
        latency={50: 0.01, 90: 0.02, 99: 0.5, 100: 1.5},
        highest_limit=7,
        seconds=2.0,
        rate=2.0,
    )
    keep_fetch(root, DAY, "registry.example", fetched)
    report = make_report(root, FILES, DAY)
    (one,) = report.fetch.fetches
    assert (one.registry, one.asked, one.requests, one.refused) == ("registry.example", 4, 9, 2)
    assert one.latency_ms == {50: 10.0, 90: 20.0, 99: 500.0, 100: 1500.0}
    assert report.fetch.retries == (("HTTP 503", 4), (HOSTILE, 1))
    assert "1,500 ms" in page(root)


def test_of_older_days_no_more_reports_are_kept_than_the_settings_say(root: LocalRoot) -> None:
    days = [DAY - dt.timedelta(days=ago) for ago in (3, 2, 1, 0)]
    for day in days:
        make_report(root, FILES, day)
    make_report(root, FileSettings(report_keep=2), DAY)
    assert [has_report(root, day) for day in days] == [False, False, True, True]
    make_report(root, FileSettings(report_keep=2), days[0])
    assert has_report(root, days[0])


def test_the_summary_says_what_matters_first_and_is_short_however_much_there_is(root: LocalRoot) -> None:
    prove(root, *PRODUCTS, is_blocking=False)
    report = make_report(root, FILES, DAY)
    summary = summary_of(report, 1000)
    assert summary.startswith("**Complete, and proven, with 5 warnings.**")
    assert "<script>" not in summary
    assert "4 NPIs: 2 found, 1 deactivated, 1 failed" in summary
    assert len(summary_of(long_winded(report), 1000)) < 1000


def long_winded(report: DayReport) -> DayReport:
    return dataclasses.replace(report, problems=("x" * 5_000,) * 9, list_source="y" * 5_000)


def test_numbers_are_told_so_that_none_is_taken_for_another() -> None:
    assert [share(part) for part in (0, 0.0004, 0.00001, 0.5, 0.9996, 0.999999, 1)] == [
        "0%",
        "0.04%",
        "0.001%",
        "50%",
        "99.96%",
        "99.9999%",
        "100%",
    ]
    assert [signed(change) for change in (1_200, 0, -3)] == ["+1,200", "0", "\u22123"]
    assert [duration(seconds) for seconds in (0.04, 99.94, 100, 3_661)] == [
        "0.0 s",
        "99.9 s",
        "1 min 40 s",
        "1 h 01 min",
    ]
