"""What the command line says before there is a run, and of what no run is to blame for."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from npi_pipeline.cli import main


def invoke(*command: str, **environment: str) -> Result:
    """The command in this environment, on top of the test's own."""
    return CliRunner(env=environment).invoke(main, list(command))


@pytest.mark.parametrize("command", [["settings"], ["status"]])
def test_a_misspelt_variable_is_told_of_with_the_likely_one_and_refused_by_no_command(
    command: list[str], tmp_path: Path
) -> None:
    said = invoke(*command, NPI_DATA_ROOT=str(tmp_path), NPI_THREDS="3", NPI_OAUTH_ISSUER="x")
    assert said.exit_code == 0
    assert "NPI_OAUTH_ISSUER, NPI_THREDS (NPI_THREADS is meant?)" in said.stderr
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", [["run"], ["retry-failed"], ["backfill", "--from", str(dt.datetime.now(dt.timezone.utc).date())]]
)
def test_without_a_bucket_there_is_no_run(command: list[str], tmp_path: Path) -> None:
    said = invoke(*command, NPI_DATA_ROOT=str(tmp_path / "data"), DAGSTER_HOME=str(tmp_path / "home"))
    assert said.exit_code == 2
    assert "no bucket is set for the NPI list: set NPI_LIST_BUCKET" in said.output
    assert not (tmp_path / "home").exists()
