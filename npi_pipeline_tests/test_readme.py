"""What the README says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from npi_pipeline.orchestration.checks import asset_checks
from npi_pipeline.settings import CheckSettings
from npi_pipeline.settings.__main__ import settings_table

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()


def test_the_settings_table_is_the_one_that_the_settings_give() -> None:
    between = re.search(r"<!-- settings: [^>]*-->\n(.*?)\n<!-- /settings -->", README, re.DOTALL)
    assert between is not None
    assert between.group(1).strip() == settings_table(), "paste what `python -m npi_pipeline.settings` prints"


def test_every_check_is_in_the_table_of_checks_and_no_other() -> None:
    table = README.split("| asset | checks |")[1].split("\n\n")[0]
    blocking = {name: bool(star) for name, star in re.findall(r"`(\w+)`(\*?)", table) if "_" in name}
    checks = {
        spec.name: spec.blocking
        for check in asset_checks(CheckSettings(), has_snapshot=True)
        for spec in check.check_specs
    }
    assets = {"npi_list", "registry_snapshot", "npi_records", "state_files", "provider_changes"}
    named = {name: star for name, star in blocking.items() if name not in assets}
    assert named == checks


def test_every_file_that_it_shows_or_names_is_there() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert [link for link in links if not (PROJECT / link).exists()] == []
