"""Every kind of file of a day, damaged in every way: its own run heals it or says how, and no other day suffers."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from npi_pipeline.changes.find_changes import find_changes
from npi_pipeline.changes.kept_changes import read_kept_changes
from npi_pipeline.errors import PipelineError
from npi_pipeline.journal import JournalError, load_compacted_journal
from npi_pipeline.npi_list.kept_list import read_kept_source
from npi_pipeline.outcomes import Outcome
from npi_pipeline.providers.kept_table import read_kept_table
from npi_pipeline.settings import FileSettings
from npi_pipeline.state_files.publish import read_manifest
from npi_pipeline.storage.data_root import DataRoot, StorageError
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline_tests.complete_days import Outcomes, assert_complete, complete
from npi_pipeline_tests.flattened import nppes_body

A, B, C = "1000000004", "1000000012", "1000000020"
MONDAY, TUESDAY, WEDNESDAY = (dt.date(2026, 11, day) for day in (23, 24, 25))
FILES = FileSettings()
OF_DAY: dict[dt.date, Outcomes] = {
    MONDAY: {A: nppes_body(A), B: nppes_body(B)},
    TUESDAY: {A: nppes_body(A, enumeration_type="TUESDAY"), B: Outcome.deactivated},
    WEDNESDAY: {A: nppes_body(A, enumeration_type="WEDNESDAY"), C: Outcome.failed},
}
KINDS = (
    "npi_list/{day}/npi_list.txt",
    "npi_list/{day}/source.json",
    "journal/day={day}/journal.json",
    "journal/day={day}/compacted/*.parquet",
    "journal/day={day}/outcomes/*.parquet",
    "provider_table/day={day}/table.json",
    "provider_table/day={day}/*.parquet",
    "state_files/{day}/manifest.json",
    "state_files/{day}/*_CA.csv",
    "state_files/{day}/*_Failed.csv",
    "provider_changes/{day}/changes.json",
    "provider_changes/{day}/*.csv",
    "locks/{day}/state_files",
)


def truncate(path: Path, _other: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path, _other: Path) -> None:
    content = bytearray(path.read_bytes() or b"x")
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def empty(path: Path, _other: Path) -> None:
    path.write_bytes(b"")


def swap(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def remove(path: Path, _other: Path) -> None:
    path.unlink()


def put_a_folder_there(path: Path, _other: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = (flip, truncate, empty, swap, remove, put_a_folder_there)


def every_damage_to_every_kind() -> Iterator[ParameterSet]:
    """In the ordinary run each kind is flipped, and damaged in one of the other ways, which take turns."""
    in_turn = itertools.cycle(damage for damage in DAMAGES if damage is not flip)
    for kind in KINDS:
        ordinary = (flip, next(in_turn))
        for damage in DAMAGES:
            marks = () if damage in ordinary else (pytest.mark.long,)
            yield pytest.param(kind, damage, id=f"{kind}-{damage.__name__}", marks=marks)


def run(root: DataRoot, day: dt.date) -> None:
    """All that a run of ``day`` does, but for asking a registry."""
    complete(root, day, OF_DAY[day])
    find_changes(root, day, FILES)


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-days") / "root"
    for day in (MONDAY, TUESDAY):
        run(LocalRoot(folder), day)
    return folder


def damaged(folder: Path, kind: str, day: dt.date, damage: Callable[[Path, Path], None]) -> Path:
    """Damage the file of this kind of ``day``; the other day has the one that it may be swapped with."""
    other = MONDAY if day == TUESDAY else TUESDAY
    (path,), (others,) = (list(folder.glob(kind.format(day=of)))[:1] for of in (day, other))
    damage(path, others)
    return path


@pytest.mark.parametrize(("kind", "damage"), list(every_damage_to_every_kind()))
def test_damage_to_yesterdays_files_leaves_today_complete_and_yesterdays_run_heals_it_or_says_how(
    two_days: Path, tmp_path: Path, kind: str, damage: Callable[[Path, Path], None]
) -> None:
    folder = tmp_path / "root"
    shutil.copytree(two_days, folder)
    root = LocalRoot(folder)
    path = damaged(folder, kind, TUESDAY, damage)
    run(root, WEDNESDAY)
    assert_complete(root, WEDNESDAY)
    try:
        run(root, TUESDAY)
    except (StorageError, JournalError) as error:
        line = str(error)
        assert "\n" not in line
        assert str(path) in line
        assert "move" in line
        shutil.move(path, tmp_path / "moved-away")
        run(root, TUESDAY)
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        assert_complete(root, day)


# By what is known of a day's files, whoever reads it, and where anything may stand: what nobody reads, or only shows.
KNOWN = {
    "npi_list/{day}/source.json": (read_kept_source, set()),
    "journal/day={day}/journal.json": (load_compacted_journal, {"rows"}),
    "provider_table/day={day}/table.json": (read_kept_table, set()),
    "state_files/{day}/manifest.json": (lambda root, day: read_manifest(root, "state_files", day), {"npis", "source"}),
    "provider_changes/{day}/changes.json": (read_kept_changes, set()),
}


def each_with_a_value_of_another_type(content: Any) -> Iterator[tuple[str, Any]]:
    """The same JSON with one of its values of another type, for each of them; and under which key of the outermost."""
    places = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in places:
        inner = each_with_a_value_of_another_type(value) if isinstance(value, dict | list) else ()
        for other in itertools.chain([[[]]], (other for _, other in inner)):
            copy = content.copy()
            copy[key] = other
            yield str(key), copy


def refusal_of(read: Callable[[DataRoot, dt.date], object], root: DataRoot) -> str | None:
    """Why what is known of the files of Tuesday is refused; None when it is taken."""
    try:
        read(root, TUESDAY)
    except PipelineError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", KNOWN)
def test_a_value_of_another_type_in_what_is_known_of_files_is_told_on_one_line(
    two_days: Path, tmp_path: Path, kind: str
) -> None:
    read, free = KNOWN[kind]
    source = two_days / kind.format(day=TUESDAY)
    path = tmp_path / kind.format(day=TUESDAY)
    path.parent.mkdir(parents=True)
    taken = set()
    for key, content in each_with_a_value_of_another_type(json.loads(source.read_bytes())):
        path.write_text(json.dumps(content))
        line = refusal_of(read, LocalRoot(tmp_path))
        if line is None:
            taken.add(key)
        else:
            assert str(path) in line
            assert "\n" not in line
    assert taken == free
