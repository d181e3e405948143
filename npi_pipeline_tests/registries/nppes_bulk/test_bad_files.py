"""What is wrong with a dissemination file is one line that names it, or an NPI that is counted: never a silent gap."""

from __future__ import annotations

import datetime as dt
import io
import re
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from npi_pipeline.registries.nppes_bulk.bulk_file import BulkFileError
from npi_pipeline.registries.nppes_bulk.columns import CHILD_COLUMNS, MAIN_COLUMNS
from npi_pipeline.registries.nppes_bulk.prepared import PreparedFile, load_prepared
from npi_pipeline.registries.nppes_bulk.snapshot import Snapshot, prepare_snapshot, rows_for, slices
from npi_pipeline.storage.data_root import DataRoot, StorageError
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.storage.open_file import open_file
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.registries.nppes_bulk.made_files import (
    csv_of,
    line_of,
    make_monthly,
    make_report,
    make_weekly,
    monthly_name,
    person,
    practice_location,
)
from npi_pipeline_tests.watched_root import WatchedRoot

_AUGUST = dt.date(2026, 8, 9)
_NPIS = [1000000004, 1000000012, 1000000020, 1000000038]
_BAD = _NPIS[1]
_GOOD = [person(npi) for npi in _NPIS]
_DOWNLOAD_AGAIN = "download it again"
_MAIN_NAME = "npidata_pfile_20050523-20260809.csv"


@pytest.fixture
def local(tmp_path: Path) -> LocalRoot:
    return LocalRoot(tmp_path / "root")


def _prepared(root: DataRoot, files: Path) -> tuple[Snapshot, PreparedFile, pl.DataFrame]:
    """The snapshot of a day after the month, its monthly file, and all rows."""
    snapshot = prepare_snapshot(root, _AUGUST, str(files))
    prepared = load_prepared(root, snapshot.files[0].prepared)
    assert prepared is not None
    return snapshot, prepared, pl.concat(slices(root, snapshot))


def _refusal(root: DataRoot, files: Path) -> str:
    """The one line that is said, and nothing was prepared."""
    with pytest.raises(BulkFileError) as caught:
        prepare_snapshot(root, _AUGUST, str(files))
    line = str(caught.value)
    assert "\n" not in line
    assert not [file.path for file in root.list("registry_files") if file.path.endswith("/index.json")]
    return line


# Rows


_ROW = line_of(_GOOD[1])
_ODD_ROWS: dict[str, tuple[bytes, str]] = {
    "too short": (_ROW.replace(b',""\n', b"\n"), "its row has 329 values where the header has 330"),
    "too long": (_ROW.replace(b"\n", b',"more"\n'), "its row has 331 values where the header has 330"),
    "a NUL": (_ROW.replace(b"SMITH", b"SM\0TH"), "its row holds a NUL"),
    "Latin-1": (_ROW.replace(b"ANN", b"REN\xc9"), "its row holds a byte that is no UTF-8 (0xC9)"),
    "a quote": (_ROW.replace(b"ANN", b'A"N'), "its row cannot be read"),
    "a quote too few": (_ROW.replace(b'"ANN"', b'"ANN'), "its row "),
    "cut": (_ROW[:900] + b"\n", "its row "),
}


@pytest.mark.parametrize("kind", _ODD_ROWS)
def test_a_row_that_cannot_be_read_is_told_of_its_npi_and_no_other_is_lost(
    kind: str, local: LocalRoot, tmp_path: Path
) -> None:
    row, said = _ODD_ROWS[kind]
    main = csv_of(_GOOD[:1]) + row + line_of(_GOOD[2]) + line_of(_GOOD[3])
    make_monthly(tmp_path / "files", _AUGUST, main)

    _, prepared, rows = _prepared(local, tmp_path / "files")

    assert prepared.problems == 1
    assert rows["npi"].to_list() == _NPIS
    problems = dict(rows.select("npi", "problem").iter_rows())
    assert problems[_BAD].startswith(said)
    assert {npi for npi, problem in problems.items() if problem is None} == set(_NPIS) - {_BAD}
    assert rows["number"].to_list() == [None if npi == _BAD else str(npi) for npi in _NPIS]


def test_two_rows_that_are_wrong_in_opposite_ways_are_both_told(local: LocalRoot, tmp_path: Path) -> None:
    # Together they have as many values, and quotes, as two rows should.
    short, long = line_of(_GOOD[0]).replace(b',""\n', b"\n"), _ROW.replace(b"\n", b',""\n')
    make_monthly(tmp_path / "files", _AUGUST, csv_of([]) + short + long + line_of(_GOOD[2]))

    _, prepared, rows = _prepared(local, tmp_path / "files")

    assert prepared.problems == 2
    assert rows.filter(pl.col("problem").is_null())["npi"].to_list() == [_NPIS[2]]


@pytest.mark.parametrize(
    "change",
    [
        lambda main: main.replace(b"\n", b"\r\n"),
        lambda main: main.removesuffix(b"\n"),
        lambda main: b"\xef\xbb\xbf" + main,
        lambda main: main + b"\n\n",
    ],
    ids=["CRLF", "no end of line at the end", "a byte order mark", "empty lines at the end"],
)
def test_what_programs_do_to_the_lines_of_a_csv_changes_nothing(
    change: Callable[[bytes], bytes], local: LocalRoot, tmp_path: Path
) -> None:
    main = csv_of(_GOOD)
    make_monthly(tmp_path / "files", _AUGUST, main)
    make_monthly(tmp_path / "changed", _AUGUST, change(main))

    _, prepared, rows = _prepared(local, tmp_path / "changed")

    assert prepared.problems == prepared.strays == 0
    assert rows.equals(_prepared(local, tmp_path / "files")[2])


def test_a_line_feed_within_a_value_stays_in_it(local: LocalRoot, tmp_path: Path) -> None:
    make_monthly(tmp_path / "files", _AUGUST, csv_of([*_GOOD[1:], person(_NPIS[0], city="SAN\nJUAN")]))

    _, prepared, rows = _prepared(local, tmp_path / "files")

    assert prepared.problems == prepared.strays == 0
    assert rows["location_address.city"].to_list() == ["SAN\nJUAN", *["ATLANTA"] * 3]


def test_utf_8_is_read_as_such(local: LocalRoot, tmp_path: Path) -> None:
    make_monthly(tmp_path / "files", _AUGUST, csv_of([person(_NPIS[0], last_name="PEÑA")]))

    assert _prepared(local, tmp_path / "files")[2]["basic.last_name"].to_list() == ["PEÑA"]


def test_a_value_in_a_late_slot_is_found(local: LocalRoot, tmp_path: Path) -> None:
    slots = {"Other Provider Identifier_50": "X1", "Healthcare Provider Taxonomy Code_15": "208D00000X"}
    make_monthly(tmp_path / "files", _AUGUST, csv_of([*_GOOD[1:], person(_NPIS[0], **slots)]))

    _, _, rows = _prepared(local, tmp_path / "files")

    assert [item["identifier"] for item in rows["identifiers"][0]] == ["X1"]
    assert [item["code"] for item in rows["taxonomies"][0]] == ["207Q00000X", "208D00000X"]
    assert rows["identifiers"].null_count() == 3


def test_an_npi_with_two_rows_that_differ_cannot_be_read_and_the_same_row_twice_is_one(
    local: LocalRoot, tmp_path: Path
) -> None:
    again = person(_BAD, city="NEW", **{"Other Provider Identifier_50": "X1"})
    make_monthly(tmp_path / "files", _AUGUST, csv_of([again, *_GOOD[1:], *_GOOD[2:]]))

    _, prepared, rows = _prepared(local, tmp_path / "files")

    assert (prepared.repeated, prepared.problems) == (3, 1)
    assert rows["npi"].to_list() == _NPIS[1:]
    assert rows["problem"].to_list() == ["its NPI has rows in the file that differ", None, None]
    assert rows["location_address.city"].to_list() == [None, "ATLANTA", "ATLANTA"]


def test_rows_of_a_practice_location_without_a_provider_are_counted(local: LocalRoot, tmp_path: Path) -> None:
    locations = [practice_location(npi, "ROME") for npi in (999999999 + 1, _NPIS[0], 1000000030, 1999999984)]
    make_monthly(tmp_path / "files", _AUGUST, csv_of(_GOOD), pl=csv_of(locations, CHILD_COLUMNS["pl"]))

    _, prepared, rows = _prepared(local, tmp_path / "files")

    assert prepared.without_provider == {"pl": 3}
    assert rows["practiceLocations"].list.len().to_list() == [1, None, None, None]


def test_lines_of_no_npi_are_named_and_too_many_of_them_refused(local: LocalRoot, tmp_path: Path) -> None:
    many = [person(1000000000 + number) for number in range(200)]
    children = {kind: csv_of([], columns) for kind, columns in CHILD_COLUMNS.items()}
    main = csv_of([]) + b"what is this\n" + csv_of(many).split(b"\n", 1)[1]
    make_monthly(tmp_path / "files", _AUGUST, main, **children)

    snapshot, prepared, rows = _prepared(local, tmp_path / "files")

    assert (prepared.strays, rows.height) == (1, 200)
    assert f"1 lines of {monthly_name(_AUGUST)} belong to no NPI: {_DOWNLOAD_AGAIN}" in " ".join(snapshot.missing)

    make_monthly(tmp_path / "bad", _AUGUST, csv_of([]) + b"what is this\n" + csv_of(many[:50]).split(b"\n", 1)[1])
    with pytest.raises(BulkFileError, match="has 50 rows of NPIs and 1 other lines"):
        prepare_snapshot(local, _AUGUST, str(tmp_path / "bad"))


def test_a_file_without_practice_locations_is_named(local: LocalRoot, tmp_path: Path) -> None:
    children = {kind: csv_of([], columns) for kind, columns in CHILD_COLUMNS.items() if kind != "pl"}
    make_monthly(tmp_path / "files", _AUGUST, csv_of(_GOOD), **children)

    (line,) = _prepared(local, tmp_path / "files")[0].missing

    assert (
        line == f"{monthly_name(_AUGUST)} holds no pl_pfile_*.csv: the practiceLocations of its records are not known"
    )


def test_a_practice_location_that_cannot_be_read_is_told_of_its_npi(local: LocalRoot, tmp_path: Path) -> None:
    locations = csv_of([practice_location(npi, "ROME") for npi in _NPIS * 100], CHILD_COLUMNS["pl"])
    short = f'"{_BAD}","1 LOST ST"\n"1999999984","1 LOST ST"\n'.encode()
    make_monthly(tmp_path / "files", _AUGUST, csv_of(_GOOD), pl=locations + short)

    _, prepared, rows = _prepared(local, tmp_path / "files")

    said = "in pl_pfile_20050523-20260809.csv its row has 2 values where the header has 10"
    assert rows["npi"].to_list() == _NPIS
    assert rows["problem"].to_list() == [None, said, None, None]
    assert rows["practiceLocations"].list.len().to_list() == [100, None, 100, 100]
    assert prepared.problems == 1


# Columns


def _of_pandas(main: bytes, **options: object) -> bytes:
    import pandas as pd

    saved = io.StringIO()
    pd.read_csv(io.BytesIO(main)).to_csv(saved, **options)  # type: ignore[arg-type]
    return saved.getvalue().encode()


_ORGANISATION = {**_GOOD[2], "Entity Type Code": "", "NPI Deactivation Date": "01/01/2020"}
_OF_PANDAS: dict[str, tuple[Callable[[], bytes], str]] = {
    "as it is": (lambda: _of_pandas(csv_of(_GOOD), index=False), "without quotes, which CMS never writes"),
    "with quotes": (
        lambda: _of_pandas(csv_of([*_GOOD, _ORGANISATION]), index=False, quoting=1),
        "made numbers of texts",
    ),
    "with its index": (lambda: _of_pandas(csv_of(_GOOD), quoting=1), "a column that is not known"),
}
_UNUSABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "without quotes": (lambda: csv_of(_GOOD).replace(b'"', b""), "without quotes, which CMS never writes"),
    "with floats": (
        lambda: csv_of([*_GOOD, {**_GOOD[0], "Entity Type Code": "1.0"}]),
        "made numbers of texts (1.0 for 1, in 'Entity Type Code')",
    ),
    "with an index": (lambda: csv_of(_GOOD, ["", *MAIN_COLUMNS]), "a column that is not known"),
    "a column missing": (
        lambda: csv_of(_GOOD, [name for name in MAIN_COLUMNS if name != "Entity Type Code"]),
        "no column 'Entity Type Code'",
    ),
    "a column twice": (lambda: csv_of(_GOOD, [*MAIN_COLUMNS, "NPI"]), "the column 'NPI' twice"),
    "nothing": (lambda: b"", "no line of column names"),
    "no rows": (lambda: csv_of([]), "has no rows"),
    "a page": (lambda: b"<!DOCTYPE html>\n<html></html>\n", "column names without quotes"),
    "a row without end": (
        lambda: csv_of(_GOOD) + b'"1000000053","' + b"x" * (21 << 20),
        "a row of more than 4 MB",
    ),
}


@pytest.mark.parametrize("kind", _UNUSABLE)
def test_a_csv_that_is_not_as_cms_writes_it_is_refused(kind: str, local: LocalRoot, tmp_path: Path) -> None:
    main, said = _UNUSABLE[kind]
    make_monthly(tmp_path / "files", _AUGUST, main())

    line = _refusal(local, tmp_path / "files")

    assert said in line
    assert f"{monthly_name(_AUGUST)}: {_MAIN_NAME}" in line


@pytest.mark.long
@pytest.mark.parametrize("kind", _OF_PANDAS)
def test_a_csv_that_pandas_saved_again_is_refused(kind: str, local: LocalRoot, tmp_path: Path) -> None:
    main, said = _OF_PANDAS[kind]
    make_monthly(tmp_path / "files", _AUGUST, main())

    assert said in _refusal(local, tmp_path / "files")


# Zips


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(_MAIN_NAME)
    content[member.header_offset + 30 + len(_MAIN_NAME) + member.compress_size // 2] ^= 0xFF
    path.write_bytes(content)


def _with_header_field(place_in_local: int, value: bytes) -> Callable[[Path], None]:
    """Write two bytes over each local header of a zip, and over the same field of each central one."""

    def write_over(path: Path) -> None:
        content = bytearray(path.read_bytes())
        for signature, place in ((b"PK\x03\x04", place_in_local), (b"PK\x01\x02", place_in_local + 2)):
            for header in re.finditer(signature, bytes(content)):
                content[header.start() + place : header.start() + place + 2] = value
        path.write_bytes(content)

    return write_over


def _declared(size: int) -> Callable[[Path], None]:
    """Let a zip say that its CSV unpacks to so many bytes."""

    def declare(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(_MAIN_NAME)
        right = struct.pack("<L", member.file_size)
        path.write_bytes(path.read_bytes().replace(right, struct.pack("<L", size)))

    return declare


def _without_main(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Readme.pdf", b"%PDF")


def _with_another_main(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("npidata_pfile_20050523-20260712.csv", csv_of(_GOOD))


_BROKEN_ZIPS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (_cut, "is no whole zip (File is not a zip file): wait until its download is through"),
    "a page of a proxy": (lambda path: path.write_bytes(b"<html>Denied</html>"), "is no whole zip"),
    "nothing": (lambda path: path.write_bytes(b""), "is no whole zip"),
    "a flipped bit": (_flip, "is no whole zip"),
    "a password": (_with_header_field(6, b"\x01\x00"), "cannot be unpacked here"),
    "another compression": (_with_header_field(8, b"\x09\x00"), "cannot be unpacked here"),
    "a bomb": (_declared(4_000_000_000), "which no file of the registry does"),
    "more in it than it says": (_declared(3000), "is no whole zip (Bad CRC-32"),
    "no CSV": (_without_main, "holds no npidata_pfile_*.csv"),
    "two main CSVs": (_with_another_main, f"holds both {_MAIN_NAME} and npidata_pfile_20050523-20260712.csv"),
}


@pytest.mark.parametrize("kind", _BROKEN_ZIPS)
def test_a_zip_that_is_not_whole_is_refused(kind: str, local: LocalRoot, tmp_path: Path) -> None:
    break_it, said = _BROKEN_ZIPS[kind]
    break_it(make_monthly(tmp_path / "files", _AUGUST, csv_of(_GOOD)))

    line = _refusal(local, tmp_path / "files")

    assert said in line
    assert monthly_name(_AUGUST) in line


def test_a_broken_zip_of_a_later_month_is_in_nobodys_way(local: LocalRoot, tmp_path: Path) -> None:
    make_monthly(tmp_path / "files", _AUGUST, csv_of(_GOOD))
    _cut(make_monthly(tmp_path / "files", dt.date(2026, 9, 13), csv_of(_GOOD)))

    assert _prepared(local, tmp_path / "files")[2]["npi"].to_list() == _NPIS


def test_a_weekly_zip_that_holds_another_week_is_refused(local: LocalRoot, tmp_path: Path) -> None:
    make_monthly(tmp_path / "files", _AUGUST, csv_of(_GOOD))
    other = make_weekly(tmp_path / "files", _AUGUST + dt.timedelta(14), csv_of(_GOOD))
    other.rename(other.with_name("NPPES_Data_Dissemination_081026_081626_Weekly_V2.zip"))

    with pytest.raises(BulkFileError, match=r"081026_081626_Weekly_V2\.zip holds npidata_pfile_20260817-20260823\.csv"):
        prepare_snapshot(local, _AUGUST + dt.timedelta(10), str(tmp_path / "files"))


def test_a_file_that_is_written_over_while_it_is_read_is_not_believed(local: LocalRoot, tmp_path: Path) -> None:
    path = make_monthly(tmp_path / "files", _AUGUST, csv_of(_GOOD))

    def write_over(method: str, written: str) -> None:
        if method == "write" and written.endswith(".arrow"):
            path.write_bytes(path.read_bytes() + b"more")

    with pytest.raises(BulkFileError, match=rf"{path} was changed while it was read: run it again") as caught:
        prepare_snapshot(WatchedRoot(local, write_over), _AUGUST, str(tmp_path / "files"))  # type: ignore[arg-type]

    assert caught.value.retryable
    assert not [file for file in local.list("registry_files") if file.path.endswith("/index.json")]


def test_an_object_that_is_written_over_while_it_is_read_is_not_believed(
    s3: LocalS3, bucket: str, local: LocalRoot, tmp_path: Path
) -> None:
    content = make_monthly(tmp_path, _AUGUST, csv_of(_GOOD)).read_bytes()
    there = open_data_root(f"s3://{bucket}")
    there.write(monthly_name(_AUGUST), content)

    def write_over(method: str, written: str) -> None:
        if method == "write" and written.endswith(".arrow"):
            there.write(monthly_name(_AUGUST), content + b"more")

    with pytest.raises(BulkFileError, match=r"was changed while it was read: run it again"):
        prepare_snapshot(WatchedRoot(local, write_over), _AUGUST, f"s3://{bucket}")  # type: ignore[arg-type]


def test_a_page_of_an_object_that_is_another_by_now_is_not_read(s3: LocalS3, bucket: str) -> None:
    there = open_data_root(f"s3://{bucket}")
    there.write("file", b"one" * 10_000_000)
    with open_file(there, "file") as stream:
        assert stream.read(3) == b"one"
        there.write("file", b"two" * 10_000_000)
        stream.seek(20_000_000)
        with pytest.raises(StorageError, match="written over this moment: run it again"):
            stream.read(3)


# The report


def test_a_report_is_refused_when_its_sheet_is_not_as_cms_makes_it(local: LocalRoot, tmp_path: Path) -> None:
    files = tmp_path / "files"
    make_monthly(files, _AUGUST, csv_of(_GOOD))
    day = dt.date(2026, 8, 8)
    for rows, said in (
        ({_BAD: "soon"}, "has 1 rows without an NPI and a date, as ('1000000012', 'soon')"),
        ({12345: "08/10/2026"}, "has 1 rows without an NPI and a date, as ('12345', '08/10/2026')"),
    ):
        report = make_report(files, day, rows)
        with pytest.raises(BulkFileError, match=re.escape(said)):
            prepare_snapshot(local, _AUGUST, str(files))
    with zipfile.ZipFile(report, "w") as archive:
        archive.writestr("NPPES Deactivated NPI Report 20260808.xlsx", b"no sheet")
    with pytest.raises(BulkFileError, match="is no sheet that can be read"):
        prepare_snapshot(local, _AUGUST, str(files))


def test_without_the_package_for_sheets_the_report_tells_how_to_get_it(
    local: LocalRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_monthly(tmp_path, _AUGUST, csv_of(_GOOD))
    make_report(tmp_path, _AUGUST, {_BAD: "08/09/2026"})
    monkeypatch.setitem(sys.modules, "fastexcel", None)

    with pytest.raises(BulkFileError, match=r"pip install '\.\[bulk\]'"):
        prepare_snapshot(local, _AUGUST, str(tmp_path))


# What was prepared


def test_a_part_that_is_damaged_or_gone_is_told_with_what_to_remove(local: LocalRoot, tmp_path: Path) -> None:
    make_monthly(tmp_path / "files", _AUGUST, csv_of(_GOOD))
    snapshot, prepared, rows = _prepared(local, tmp_path / "files")
    folder = local.folder / "registry_files" / prepared.prepared
    part = folder / prepared.parts[0].name
    for spoil, said in ((lambda: part.write_bytes(part.read_bytes()[:-8]), "damaged"), (part.unlink, "gone")):
        spoil()
        for read in (lambda: slices(local, snapshot), lambda: rows_for(local, snapshot, rows["npi"])):
            with pytest.raises(BulkFileError, match=rf"{part} is {said}: remove {folder}/index\.json, and materialise"):
                list(read())

    (folder / "index.json").unlink()
    with pytest.raises(BulkFileError, match=r"is not in .* any more"):
        list(slices(local, snapshot))
    assert _prepared(local, tmp_path / "files")[2].equals(rows)
