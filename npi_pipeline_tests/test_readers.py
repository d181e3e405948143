"""The state files as other programs read them, as docs/files.md says: cells are whole, zip codes keep their zeros.

A reader that is not installed is skipped: DuckDB, pandas, polars and csvkit come with the development extra, PostgreSQL
and R from the system's packages.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from npi_pipeline.providers.provider_table import write_provider_table
from npi_pipeline.registries import FORMATS
from npi_pipeline.state_files.write_state_files import write_state_files
from npi_pipeline_tests.flattened import address, found, journal, nppes_body, real_bodies

FILES = Path(__file__).parents[1] / "docs/files.md"
NPI = "1000000004"
Row = dict[str, str]


def how_to_read_with(reader: str) -> str:
    """What the page says, of the file ``file.csv``."""
    row = re.search(rf"^\| {reader} \| `(.*)` \|$", FILES.read_text(), re.MULTILINE)
    assert row, f"the page does not say how {reader} reads the files"
    return row[1].replace("\\|", "|")


@pytest.fixture(params=[False, True], ids=["", "byte-order mark"])
def state_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The file of Massachusetts, whose zip codes begin with a zero, with whatever a cell may hold."""
    places = [address("LOCATION", "MA", postal_code="021140001", city="BOSTON"), address("MAILING", "MA")]
    name = {"first_name": 'ÅSA "A", B', "last_name": "NA", "credential": "M.D.,\n\\ 'x' NULL", "middle_name": "=1"}
    bodies = {**real_bodies(), NPI: nppes_body(NPI, addresses=places, basic=name, strange={"a": "\0"})}
    frames = journal(found(bodies))
    parts = tmp_path / "parts"
    parts.mkdir()
    table = write_provider_table(lambda: frames, FORMATS["nppes"].layout, parts)
    files = tmp_path / "files"
    files.mkdir()
    kept = sorted(parts.iterdir())
    write_state_files(table, kept, frames, files, lambda state: f"{state}.csv", byte_order_mark=request.param)
    return files / "MA.csv"


@pytest.fixture
def rows(state_file: Path) -> list[Row]:
    """Its rows as they are."""
    read = list(csv.DictReader(io.StringIO(state_file.read_bytes().decode("utf-8-sig"), newline=""), strict=True))
    assert {NPI: "021140001"}.items() <= {row["npi"]: row["location_address.postal_code"] for row in read}.items()
    assert len(read) > 1
    return read


def in_python(code: str, path: Path) -> list[Row]:
    """The rows of the frame that ``code`` makes."""
    module = pytest.importorskip(code.split(".", maxsplit=1)[0])
    frame = eval(code.replace("file.csv", str(path)), {module.__name__: module})
    return [
        {name: "" if value is None else value for name, value in row.items()}
        for row in (frame.to_dict("records") if module.__name__ == "pandas" else frame.to_dicts())
    ]


def test_pandas_reads_every_cell(state_file: Path, rows: list[Row]) -> None:
    assert in_python(how_to_read_with("pandas"), state_file) == rows


def test_polars_reads_every_cell(state_file: Path, rows: list[Row]) -> None:
    assert in_python(how_to_read_with("polars"), state_file) == rows


def test_duckdb_reads_every_cell(state_file: Path, rows: list[Row]) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as database:
        read = database.sql(how_to_read_with("DuckDB").replace("file.csv", str(state_file)))
        names = read.columns
        assert [dict(zip(names, ("" if c is None else c for c in row), strict=True)) for row in read.fetchall()] == rows


def test_csvkit_reads_every_cell(state_file: Path, rows: list[Row]) -> None:
    pytest.importorskip("csvkit")
    command, *options = how_to_read_with("csvkit").replace("file.csv", str(state_file)).split()
    done = subprocess.run([Path(sys.executable).with_name(command), *options], capture_output=True, check=True)
    read = [{name: "" if cell is None else cell for name, cell in row.items()} for row in json.loads(done.stdout)]
    assert read == rows


def test_r_reads_every_cell(state_file: Path, rows: list[Row]) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    code = how_to_read_with("R").replace("file.csv", str(state_file))
    # Written again by R itself, every cell quoted, for Python's reader.
    written = state_file.with_name("by_r.csv")
    script = f"t <- {code}; write.csv(t, '{written}', row.names = FALSE, na = '', fileEncoding = 'UTF-8')"
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run(["Rscript", "-e", script], capture_output=True, check=True, env=environment)
    assert list(csv.DictReader(io.StringIO(written.read_text(), newline=""), strict=True)) == rows


@pytest.fixture
def postgresql() -> Iterator[list[str]]:
    """A PostgreSQL of the system's packages on a socket of its own: how to call its client."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
    if programs is None or not (programs / "initdb").exists():
        pytest.skip("PostgreSQL is not installed")
    # It does not run as root.
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="npi-pg-", dir="/tmp") as folder:
        os.chown(folder, user.pw_uid, user.pw_gid)
        data = f"{folder}/data"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **as_user}
        initialise = [programs / "initdb", "-D", data, "-U", "npi", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initialise, check=True, **quiet)  # type: ignore[call-overload]
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        control = [programs / "pg_ctl", "-D", data, "-o", options, "-w"]
        subprocess.run([*control, "start"], check=True, **quiet)  # type: ignore[call-overload]
        try:
            yield [str(programs / "psql"), "-h", folder, "-U", "npi", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qAt"]
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, **quiet)  # type: ignore[call-overload]


def test_postgresql_reads_every_cell(state_file: Path, rows: list[Row], postgresql: list[str]) -> None:
    columns = ", ".join('"' + name.replace('"', '""') + '" text' for name in rows[0])
    copy = how_to_read_with("PostgreSQL").replace("file.csv", str(state_file))
    script = f"CREATE TABLE providers ({columns});\n{copy}\nSELECT to_jsonb(providers) FROM providers ORDER BY npi;\n"
    done = subprocess.run(postgresql, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read = [{name: cell or "" for name, cell in json.loads(line).items()} for line in done.stdout.splitlines()]
    assert read == rows
