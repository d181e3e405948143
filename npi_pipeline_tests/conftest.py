"""What every test may ask for: real servers on loopback, and an environment that nothing leaks into.

Not here: fixtures of one part of the package; they stand beside its tests.
"""

from __future__ import annotations

import functools
import itertools
import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from botocore.loaders import JSONFileLoader

from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry
from npi_pipeline.testing.s3 import LocalS3, local_s3
from npi_pipeline_tests.both_roots import data_root, root

__all__ = ["data_root", "root"]

# How long an example takes says something of the machine and nothing of the code. What CI tries is the same each time,
# so that what it finds is of the change; `make test-long` draws examples anew, and more of them.
hypothesis.settings.register_profile("same_examples", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.register_profile("new_examples", deadline=None)
hypothesis.settings.load_profile("same_examples")

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_bucket_numbers = itertools.count(1)


# Before those that are asked for by their marks are chosen.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take a minute begin first: else they are what is left to one worker at the end."""
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in ("daemon", "browser")))
    for item in items:
        if item.get_closest_marker("long_on_s3") and item.callspec.params["data_root"] == "s3":  # type: ignore[attr-defined]
            item.add_marker("long")


@pytest.fixture(scope="session", autouse=True)
def _isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting, credential or proxy of whoever runs the tests reaches them."""
    nowhere = tmp_path_factory.mktemp("no-aws-files")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_", "BOTO_", "NPI_", "DAGSTER_")) or name.upper() in _PROXIES:
                patch.delenv(name)
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", str(nowhere / "config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "credentials"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _signals_are_answered_as_in_a_terminal() -> None:
    """A shell without job control starts what it runs in the background with Ctrl-C ignored.

    Dagster gives SIGTERM the same answer, and whatever a test starts after a run inherits both: it cannot be ended.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _models_of_s3_are_read_once() -> Iterator[None]:
    """Each client of a session of its own reads the model of S3 anew, which takes half of its making."""
    read = functools.cache(functools.partial(JSONFileLoader._load_file, JSONFileLoader()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "_load_file", lambda _self, path, open_method: read(path, open_method))
        yield


@pytest.fixture(scope="session", autouse=True)
def _migrations_of_dagster_are_read_once() -> Iterator[None]:
    """Each database reads all of them when it is made, and each run has one: most of what its making takes."""
    read: dict[str | None, ScriptDirectory] = {}
    from_config = ScriptDirectory.from_config

    def from_config_once(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location")
        if location not in read:
            read[location] = from_config(config)
        return read[location]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config_once)
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[LocalS3]:
    """One S3 for all tests; ``s3`` is what a test wants mostly."""
    with local_s3() as server:
        yield server


@pytest.fixture
def s3(s3_server: LocalS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalS3]:
    """S3, with the environment variables that lead any AWS tool in this test to it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    yield s3_server
    s3_server.misbehave()


@pytest.fixture
def bucket(s3: LocalS3) -> str:
    """The name of a fresh bucket of this test's own."""
    name = f"bucket-{next(_bucket_numbers)}"
    s3.create_bucket(name)
    return name


@pytest.fixture
def registry() -> Iterator[EmulatedRegistry]:
    """A fresh emulated registry without latency, limits or faults; ``configure`` it, or start another one."""
    with emulated_registry() as server:
        yield server
