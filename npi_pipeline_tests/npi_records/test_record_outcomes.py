"""Which NPIs a run asks for: the modes, what other days know, and another registry."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from npi_pipeline import clock
from npi_pipeline.journal import compacted_parts, read_outcomes
from npi_pipeline.npi_list import parse_npi_list
from npi_pipeline.npi_records.record_outcomes import RecordedDay, record_outcomes
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import FetchMode, FetchSettings
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry
from npi_pipeline_tests.pipeline import DAY
from npi_pipeline_tests.scripted_registry import scripted_registry

NPIS = sorted(npi_numbers(60, seed=5))
NEXT_DAY = DAY + dt.timedelta(days=1)


@pytest.fixture
def root(tmp_path: Path) -> LocalRoot:
    return LocalRoot(tmp_path)


def record(
    root: LocalRoot,
    registry: EmulatedRegistry,
    *,
    day: dt.date = DAY,
    npis: list[str] = NPIS,
    format_name: str = "nppes",
    asking: str | None = None,
    on_progress: Callable[[object], None] | None = None,
    **settings: object,
) -> RecordedDay:
    """Record the outcomes of ``day`` with a list of ``npis`` and one bad line."""
    npi_list = parse_npi_list("\n".join(["npi", *npis, "12345"]).encode())
    url = registry.url if format_name == "nppes" else registry.affiliated_practices_url
    fetch_settings = FetchSettings.model_validate({"wait": 0.01, "max_retries": 0, **settings})
    return record_outcomes(
        root,
        day,
        npi_list,
        Registry(FORMATS[format_name], url),
        fetch_settings,
        asking=asking,
        on_progress=on_progress,
    )


def record_until_interrupted(
    root: LocalRoot,
    registry: EmulatedRegistry,
    *,
    npis: list[str] = NPIS,
    format_name: str = "nppes",
    asking: str | None = None,
    **settings: object,
) -> None:
    """As ``record``, but ended when ``npis`` are fetched and nothing is compacted."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(root, registry, npis=npis, format_name=format_name, asking=asking, on_progress=interrupt, **settings)


def formats_of_found(root: LocalRoot, day: dt.date = DAY) -> set[str]:
    """The registry formats of the records in the compacted journal."""
    bodies = pl.concat(compacted_parts(root, day)).filter(pl.col("outcome") == "found")["body"]
    return {
        "affiliated_practices" if is_gateways else "nppes" for is_gateways in bodies.str.contains("affiliatedPractices")
    }


def outcomes(root: LocalRoot, day: dt.date = DAY) -> dict[str, int]:
    counts = read_outcomes(root, day)["outcome"].value_counts()
    return dict(counts.iter_rows())


def test_an_invalid_npi_is_recorded_and_never_sent(root: LocalRoot, registry: EmulatedRegistry) -> None:
    recorded = record(root, registry)
    assert recorded.journal.outcomes["invalid"] == 1
    assert "12345" not in registry.requests_by_npi()


def test_mode_missing_asks_again_only_for_what_failed_for_a_passing_reason(root: LocalRoot) -> None:
    with emulated_registry(fault_share=0.4, fault_tries=1, fault_kinds=["500"]) as registry:
        first = record(root, registry)
        failed = first.journal.outcomes["failed"]
        assert 0 < failed < len(NPIS)

        second = record(root, registry)
        assert (second.asked, second.journal.outcomes["failed"]) == (failed, 0)
        assert record(root, registry).asked == 0


def test_mode_failed_asks_for_what_failed_for_good_too(root: LocalRoot) -> None:
    npi_list = parse_npi_list("\n".join(NPIS).encode())
    answer: dict[str, object] = {"active": True, "affiliatedPractices": {"items": None}}
    with scripted_registry() as scripted:
        scripted.answers = {**dict.fromkeys(NPIS, answer), NPIS[7]: 404}
        registry = Registry(FORMATS["affiliated_practices"], scripted.url)

        def asked(mode: FetchMode) -> int:
            return record_outcomes(root, DAY, npi_list, registry, FetchSettings(fetch_mode=mode)).asked

        assert asked(FetchMode.missing) == len(NPIS)
        assert outcomes(root) == {"found": len(NPIS) - 1, "failed": 1}
        assert asked(FetchMode.missing) == 0
        assert asked(FetchMode.failed) == 1


def test_mode_all_asks_for_every_npi_afresh(root: LocalRoot, registry: EmulatedRegistry) -> None:
    record(root, registry)
    assert record(root, registry, fetch_mode="all").asked == len(NPIS)
    assert set(registry.requests_by_npi().values()) == {2}


@pytest.mark.parametrize("mode", ["all", "failed"])
def test_a_mode_that_asks_afresh_goes_on_where_it_was_interrupted(
    root: LocalRoot, registry: EmulatedRegistry, mode: str
) -> None:
    if mode == "all":
        record(root, registry)
    record_until_interrupted(root, registry, npis=NPIS[:40], fetch_mode=mode, asking="one run")
    assert record(root, registry, fetch_mode=mode, asking="one run").asked == len(NPIS) - 40
    assert record(root, registry, fetch_mode="all", asking="another run").asked == len(NPIS)


JUMPS = [dt.timedelta(hours=2), dt.timedelta(hours=-2), dt.timedelta(days=300), dt.timedelta(days=-300)]


@pytest.mark.parametrize("jump", [*JUMPS[:2], *(pytest.param(jump, marks=pytest.mark.long) for jump in JUMPS[2:])])
@pytest.mark.parametrize("mode", ["all", "failed"])
def test_a_mode_that_asks_afresh_goes_on_where_it_was_though_the_clock_jumps(
    root: LocalRoot, registry: EmulatedRegistry, mode: str, jump: dt.timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode == "all":
        record(root, registry)
    now = dt.datetime.now(dt.timezone.utc)
    monkeypatch.setattr(clock, "utc_now", lambda: now + jump)
    record_until_interrupted(root, registry, npis=NPIS[:40], fetch_mode=mode, asking="one run")
    monkeypatch.setattr(clock, "utc_now", lambda: now)
    assert record(root, registry, fetch_mode=mode, asking="one run").asked == len(NPIS) - 40
    monkeypatch.setattr(clock, "utc_now", lambda: now - jump)
    assert record(root, registry, fetch_mode="all", asking="another run").asked == len(NPIS)


@pytest.mark.parametrize("jump", JUMPS)
def test_what_is_asked_for_again_stands_though_the_clock_jumped(
    root: LocalRoot, jump: dt.timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = dt.datetime.now(dt.timezone.utc)
    with emulated_registry(fault_share=0.4, fault_tries=1, fault_kinds=["500"]) as registry:
        failed = record(root, registry).journal.outcomes["failed"]
        monkeypatch.setattr(clock, "utc_now", lambda: now + jump)
        again = record(root, registry)
        assert (again.asked, again.journal.outcomes["failed"]) == (failed, 0)
        monkeypatch.setattr(clock, "utc_now", lambda: now)
        assert record(root, registry).asked == 0


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_jumps_within_a_run_loses_nothing(
    root: LocalRoot, registry: EmulatedRegistry, jump: dt.timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = dt.datetime.now(dt.timezone.utc)
    jumps = itertools.cycle([dt.timedelta(), jump])
    monkeypatch.setattr(clock, "utc_now", lambda: now + next(jumps))
    first = record(root, registry)
    assert (first.asked, first.journal.rows) == (len(NPIS), len(NPIS) + 1)
    assert record(root, registry).asked == 0


def test_what_failed_passingly_before_the_interruption_is_asked_for_again(root: LocalRoot) -> None:
    with emulated_registry(fault_share=0.4, fault_tries=1, fault_kinds=["500"]) as registry:
        failed = record(root, registry, fetch_mode="all", asking="one run").journal.outcomes["failed"]
        assert 0 < record(root, registry, fetch_mode="all", asking="one run").asked == failed < len(NPIS)


def test_an_npi_that_joins_the_list_is_asked_for_alone_and_one_that_leaves_is_dropped(
    root: LocalRoot, registry: EmulatedRegistry
) -> None:
    record(root, registry, npis=NPIS[:-1])
    recorded = record(root, registry, npis=NPIS[1:])
    assert recorded.asked == 1
    assert pl.concat(compacted_parts(root, DAY))["npi"].to_list() == sorted([*NPIS[1:], "12345"])


def test_thirty_days_with_one_list_ask_once_per_npi_and_the_rows_say_when(
    root: LocalRoot, registry: EmulatedRegistry
) -> None:
    first = record(root, registry)
    for later in range(1, 30):
        recorded = record(root, registry, day=DAY + dt.timedelta(days=later))
        assert (recorded.asked, recorded.reused) == (0, len(NPIS))
        assert recorded.journal.outcomes == first.journal.outcomes
    assert registry.requests_by_npi() == dict.fromkeys(NPIS, 1)
    fetched = [
        pl.concat(compacted_parts(root, day)).filter(pl.col("outcome") == "found")["fetched_at"]
        for day in (DAY, NEXT_DAY)
    ]
    assert fetched[0].equals(fetched[1])


def test_answers_are_not_reused_when_that_is_switched_off(root: LocalRoot, registry: EmulatedRegistry) -> None:
    record(root, registry)
    assert record(root, registry, day=NEXT_DAY, reuse_hours=0).asked == len(NPIS)


def test_another_registrys_answers_serve_neither_the_same_day_nor_another(
    root: LocalRoot, registry: EmulatedRegistry
) -> None:
    record(root, registry)
    assert record(root, registry, day=NEXT_DAY, format_name="affiliated_practices").asked == len(NPIS)
    same_day = record(root, registry, format_name="affiliated_practices")
    assert same_day.reused == len(NPIS)
    assert formats_of_found(root) == {"affiliated_practices"}


def test_what_an_interrupted_run_had_from_another_registry_counts_for_nothing(
    root: LocalRoot, registry: EmulatedRegistry
) -> None:
    record_until_interrupted(root, registry, format_name="affiliated_practices")
    recorded = record(root, registry)
    assert (recorded.asked, recorded.journal.rows) == (len(NPIS), len(NPIS) + 1)
    assert formats_of_found(root) == {"nppes"}
    assert root.list(f"journal/day={DAY}/segments") == []


def test_an_interrupted_change_of_the_registry_goes_on_where_it_was(
    root: LocalRoot, registry: EmulatedRegistry
) -> None:
    record(root, registry)
    record_until_interrupted(root, registry, npis=NPIS[:40], format_name="affiliated_practices")
    assert record(root, registry, format_name="affiliated_practices").asked == len(NPIS) - 40
    assert formats_of_found(root) == {"affiliated_practices"}


def test_an_interrupted_change_of_the_registry_can_be_taken_back(root: LocalRoot, registry: EmulatedRegistry) -> None:
    before = record(root, registry).journal
    record_until_interrupted(root, registry, npis=NPIS[:40], format_name="affiliated_practices")
    recorded = record(root, registry)
    assert (recorded.asked, recorded.journal.outcomes) == (0, before.outcomes)
    assert formats_of_found(root) == {"nppes"}
