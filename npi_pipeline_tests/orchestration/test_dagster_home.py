"""A Dagster home that cannot be used is one line with a remedy, and none is left there by half."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from npi_pipeline.orchestration.dagster_home import HomeError, make_home, open_instance

# Of Linux (linux/prctl.h, linux/capability.h).
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1


def status(home: Path, data: Path, **limits: Any) -> subprocess.CompletedProcess[str]:
    """``npi-pipeline status`` in a process of its own, which ``limits`` may restrict."""
    return subprocess.run(
        [sys.executable, "-c", "from npi_pipeline.cli.commands import main; main()", "status"],
        env=os.environ | {"DAGSTER_HOME": str(home), "NPI_DATA_ROOT": str(data), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        **limits,
    )


def expect_one_line(told: subprocess.CompletedProcess[str], home: Path, remedy: str) -> None:
    """The error is a line that names the home and the remedy; the others say how the command is used."""
    assert told.returncode == 2, told.stderr
    *usage, line = told.stderr.splitlines()
    assert line.startswith(f"Error: DAGSTER_HOME={home} cannot be used: ")
    assert remedy in line
    assert not [line for line in usage if line and not line.startswith(("Usage: ", "Try "))]


@pytest.mark.long
def test_a_home_that_is_read_only_is_one_line(tmp_path: Path) -> None:
    def permissions_hold_for_root_too() -> None:
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0)

    home = tmp_path / "home"
    make_home(home)
    for path in (home, *home.rglob("*")):
        path.chmod(0o555)
    expect_one_line(
        status(home, tmp_path / "data", preexec_fn=permissions_hold_for_root_too), home, "let this user write there"
    )


@pytest.mark.long
def test_a_home_on_a_full_disk_is_one_line_and_is_not_left_there_by_half(tmp_path: Path) -> None:
    def no_file_of_more_than_a_few_bytes() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    home = tmp_path / "home"
    told = status(home, tmp_path / "data", preexec_fn=no_file_of_more_than_a_few_bytes)
    expect_one_line(told, home, "make room on its disk")
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_full_in_mid_use_is_one_line(tmp_path: Path) -> None:
    def no_file_may_grow() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))

    home = tmp_path / "home"
    make_home(home)
    expect_one_line(status(home, tmp_path / "data", preexec_fn=no_file_may_grow), home, "make room on its disk")


def test_a_home_below_a_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(HomeError, match=r"set it to a folder"), open_instance():
        pass


@pytest.mark.parametrize("config", ["storage: [", "no_such_entry: 3\n", "run_launcher:\n  module: no\n  class: No\n"])
def test_a_configuration_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    home = tmp_path / "home"
    make_home(home)
    (home / "dagster.yaml").write_text(config)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with pytest.raises(HomeError, match=r"see its dagster\.yaml") as refused, open_instance():
        pass
    assert str(refused.value).isprintable()


def test_an_error_that_is_none_of_the_homes_is_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    with pytest.raises(FileNotFoundError), open_instance():
        (tmp_path / "elsewhere").read_bytes()
