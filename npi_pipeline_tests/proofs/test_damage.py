"""Every kind of file of a day, damaged in every way: its own run heals it or says how, and no other day suffers."""

from __future__ import annotations

import datetime as dt
import fnmatch
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
from npi_pipeline.storage.open_root import open_data_root
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


def truncate(content: bytes, _others: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes, _others: bytes) -> bytes:
    flipped = bytearray(content or b"x")
    flipped[len(flipped) // 2] ^= 0xFF
    return bytes(flipped)


def empty(_content: bytes, _others: bytes) -> bytes:
    return b""


def swap(_content: bytes, others: bytes) -> bytes:
    return others


def remove(_content: bytes, _others: bytes) -> None:
    return None


def put_a_folder_there(_content: bytes, _others: bytes) -> None:
    """Nothing but a folder, which there are none of on S3."""


Damage = Callable[[bytes, bytes], bytes | None]
DAMAGES = (flip, truncate, empty, swap, remove, put_a_folder_there)


def every_damage_to_every_kind() -> Iterator[ParameterSet]:
    """In the ordinary run each kind is damaged in one of the ways, which take turns; not on S3."""
    in_turn = itertools.cycle(DAMAGES)
    for kind in KINDS:
        ordinary = next(in_turn)
        for damage in DAMAGES:
            marks = () if damage is ordinary else (pytest.mark.long,)
            yield pytest.param("local", kind, damage, id=f"local-{kind}-{damage.__name__}", marks=marks)
            if damage is not put_a_folder_there:
                yield pytest.param("s3", kind, damage, id=f"s3-{kind}-{damage.__name__}", marks=pytest.mark.long)


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


@pytest.fixture
def root_with_two_days(request: pytest.FixtureRequest, two_days: Path, tmp_path: Path) -> DataRoot:
    """A root of either kind with both days, in its own layout."""
    if request.param == "local":
        shutil.copytree(two_days, tmp_path / "root")
        return LocalRoot(tmp_path / "root")
    root = open_data_root(f"s3://{request.getfixturevalue('bucket')}/root")
    for day in (MONDAY, TUESDAY):
        run(root, day)
    return root


def damaged(root: DataRoot, kind: str, damage: Damage) -> str:
    """Damage the file of this kind of Tuesday; Monday has the one that it may be swapped with. Its path."""
    paths = [file.path for file in root.list("")]
    path, others = (fnmatch.filter(paths, kind.format(day=day))[0] for day in (TUESDAY, MONDAY))
    content = damage(root.read(path), root.read(others))
    if content is None:
        root.delete(path)
    else:
        root.write(path, content)
    if damage is put_a_folder_there:
        Path(root.uri(path)).mkdir(parents=True)
    return path


def move_away(root: DataRoot, path: str) -> None:
    """Do what the remedy says."""
    if Path(root.uri(path)).is_dir():
        Path(root.uri(path)).rmdir()
    else:
        root.delete(path)


@pytest.mark.parametrize(
    ("root_with_two_days", "kind", "damage"), list(every_damage_to_every_kind()), indirect=["root_with_two_days"]
)
def test_damage_to_yesterdays_files_leaves_today_complete_and_yesterdays_run_heals_it_or_says_how(
    root_with_two_days: DataRoot, kind: str, damage: Damage
) -> None:
    root = root_with_two_days
    path = damaged(root, kind, damage)
    run(root, WEDNESDAY)
    assert_complete(root, WEDNESDAY)
    try:
        run(root, TUESDAY)
    except (StorageError, JournalError) as error:
        line = str(error)
        assert "\n" not in line
        assert root.uri(path) in line
        assert "move" in line
        move_away(root, path)
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
