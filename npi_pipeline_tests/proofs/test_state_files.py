"""State files are proven however they are written. Not here: the checks as such (``orchestration.test_checks``)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.days.paths import provider_changes_folder, provider_changes_name, state_files_folder
from npi_pipeline.outcomes import Outcome
from npi_pipeline.proofs.provider_changes import joins_and_leaves_match_the_lists
from npi_pipeline.proofs.state_files import every_npi_is_accounted_for, state_files_match_the_manifest
from npi_pipeline.settings import FileSettings
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import complete
from npi_pipeline_tests.flattened import nppes_body

DAY = dt.date(2026, 11, 23)
FOUND = [f"10000000{number}" for number in range(10, 15)]


def test_files_with_a_byte_order_mark_are_proven_like_any_others(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    files = FileSettings(byte_order_mark=True)
    complete(root, DAY - dt.timedelta(days=1), {FOUND[0]: nppes_body(FOUND[0]), FOUND[1]: Outcome.failed}, files)
    manifest = complete(root, DAY, {FOUND[0]: nppes_body(FOUND[0], fax=1), FOUND[2]: Outcome.deactivated}, files)
    find_changes(root, DAY, files)
    written = [f"{state_files_folder(files.state_files_dir, DAY)}/{file.name}" for file in manifest.files]
    written.append(f"{provider_changes_folder(DAY)}/{provider_changes_name(files, DAY)}")
    assert {root.read(path)[:6] for path in written} == {b"\xef\xbb\xbfnpi"}
    assert every_npi_is_accounted_for(root, DAY, files).holds
    assert state_files_match_the_manifest(root, DAY, files).holds
    assert joins_and_leaves_match_the_lists(root, DAY, files).figures == {"joined": 1, "left": 1, "deactivated": 1}
