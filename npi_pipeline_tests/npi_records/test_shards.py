"""A day in shards: the same journal as in one piece, each shard by itself, and the day sealed when all are whole."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from npi_pipeline.days.lock import DayLockedError
from npi_pipeline.days.paths import journal_folder
from npi_pipeline.days.shard import Shard, shard_lock
from npi_pipeline.http_fetch.circuit_breaker import RegistryDownError
from npi_pipeline.journal import JournalError, compacted_parts, read_compacted_journal, read_outcomes
from npi_pipeline.npi_list import parse_npi_list
from npi_pipeline.npi_records.asking import Asking
from npi_pipeline.npi_records.record_outcomes import RecordedDay, record_outcomes
from npi_pipeline.npi_records.shard_plan import ShardPlan, workers_of
from npi_pipeline.npi_records.shards import plan_shards, record_shard, seal_day
from npi_pipeline.registries import FORMATS
from npi_pipeline.registries.registry import Registry
from npi_pipeline.settings import CheckSettings, FetchMode, FetchSettings
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.registry import EmulatedRegistry, emulated_registry
from npi_pipeline_tests.npi_records.moody_registry import MoodyRegistry, moody_registry
from npi_pipeline_tests.pipeline import DAY

NPIS = sorted(npi_numbers(90, seed=5))
LIST = parse_npi_list("\n".join(["npi", *NPIS, "12345", "hello"]).encode())
RUN, ANOTHER_RUN = "run", "another run"


@pytest.fixture
def root(tmp_path: Path) -> LocalRoot:
    return LocalRoot(tmp_path)


@pytest.fixture
def moody() -> Iterator[MoodyRegistry]:
    with moody_registry() as registry:
        registry.memory.know(*NPIS)
        yield registry


def asking(root: DataRoot, registry: EmulatedRegistry | MoodyRegistry, **settings: object) -> Asking:
    of_format = registry.registry if isinstance(registry, MoodyRegistry) else Registry(FORMATS["nppes"], registry.url)
    return Asking(
        root=root,
        day=DAY,
        npis=LIST.npis,
        registry=of_format,
        settings=FetchSettings.model_validate({"wait": 0.01, "threads": 8, "reuse_hours": 0, **settings}),
        checks=CheckSettings(),
    )


def plan(of: Asking, number: int = 3, run: str = RUN) -> ShardPlan:
    return plan_shards(of, number, at_once=number, planned_by=run, asked_by=run)


def record_in_shards(of: Asking, number: int = 3) -> RecordedDay:
    for shard in plan(of, number).shards:
        record_shard(of, shard, planned_by=RUN)
    return seal_day(of, planned_by=RUN)


def begin_anew(of: Asking, *, whole: bool) -> None:
    """Another run of the day begins."""
    if whole:
        record_outcomes(of.root, DAY, LIST, of.registry, of.settings)
    else:
        plan(of, 5, ANOTHER_RUN)


def rows(root: DataRoot) -> pl.DataFrame:
    """What two days of the same answers have in common."""
    return pl.concat(compacted_parts(root, DAY)).drop("run", "fetched_at")


def test_on_either_kind_of_root_the_journal_is_that_of_one_piece_and_nothing_is_asked_twice(
    data_root: str, tmp_path: Path, registry: EmulatedRegistry
) -> None:
    whole = LocalRoot(tmp_path / "whole")
    record_outcomes(whole, DAY, LIST, Registry(FORMATS["nppes"], registry.url), FetchSettings(reuse_hours=0))
    asked_once = registry.requests_by_npi()

    root = open_data_root(data_root)
    recorded = record_in_shards(asking(root, registry))
    assert rows(root).equals(rows(whole))
    assert registry.requests_by_npi() == {npi: 2 * asked for npi, asked in asked_once.items()}
    assert (recorded.asked, recorded.journal.rows) == (len(NPIS), len(NPIS) + 2)
    assert (recorded.report.attempts, sum(recorded.report.outcomes.values())) == (len(NPIS), len(NPIS))
    assert not root.list(f"{journal_folder(DAY)}/segments")


def test_a_day_that_is_whole_has_no_shard_left_and_its_journal_stays(
    root: LocalRoot, registry: EmulatedRegistry
) -> None:
    before = record_in_shards(asking(root, registry)).journal
    assert plan(asking(root, registry)).shards == ()
    again = seal_day(asking(root, registry), planned_by=RUN)
    assert (again.asked, again.is_unchanged, again.journal) == (0, True, before)


def test_a_shard_that_is_interrupted_goes_on_from_its_own_segments_and_the_others_are_left_alone(
    root: LocalRoot, registry: EmulatedRegistry
) -> None:
    of = asking(root, registry, threads=6)
    first, second, third = plan(of).shards
    record_shard(of, first, planned_by=RUN)

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    # Interrupted by its last word, when all of it is asked for.
    with pytest.raises(KeyboardInterrupt):
        record_shard(Asking(**{**vars(of), "on_progress": interrupt}), second, planned_by=RUN)
    with pytest.raises(JournalError, match=rf"2 of 3 shards are not whole, the first is {second.name}"):
        seal_day(of, planned_by=RUN)
    assert record_shard(of, second, planned_by=RUN).npis == 0
    record_shard(of, third, planned_by=RUN)
    seal_day(of, planned_by=RUN)
    assert set(registry.requests_by_npi().values()) == {1}


def test_a_shard_that_is_stopped_is_not_whole(root: LocalRoot, registry: EmulatedRegistry) -> None:
    of = asking(root, registry)
    shard = plan(of).shards[0]
    stop = threading.Event()
    stop.set()
    with pytest.raises(JournalError, match="was ended with 30 NPIs to ask for"):
        record_shard(Asking(**{**vars(of), "stop": stop}), shard, planned_by=RUN)
    with pytest.raises(JournalError, match="3 of 3 shards are not whole"):
        seal_day(of, planned_by=RUN)


def test_a_new_run_cuts_only_what_is_left(root: LocalRoot, registry: EmulatedRegistry) -> None:
    of = asking(root, registry)
    record_shard(of, plan(of).shards[1], planned_by=RUN)
    left = plan(of, 4, ANOTHER_RUN)
    assert (left.shards[0].first, left.shards[-1].last, len(left.shards)) == (NPIS[0], NPIS[-1], 4)
    for shard in left.shards:
        record_shard(of, shard, planned_by=ANOTHER_RUN)
    assert seal_day(of, planned_by=ANOTHER_RUN).asked == 60
    assert set(registry.requests_by_npi().values()) == {1}


@pytest.mark.parametrize("whole", [True, False], ids=["in one piece", "in shards"])
def test_nobody_begins_the_day_while_somebody_is_at_work_on_a_shard_of_it(
    root: LocalRoot, registry: EmulatedRegistry, *, whole: bool
) -> None:
    of = asking(root, registry)
    shard = plan(of).shards[2]
    with shard_lock(root, DAY, shard), pytest.raises(DayLockedError, match=f"the shard {shard.name} of {DAY}"):
        begin_anew(of, whole=whole)
    assert not registry.requests_by_npi()
    record_shard(of, shard, planned_by=RUN)


@pytest.mark.parametrize("whole", [True, False], ids=["in one piece", "in shards"])
def test_a_run_whose_plan_is_no_more_writes_nothing_and_seals_nothing(
    root: LocalRoot, registry: EmulatedRegistry, *, whole: bool
) -> None:
    of = asking(root, registry)
    old = plan(of)
    begin_anew(of, whole=whole)
    asked = registry.requests_by_npi()
    with pytest.raises(DayLockedError, match="was begun anew by another run"):
        record_shard(of, old.shards[0], planned_by=RUN)
    with pytest.raises(DayLockedError, match="was begun anew by another run"):
        seal_day(of, planned_by=RUN)
    assert registry.requests_by_npi() == asked


def test_only_one_works_on_a_shard(root: LocalRoot, registry: EmulatedRegistry) -> None:
    of = asking(root, registry)
    shard = plan(of).shards[0]
    with shard_lock(root, DAY, shard), pytest.raises(DayLockedError):
        record_shard(of, shard, planned_by=RUN)


def test_what_one_shard_finds_a_registry_to_be_holds_for_what_the_others_were_told(
    root: LocalRoot, moody: MoodyRegistry
) -> None:
    record_outcomes(root, DAY.replace(day=20), LIST, moody.registry, FetchSettings(reuse_hours=0))
    moody.memory.asked.clear()
    of = asking(root, moody)
    first, *others = plan(of).shards
    # Too few to raise a doubt by themselves, and wrong all the same.
    moody.memory.lost = range(5)
    record_shard(of, first, planned_by=RUN)
    moody.memory.lost = range(sys.maxsize)
    with pytest.raises(RegistryDownError, match="seems to know nobody"):
        record_shard(of, others[0], planned_by=RUN)
    moody.memory.lost = range(0)
    for shard in others:
        record_shard(of, shard, planned_by=RUN)
    recorded = seal_day(of, planned_by=RUN)
    assert recorded.journal.outcomes["found"] == len(NPIS)
    assert recorded.asked == 2 * 30 + 30 + 5, "those five were asked for again when the day was sealed"


def test_a_shard_that_is_repeated_in_a_mode_that_asks_afresh_does_not_ask_again_for_what_it_has(
    root: LocalRoot, registry: EmulatedRegistry
) -> None:
    record_in_shards(asking(root, registry))
    of = asking(root, registry, fetch_mode=FetchMode.all)
    shards = plan(of).shards
    for shard in (shards[0], *shards):
        record_shard(of, shard, planned_by=RUN)
    assert set(registry.requests_by_npi().values()) == {2}


def test_what_a_damaged_plan_says_counts_for_nothing(root: LocalRoot, registry: EmulatedRegistry) -> None:
    of = asking(root, registry)
    shard = plan(of).shards[0]
    root.write(f"{journal_folder(DAY)}/shards/plan.json", b"{")
    with pytest.raises(DayLockedError):
        record_shard(of, shard, planned_by=RUN)
    assert record_in_shards(of).journal.rows == len(NPIS) + 2


def test_shards_that_are_worked_on_at_once_keep_to_the_caps_together(
    root: LocalRoot, registry: EmulatedRegistry
) -> None:
    few = asking(root, registry, threads=2)
    assert len(plan_shards(few, 8, at_once=2, planned_by=RUN, asked_by=RUN).shards) == 8
    # More of them at once than requests may be in flight would be more than the cap.
    assert len(plan_shards(few, 8, at_once=8, planned_by=RUN, asked_by=RUN).shards) == 2


def test_where_many_are_refused_it_is_said_that_shards_do_not_see_each_other(
    root: LocalRoot, caplog: pytest.LogCaptureFixture
) -> None:
    with emulated_registry(fault_share=1.0, fault_kinds=("429",)) as refusing:
        record_in_shards(asking(root, refusing))
    assert "refused, by a registry that 3 shards asked at once: set NPI_REQUESTS_PER_SECOND" in caplog.text


def test_as_shards_come_to_their_end_there_are_fewer_that_share(root: LocalRoot, registry: EmulatedRegistry) -> None:
    of = asking(root, registry, threads=8)
    in_force = plan_shards(of, 4, at_once=3, planned_by=RUN, asked_by=RUN)
    workers = [workers_of(root, DAY, in_force)]
    for shard in in_force.shards:
        record_shard(of, shard, planned_by=RUN)
        workers.append(workers_of(root, DAY, in_force))
    assert workers == [3, 3, 2, 1, 1]


def test_a_shard_reads_only_the_segments_in_which_its_npis_may_be(root: LocalRoot, registry: EmulatedRegistry) -> None:
    of = asking(root, registry)
    first, second, third = plan(of).shards
    for shard in (first, third):
        record_shard(of, shard, planned_by=RUN)
    for file in root.list(f"{journal_folder(DAY)}/segments"):
        if first.name in file.path:
            root.write(file.path, b"damaged")
    assert read_outcomes(root, DAY, of.registry.identity, second).is_empty()
    assert read_outcomes(root, DAY, of.registry.identity, third).height == 30
    across = Shard(first.last, third.first)
    # One of the first shard's parts may hold it: the damage is found.
    assert read_outcomes(root, DAY, of.registry.identity, across)["npi"].to_list() == [third.first]


def test_the_compacted_rows_of_a_shard_are_found_again(root: LocalRoot, registry: EmulatedRegistry) -> None:
    of = asking(root, registry)
    record_in_shards(of)
    shard = Shard(NPIS[10], NPIS[19])
    assert read_outcomes(root, DAY, of.registry.identity, shard)["npi"].to_list() == NPIS[10:20]
    assert read_compacted_journal(root, DAY).rows == len(NPIS) + 2
