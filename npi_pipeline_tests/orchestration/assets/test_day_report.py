"""What a user has of a day's report: real runs, also of days that are made no further, and the command."""

from __future__ import annotations

import datetime as dt
import json
import urllib.request
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from npi_pipeline.cli.commands import main
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.flattened import address, nppes_body
from npi_pipeline_tests.pipeline import DAY
from npi_pipeline_tests.scripted_days import ScriptedDays, scripted_days

A, B = sorted(npi_numbers(2, seed=7))
TUESDAY = DAY + dt.timedelta(days=1)
NOWHERE = json.loads(nppes_body(A, addresses=[address("LOCATION", "ATLANTIS")]))


@pytest.fixture
def days(s3: LocalS3, bucket: str) -> Iterator[ScriptedDays]:
    with scripted_days(f"s3://{bucket}/npi", s3, bucket) as of_pipeline:
        yield of_pipeline


def report(days: ScriptedDays, day: dt.date, *options: str) -> Result:
    """What the command says of the report of ``day``."""
    root = days.pipeline.settings.files.data_root
    return CliRunner().invoke(main, ["report", "--date", str(day), "--data-root", root, *options])


def test_a_day_with_warnings_has_a_report_whose_page_in_the_ui_says_so_and_holds_no_secret(
    days: ScriptedDays,
) -> None:
    days.run(DAY, {A: NOWHERE})
    (told,) = days.metadata("day_report", DAY)
    assert told["verdict"] == "warns"
    assert "`states_are_recognised`" in told["summary"]
    assert len(told["summary"]) < 1000
    assert told["where"].endswith("/npi/day_report/2026-11-23/day_report.html")
    assert "X-Amz" not in str(told)

    said = report(days, DAY, "--link")
    assert said.exit_code == 0
    link = said.stdout.splitlines()[-1]
    assert "X-Amz-Expires=3600" in link
    with urllib.request.urlopen(link) as answer:
        assert b"Complete, and proven, with 1 warning" in answer.read()


def test_a_day_that_a_blocking_check_stops_has_a_report_that_says_why(days: ScriptedDays) -> None:
    days.run(DAY, {A: 403, B: json.loads(nppes_body(B))}, succeeds=False)
    assert days.metadata("day_report", DAY) == []
    said = report(days, DAY, "--json")
    assert said.exit_code == 1
    told = json.loads(said.stdout)
    assert told["verdict"] == "incomplete"
    broken = [finding["name"] for finding in told["findings"] if not finding["holds"]]
    assert broken == ["failed_share_is_under_the_limit"]
    assert told["fetch"]["failures"][0]["examples"] == A


def test_a_day_that_is_filled_in_later_makes_the_report_of_the_day_after_it_anew(days: ScriptedDays) -> None:
    days.run(TUESDAY, {A: json.loads(nppes_body(A))})
    days.run(DAY, {B: json.loads(nppes_body(B))})
    anew, first = days.metadata("day_report", TUESDAY)
    assert "Since 2026-11-23: 1 joined, 1 left" in anew["summary"]
    assert "Since" not in first["summary"]
