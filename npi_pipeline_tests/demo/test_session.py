"""The demo as a command: it takes nothing of whoever starts it, neither files nor settings.

Not here: its Dagster UI (``browser``).
"""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner

from npi_pipeline.cli.commands import main
from npi_pipeline.demo.deliveries import questions
from npi_pipeline.demo.session import MARKER, DemoFolderError, run_demo
from npi_pipeline.npi_list.kept_list import keep_list
from npi_pipeline.npi_list.source import ListObject, ListSelection
from npi_pipeline.orchestration.dagster_home import make_home
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.pipeline import DAY


def demo(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``npi-pipeline demo`` in ``folder``."""
    command = [sys.executable, "-c", "from npi_pipeline.cli.commands import main; main()", "demo", "--npis", "5"]
    return subprocess.run(
        [*command, "--folder", str(folder), *options],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def keep_a_list_of_ones_own(folder: Path) -> Path:
    """Have a deployment's own list in the data root below ``folder``; where it lies."""
    listed = ListObject(
        bucket="my-bucket",
        key="npi_list.txt",
        version_id=None,
        etag="etag",
        last_modified=dt.datetime(2026, 11, 23, tzinfo=dt.timezone.utc),
        selection=ListSelection.current,
        body=b"1234567893\n",
    )
    keep_list(LocalRoot(folder / "npi-data"), DAY, listed)
    return folder / "npi-data" / "npi_list" / str(DAY) / "npi_list.txt"


def files_of(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.long
def test_the_demo_prints_what_the_readme_shows_and_by_files_comes_to_the_same(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    shown = textwrap.dedent(readme[readme.index("    day   ") : readme.index("\n\nThe warning is there")]).splitlines()
    printed = demo(tmp_path / "demo", "--npis", "1000", "--bulk", COLUMNS="300").stdout

    def figures(lines: Iterable[str]) -> list[str]:
        """Those that are the same on each day and in each folder."""
        dated = [line.rstrip() for line in lines if not line.startswith(("where ", "seconds "))]
        return [re.sub(r"\d{4}-\d\d-\d\d", "a day", line) for line in dated]

    table = printed[printed.index("\nday   ") + 1 :]
    assert figures(table.splitlines()[: len(shown)]) == figures(shown)
    assert "57 state files by API and by file are equal in every column that the file can fill" in printed


@pytest.mark.parametrize("what", ["npi-data", "dagster-home"])
def test_a_folder_that_holds_a_deployment_is_refused_on_one_line_and_nothing_is_deleted(
    tmp_path: Path, what: str
) -> None:
    if what == "npi-data":
        keep_a_list_of_ones_own(tmp_path)
    else:
        make_home(tmp_path / what)
    before = files_of(tmp_path)

    refused = CliRunner().invoke(main, ["demo", "--npis", "5", "--folder", str(tmp_path)])
    assert refused.exit_code == 2
    (line,) = refused.stderr.splitlines()
    assert f"{tmp_path} holds {what} that may not be the demo's" in line
    assert "choose another folder with --folder" in line
    assert files_of(tmp_path) == before


def test_the_demo_begins_anew_in_its_own_folder_until_somebody_goes_on_there_with_their_own_list(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "demo"
    left_over = folder / "npi-data" / "left over"
    left_over.mkdir(parents=True)
    (folder / MARKER).touch()
    nowhere = "http://127.0.0.1:9/a-channel"
    shown = demo(folder, "--deliver", NPI_ALERT_WEBHOOK_URL=nowhere, NPI_THREADS="none at all", NPI_FILE_PREFIX="mine_")
    assert shown.returncode == 0, shown.stderr + shown.stdout
    assert not left_over.exists()
    published = list((folder / "npi-data" / "state_files").rglob("*.csv"))
    assert published
    assert all(path.name.startswith("npi_data_") for path in published), "no setting of the environment reaches it"
    for question, query in questions(folder):
        assert f"{question}\n{query};" in shown.stdout
    today, yesterday = sorted(path.name for path in (folder / "lake" / "outcomes").iterdir())[::-1]
    assert re.search(rf"^[A-Z]{{2}} +{yesterday.removeprefix('day=')} +\d+ *$", shown.stdout, re.MULTILINE)
    assert re.search(rf"^{today.removeprefix('day=')} +joined +1 *$", shown.stdout, re.MULTILINE)
    assert (folder / MARKER).exists()

    mine = keep_a_list_of_ones_own(folder)
    with pytest.raises(DemoFolderError):
        run_demo(npis=5, ui=False, port=0, folder=folder, show=print)
    assert mine.exists()
