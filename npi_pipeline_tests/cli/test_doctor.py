"""A set-up that is well, and broken ones, each named with its remedy."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from npi_pipeline import clock
from npi_pipeline.cli import doctor
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.cli.test_commands import invoke

Environment = dict[str, str]
SetUp = Callable[[LocalS3, str, Path], Environment]
"""Makes what is broken, given S3, the bucket of the list and a folder; returns the variables that lead to it."""


@pytest.fixture(scope="module")
def answering() -> Iterator[EmulatedRegistry]:
    """A registry that answers all of these tests."""
    with emulated_registry() as server:
        yield server


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    """Where a server answers each path with the status that it begins with, and a page of HTML."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path.split("/")[1]))
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing: the tests' output is theirs."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """Where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def well(s3: LocalS3, bucket: str, answering: EmulatedRegistry, tmp_path: Path) -> Environment:
    """The environment of a set-up in which nothing fails."""
    s3.put_list(bucket, "npi_list.txt", list(npi_numbers(20)))
    return {
        "NPI_LIST_BUCKET": bucket,
        "NPI_REGISTRY_URL": answering.url,
        "NPI_DATA_ROOT": str(tmp_path / "data"),
        "DAGSTER_HOME": "",
    }


def diagnosed(environment: Environment) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit code, and of each thing the state and the line."""
    said = invoke("doctor", "--json", **environment)
    return said.exit_code, {each["name"]: (each["state"], each["line"]) for each in json.loads(said.stdout)}


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_all_is_well_and_nothing_is_left_behind(kind: str, well: Environment, bucket: str, tmp_path: Path) -> None:
    if kind == "s3":
        well["NPI_DATA_ROOT"] = f"s3://{bucket}/data"
    code, told = diagnosed(well)
    states = {name: state for name, (state, _) in told.items()}
    assert states == {
        "NPI list": "ok",
        "clock": "ok",
        "registry": "ok",
        "data root": "ok",
        "Dagster home": "warning",
    }, told
    assert code == 0
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def listed(content: bytes) -> SetUp:
    """A list of which this is all."""

    def set_up(s3: LocalS3, bucket: str, folder: Path) -> Environment:
        s3.put_list(bucket, "npi_list.txt", content)
        return {}

    return set_up


def home(configuration: str, **environment: str) -> SetUp:
    """A Dagster home with this ``dagster.yaml``."""

    def set_up(s3: LocalS3, bucket: str, folder: Path) -> Environment:
        (folder / "home").mkdir()
        (folder / "home/dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{configuration}")
        return {"DAGSTER_HOME": str(folder / "home"), **environment}

    return set_up


def in_s3(**misbehaviour: Any) -> SetUp:
    """A data root in a bucket of an S3 that misbehaves so there."""

    def set_up(s3: LocalS3, bucket: str, folder: Path) -> Environment:
        s3.create_bucket("data-root")
        s3.misbehave(**misbehaviour)
        return {"NPI_DATA_ROOT": "s3://data-root/npi"}

    return set_up


def denied_list(s3: LocalS3, bucket: str, folder: Path) -> Environment:
    """A bucket from which these credentials may not read."""
    s3.misbehave(denied_buckets=[bucket])
    return {}


def file_in_the_way(setting: str) -> SetUp:
    """A file where a folder is wanted."""

    def set_up(s3: LocalS3, bucket: str, folder: Path) -> Environment:
        (folder / "file").touch()
        return {setting: str(folder / "file")}

    return set_up


# Each request to it is given a moment.
SILENT = {"NPI_REGISTRY_URL": "SILENT/{npi}", "NPI_REQUEST_TIMEOUT": "0.3", "NPI_READ_TIMEOUT": "0.3"}
POOLS = "concurrency: {pools: {default_limit: %s, granularity: %s}}"
NOT_REACHED = "see that it can be reached from here: NPI_REGISTRY_URL, HTTPS_PROXY, NO_PROXY, a firewall"
# What is broken; the thing that is named, and the words of its line that are the remedy. What lets a day run warns.
BROKEN: dict[str, tuple[SetUp | Environment, str, str]] = {
    "no bucket set": ({"NPI_LIST_BUCKET": ""}, "NPI list", "set NPI_LIST_BUCKET"),
    "bucket missing": ({"NPI_LIST_BUCKET": "no-such-bucket"}, "NPI list", "correct NPI_LIST_BUCKET"),
    "no permission": (denied_list, "NPI list", "grant s3:GetObject on it to these credentials"),
    "no credentials": (
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
        "NPI list",
        "set AWS_PROFILE or AWS_ACCESS_KEY_ID",
    ),
    "unknown profile": ({"AWS_PROFILE": "nobody"}, "NPI list", "correct AWS_PROFILE"),
    "S3 down": ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "NPI list", "see that S3 can be reached"),
    "list absent": ({"NPI_LIST_KEY": "other.txt"}, "NPI list", "correct NPI_LIST_KEY"),
    "list empty": (listed(b""), "NPI list", "put a list with one NPI a line there"),
    "list with no NPI": (listed(b"NPI\nabc\n"), "NPI list", "put a list with one NPI of ten digits a line there"),
    "list of bad lines": (
        listed(b"NPI\n1234567893\n12\nabc\n"),
        "NPI list",
        "see the list, or correct NPI_LIST_COLUMN",
    ),
    "registry down": ({"NPI_REGISTRY_URL": "http://127.0.0.1:9/secret-key/{npi}"}, "registry", NOT_REACHED),
    "registry silent": (SILENT, "registry", NOT_REACHED),
    "registry not there": ({"NPI_REGISTRY_URL": "http://nowhere.invalid/{npi}"}, "registry", NOT_REACHED),
    "registry refuses": (
        {"NPI_REGISTRY_URL": "ANSWERING/403/{npi}"},
        "registry",
        "see the key in NPI_REGISTRY_URL, or a proxy",
    ),
    "registry wants a key": ({"NPI_REGISTRY_URL": "ANSWERING/401/{npi}"}, "registry", "give it a key that it takes"),
    "registry at another path": ({"NPI_REGISTRY_URL": "ANSWERING/404/{npi}"}, "registry", "correct NPI_REGISTRY_URL"),
    "registry ill": ({"NPI_REGISTRY_URL": "ANSWERING/503/{npi}"}, "registry", "see whether it is in maintenance"),
    "registry behind a login": ({"NPI_REGISTRY_URL": "ANSWERING/200/{npi}"}, "registry", "a login page, a proxy"),
    "registry of another format": (
        {"NPI_REGISTRY_FORMAT": "affiliated_practices"},
        "registry",
        "correct NPI_REGISTRY_URL or NPI_REGISTRY_FORMAT",
    ),
    "no registry": (
        {"NPI_REGISTRY_FORMAT": "affiliated_practices", "NPI_REGISTRY_URL": ""},
        "registry",
        "set NPI_REGISTRY_URL",
    ),
    "data root no folder": ({"NPI_DATA_ROOT": "/dev/null/data"}, "data root", "set NPI_DATA_ROOT"),
    "data root a file": (file_in_the_way("NPI_DATA_ROOT"), "data root", "/file is no folder; move it away"),
    "data root in no bucket": ({"NPI_DATA_ROOT": "s3://no-such-bucket/data"}, "data root", "correct NPI_DATA_ROOT"),
    "data root denied": (
        in_s3(denied_buckets=["data-root"]),
        "data root",
        "grant s3:GetObject, s3:PutObject, s3:Delete",
    ),
    "data root not fenced": (in_s3(ignores_conditions=True), "data root", "use a store that has them"),
    "home a file": (file_in_the_way("DAGSTER_HOME"), "Dagster home", "set it to a folder"),
    "home cannot be made": (
        {"DAGSTER_HOME": "/dev/null/home"},
        "Dagster home",
        "grant access there, or set DAGSTER_HOME",
    ),
    "home not understood": (home("concurrency: ["), "Dagster home", "see its dagster.yaml"),
    "home not absolute": ({"DAGSTER_HOME": "npi-home"}, "Dagster home", "set DAGSTER_HOME to /"),
    "no pool limit": (home(""), "Dagster home", "set concurrency.pools.default_limit: 1 in its dagster.yaml"),
    "pool limit too high": (home(POOLS % (5, "op")), "Dagster home", "has the limit 5"),
    "pool counts steps": (
        home(POOLS % (1, "op"), NPI_SHARDS="4"),
        "Dagster home",
        "set concurrency.pools.granularity: run",
    ),
    "extra missing": ({"NPI_EXECUTOR": "celery"}, "executor", "pip install '.[celery]' in the checkout"),
    "alerts not understood": ({"NPI_ALERT_URLS": "slakc://secret-key"}, "alerts", "write it as apprise's page of that"),
    "sink unreachable": (
        {"NPI_DELIVER_TO": "wh=postgresql://me:secret-key@127.0.0.1:9/npi"},
        "sink wh",
        "see that database, and NPI_DELIVER_TO",
    ),
    "sink in no bucket": (
        {"NPI_DELIVER_TO": "lake=parquet+s3://no-such-bucket/x"},
        "sink lake",
        "correct NPI_DELIVER_TO",
    ),
    "sink of no kind": ({"NPI_DELIVER_TO": "x=nosuch://me:secret-key@h/x"}, "sink x", "there are postgresql, duckdb"),
}
LETS_A_DAY_RUN = {"list of bad lines", "home not absolute", "no pool limit", "pool limit too high", "pool counts steps"}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_named_with_its_remedy_and_the_rest_is_well(
    case: str, well: Environment, s3: LocalS3, bucket: str, tmp_path: Path, refusing: str, silent: str
) -> None:
    broken, name, remedy = BROKEN[case]
    environment = broken(s3, bucket, tmp_path) if callable(broken) else broken
    environment = {
        key: value.replace("ANSWERING", refusing).replace("SILENT", silent) for key, value in environment.items()
    }
    code, told = diagnosed(well | environment)
    state, line = told[name]
    assert remedy in line
    assert "\n" not in line
    assert "secret-key" not in line
    wanted = ("warning", 0) if case in LETS_A_DAY_RUN else ("failed", 1)
    assert (state, code) == wanted, told
    assert [each for each, (state, _) in told.items() if state == "failed" and each != name] == []


def test_a_store_whose_remedy_is_followed_is_well(well: Environment, s3: LocalS3, bucket: str, tmp_path: Path) -> None:
    well |= home(POOLS % (5, "op"), NPI_SHARDS="4")(s3, bucket, tmp_path)
    well |= in_s3(denied_buckets=["data-root", bucket])(s3, bucket, tmp_path)
    assert {"NPI list", "data root"} == {name for name, (state, _) in diagnosed(well)[1].items() if state == "failed"}
    s3.misbehave()
    (tmp_path / "home/dagster.yaml").write_text(POOLS % (1, "run"))
    assert {state for state, _ in diagnosed(well)[1].values()} == {"ok"}


@pytest.mark.parametrize(("options", "remedy"), [("ro", "grant access there"), ("size=16k", "make room there")])
def test_a_data_root_that_is_full_or_read_only_is_told_and_well_once_it_is_not(
    options: str, remedy: str, well: Environment, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with contextlib.suppress(OSError):
            (disk / "filling").write_bytes(bytes(100_000))
        well["NPI_DATA_ROOT"] = str(disk / "data")
        state, line = diagnosed(well)[1]["data root"]
        assert (state, remedy in line) == ("failed", True), line
        subprocess.run(["mount", "-o", "remount,rw,size=1M", disk], check=True)
        state, line = diagnosed(well)[1]["data root"]
        assert (state, "MB are free: make room" in line) == ("warning", True), line
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_slow_registry_is_told_with_what_it_means_for_the_list(
    well: Environment, registry: EmulatedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_SLOW_SECONDS", 0.1)
    registry.configure(latency=0.15)
    state, line = diagnosed(well | {"NPI_REGISTRY_URL": registry.url})[1]["registry"]
    assert (state, "which is slow: the list takes" in line) == ("warning", True), line


@pytest.mark.parametrize(("minutes", "state"), [(-20, "failed"), (2, "warning")])
def test_a_clock_that_is_off_is_told_by_what_s3_says(
    minutes: int, state: str, well: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.utc_now
    monkeypatch.setattr(clock, "utc_now", lambda: now() + dt.timedelta(minutes=minutes))
    assert diagnosed(well)[1]["clock"][0] == state


def test_bulk_files_that_are_not_there_are_told(well: Environment, tmp_path: Path) -> None:
    code, told = diagnosed(well | {"NPI_REGISTRY_FORMAT": "nppes_bulk", "NPI_BULK_FILES": str(tmp_path / "none")})
    assert code == 1
    assert told["bulk files"][0] == "failed"
    assert "registry" not in told
