"""Every command that the README and the pages name is one that works.

Those of ``npi-pipeline`` are run, on two complete days. Of the others it is seen that they are there: targets, extras,
benchmarks with their options, modules. What needs more than a test has is listed by name, with what runs it instead.
Not here: queries and Python that the pages show (tests of the sinks, of the scans and of the readers).
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from npi_pipeline.testing.registry import emulated_registry
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.cli.test_commands import invoke

# On one worker: they share the days.
pytestmark = pytest.mark.xdist_group("commands of the docs")

PROJECT = Path(__file__).parents[1]
PAGES = [
    *PROJECT.glob("*.md"),
    *PROJECT.glob("docs/*.md"),
    *PROJECT.glob("deploy/**/*.md"),
    *PROJECT.glob("examples/**/*.md"),
]
PROGRAMS = r"(?:\.venv/bin/)?(?:npi-pipeline|make|dagster(?:-\w+)?|pip|python3?|deploy/serve|docker|helm|kubectl|aws)"
COMMAND = re.compile(rf"^    ({PROGRAMS} .+)$|`({PROGRAMS}\s[^`]+)`", re.MULTILINE)
NPI = "1003101296"
DAYS = ("2026-11-23", "2026-11-24")
# What a sentence leaves out.
VALUES = {
    "--date": DAYS[1],
    "--from": DAYS[0],
    "--to": DAYS[1],
    "--npi": NPI,
    "--keep-days": "90",
    "--fetch-mode": "all",
}
# What it must have, where a page only mentions it.
NEEDED: dict[str, list[tuple[str, ...]]] = {
    "explain": [("--date", DAYS[1]), ("--npi", NPI)],
    "report": [("--date", DAYS[1])],
    "lookup": [(NPI,)],
    "backfill": [("--to", DAYS[1])],
    "bulk": [("--npis", "10"), ("--folder", "made")],
}
# It opens a browser.
NOT_RUN = {"--open"}
ELSEWHERE = {
    "dagster dev": "npi_pipeline_tests/browser and the tests marked `daemon` run its two halves",
    "dagster asset materialize": "npi_pipeline_tests/test_examples.py",
    "dagster instance migrate": "deploy/serve, run by npi_pipeline_tests/test_deploy.py",
    "dagster api grpc-health-check": "npi_pipeline_tests/test_deploy_services.py",
    "dagster-daemon liveness-check": "npi_pipeline_tests/test_deploy_services.py",
    "dagster-celery worker": "it needs a broker; by hand",
    "deploy/serve": "npi_pipeline_tests/test_deploy.py",
    "pre-commit install": "the client of pre-commit, not ours",
    "docker ": "it needs Docker",
    "helm ": "it needs a cluster of Kubernetes",
    "kubectl ": "it needs a cluster of Kubernetes",
    "aws ": "the client of AWS, not ours",
}


def commands() -> Iterator[str]:
    """Each command of the pages, as one types it: without comments, and without where the programs are."""
    for page in sorted(PAGES):
        for found in COMMAND.finditer(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
            line = " ".join((found[1] or found[2]).split()).partition(" #")[0]
            yield from (part.strip().removeprefix(".venv/bin/") for part in line.split(" && "))


NAMED = sorted(set(commands()))
OURS = [command for command in NAMED if command.startswith("npi-pipeline ")]


@pytest.fixture(scope="module")
def deployment(s3_server: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which the days of the pages are complete."""
    folder = tmp_path_factory.mktemp("docs")
    s3_server.put_list("of-the-docs", "npi_list.txt", [NPI])
    with emulated_registry() as registry:
        environment = s3_server.environment | {
            "NPI_LIST_BUCKET": "of-the-docs",
            "NPI_REGISTRY_URL": registry.url,
            "NPI_DATA_ROOT": str(folder / "npi-data"),
            "NPI_START_DATE": DAYS[0],
            "NPI_DELIVER_TO": f"sqlite:///{folder}/npi.sqlite",
            "DAGSTER_HOME": str(folder / "home"),
        }
        first = invoke("backfill", "--from", DAYS[0], "--to", DAYS[1], **environment)
        assert first.exit_code == 0, first.output
        yield environment


def _is_slow(command: str) -> bool:
    """Those by which a day is run: the first of the page is enough."""
    return command.split()[1] in {"run", "retry-failed"} and command != "npi-pipeline run"


@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=[pytest.mark.long] if _is_slow(each) else []) for each in OURS]
)
def test_a_command_of_npi_pipeline_is_done(command: str, deployment: dict[str, str], tmp_path: Path) -> None:
    words = filled_in(shlex.split(command)[1:])
    # Nowhere else, and no more of it than a test needs.
    for option, value in {"--folder": str(tmp_path), "--npis": "10", "--from": DAYS[0]}.items():
        if option in words:
            words[words.index(option) + 1] = value
    done = invoke(*words, **deployment)
    assert done.exit_code == 0, done.output


def filled_in(words: list[str]) -> list[str]:
    """The words with what a sentence leaves out."""
    filled: list[str] = []
    for word in [word for word in words if word not in NOT_RUN]:
        before = filled[-1] if filled else ""
        if before in VALUES and (word.startswith("--") or word == "..."):
            filled.append(VALUES[before])
        if word != "...":
            filled.append(word)
    filled += [VALUES[filled[-1]]] if filled[-1] in VALUES else []
    return [*filled, *(word for needed in NEEDED.get(words[0], []) if needed[0] not in filled for word in needed)]


def test_what_is_made_is_a_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    made = {command.split()[1] for command in NAMED if command.startswith("make ")}
    assert len(made) > 5
    assert made - targets == set()


def test_what_is_installed_is_an_extra() -> None:
    pyproject = (PROJECT / "pyproject.toml").read_text()
    extras = {
        extra for command in NAMED if command.startswith("pip ") for extra in re.findall(r"\.\[([\w,-]+)\]", command)
    }
    assert len(extras) > 3
    assert [extra for extra in ",".join(extras).split(",") if f"\n{extra} = [" not in pyproject] == []


def test_what_python_runs_is_there_with_its_options() -> None:
    run = [shlex.split(command)[1:] for command in NAMED if command.startswith("python")]
    benchmarks = [words for words in run if words[0].endswith(".py")]
    assert len(benchmarks) > 10
    options = set(re.findall(r'"(--[a-z-]+)"', "".join(file.read_text() for file in PROJECT.glob("benchmarks/*.py"))))
    missing = [
        " ".join(words)
        for words in benchmarks
        if not (PROJECT / words[0]).exists() or {word for word in words if word.startswith("--")} - options
    ]
    modules = [words[1] for words in run if words[0] == "-m"]
    assert missing + [module for module in modules if importlib.util.find_spec(module) is None] == []


def test_every_other_command_is_listed_with_what_runs_it() -> None:
    seen_to = ("npi-pipeline ", "make ", "pip ", "python ", "python3 ", *ELSEWHERE)
    assert [command for command in NAMED if not command.startswith(seen_to)] == []
