"""A registry that knows nobody is broken until it is proven or said otherwise, and its answers are asked for again."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from npi_pipeline.http_fetch.circuit_breaker import RegistryDownError
from npi_pipeline.journal import JournalError, read_compacted_journal, read_outcomes
from npi_pipeline.npi_list import parse_npi_list
from npi_pipeline.npi_records.record_outcomes import RecordedDay, record_outcomes
from npi_pipeline.proofs.npi_records import (
    not_found_is_like_recent_days,
    records_tell_npis_apart,
    registry_knows_the_npis,
)
from npi_pipeline.settings import CheckSettings, FetchSettings
from npi_pipeline.storage.data_root import DataRoot
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.storage.open_root import open_data_root
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline_tests.npi_records.moody_registry import DEACTIVATED, NOT_FOUND, MoodyRegistry, moody_registry
from npi_pipeline_tests.pipeline import DAY

NPIS = sorted(npi_numbers(200, seed=5))
OTHERS = [npi for npi in sorted(npi_numbers(300, seed=6)) if npi not in NPIS]
YESTERDAY, TOMORROW = DAY - dt.timedelta(days=1), DAY + dt.timedelta(days=1)
CHECKS = CheckSettings()
SAID_SO = CheckSettings(not_found_share_limit=1)
ONE_RECORD = b'{"active":false,"affiliatedPractices":{"items":null}}'


@pytest.fixture
def root(tmp_path: Path) -> LocalRoot:
    return LocalRoot(tmp_path)


@pytest.fixture
def moody() -> Iterator[MoodyRegistry]:
    with moody_registry() as registry:
        yield registry


def record(
    root: DataRoot,
    moody: MoodyRegistry,
    npis: list[str],
    day: dt.date = DAY,
    *,
    checks: CheckSettings = CHECKS,
    **settings: object,
) -> RecordedDay:
    npi_list = parse_npi_list("\n".join(["npi", *npis]).encode())
    fetch = FetchSettings.model_validate({"wait": 0.01, "reuse_hours": 0, "threads": 4, **settings})
    return record_outcomes(root, day, npi_list, moody.registry, fetch, checks=checks)


def recorded_with_everybody_known(root: DataRoot, moody: MoodyRegistry, day: dt.date = YESTERDAY) -> None:
    moody.memory.know(*NPIS)
    record(root, moody, NPIS, day)
    moody.memory.asked.clear()


def outcomes(root: DataRoot, day: dt.date = DAY) -> dict[str, int]:
    return {outcome: count for outcome, count in read_compacted_journal(root, day).outcomes.items() if count}


@pytest.mark.long_on_s3
def test_on_either_kind_of_root_a_broken_registrys_day_is_repaired(data_root: str, moody: MoodyRegistry) -> None:
    root = open_data_root(data_root)
    recorded_with_everybody_known(root, moody)
    moody.memory.lost = range(sys.maxsize)
    with pytest.raises(RegistryDownError):
        record(root, moody, NPIS)
    moody.memory.lost = range(0)
    assert record(root, moody, NPIS).asked == len(NPIS)
    assert outcomes(root) == {"found": len(NPIS)}


@pytest.mark.parametrize("says", [NOT_FOUND, DEACTIVATED])
@pytest.mark.parametrize(
    "npis",
    [
        pytest.param(NPIS, marks=pytest.mark.long),
        pytest.param(NPIS[:10], marks=pytest.mark.long),
        OTHERS[:10],
        NPIS[:1],
    ],
)
def test_a_registry_that_knows_nobody_any_more_is_broken_and_its_day_is_repaired_by_the_next_run(
    root: LocalRoot, moody: MoodyRegistry, npis: list[str], says: bytes
) -> None:
    recorded_with_everybody_known(root, moody)
    moody.memory.know(*npis)
    moody.memory.says, moody.memory.lost = says, range(sys.maxsize)
    with pytest.raises(RegistryDownError, match=r"of 5 NPIs that it found lately it finds 0 now") as broken:
        record(root, moody, npis)
    assert "NPI_REGISTRY_URL" in str(broken.value)
    assert "NPI_NOT_FOUND_SHARE_LIMIT" in str(broken.value)
    assert "\n" not in str(broken.value)
    assert len(moody.memory.asked) <= 20 + 2 * 4 + 5, "a broken registry is not asked for the whole list"
    with pytest.raises(JournalError, match="not compacted"):
        read_compacted_journal(root, DAY)

    moody.memory.lost = range(0)
    assert record(root, moody, npis).asked == len(npis)
    assert outcomes(root) == {"found": len(npis)}


def test_a_registry_that_loses_its_memory_in_mid_run_is_broken_and_what_it_said_meanwhile_is_asked_for_again(
    root: LocalRoot, moody: MoodyRegistry
) -> None:
    moody.memory.know(*NPIS)
    moody.memory.lost = range(150, sys.maxsize)
    with pytest.raises(RegistryDownError, match="seems to know nobody"):
        record(root, moody, NPIS)
    assert len(moody.memory.asked) < 190
    moody.memory.lost = range(0)
    moody.memory.asked.clear()
    record(root, moody, NPIS)
    assert outcomes(root) == {"found": len(NPIS)}
    assert len(moody.memory.asked) <= len(NPIS) - 150 + 5, "what it found before is kept"


def test_a_registry_that_found_its_memory_again_by_the_time_of_the_probe_is_not_believed_either(
    root: LocalRoot, moody: MoodyRegistry
) -> None:
    recorded_with_everybody_known(root, moody)
    moody.memory.lost = range(10)
    with pytest.raises(RegistryDownError, match=r"seemed to know nobody for a while; .* it finds 5 now"):
        record(root, moody, NPIS[:10])
    assert record(root, moody, NPIS[:10]).asked == 10
    assert outcomes(root) == {"found": 10}


def test_a_run_that_was_killed_among_doubtful_answers_is_not_believed_by_the_next(
    root: LocalRoot, moody: MoodyRegistry
) -> None:
    recorded_with_everybody_known(root, moody)
    moody.memory.lost = range(5)

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    npi_list = parse_npi_list("\n".join(NPIS[:5]).encode())
    with pytest.raises(KeyboardInterrupt):
        record_outcomes(root, DAY, npi_list, moody.registry, FetchSettings(reuse_hours=0), on_progress=killed)
    assert set(read_outcomes(root, DAY)["outcome"]) == {"not_found"}
    assert record(root, moody, NPIS).asked == len(NPIS)
    assert outcomes(root) == {"found": len(NPIS)}


def test_a_list_of_which_nobody_is_known_is_believed_when_the_registry_still_finds_what_it_found_lately(
    root: LocalRoot, moody: MoodyRegistry
) -> None:
    recorded_with_everybody_known(root, moody)
    recorded = record(root, moody, OTHERS)
    assert outcomes(root) == {"not_found": len(OTHERS)}
    assert recorded.probed <= 5 * 6, "ever more seldom"
    assert set(moody.memory.asked) - set(OTHERS) == set(NPIS[:5])
    finding = registry_knows_the_npis(root, DAY, CHECKS)
    assert finding.holds, finding.line
    warned = not_found_is_like_recent_days(root, DAY, CHECKS)
    assert (warned.holds, "NPI_FETCH_MODE=not_found" in warned.line) == (False, True)
    assert record(root, moody, OTHERS).asked == 0


@pytest.mark.parametrize("says", [NOT_FOUND, DEACTIVATED])
def test_without_an_npi_that_was_found_lately_the_limit_decides_and_the_next_run_asks_again(
    root: LocalRoot, moody: MoodyRegistry, says: bytes
) -> None:
    moody.memory.says = says
    assert record(root, moody, NPIS).probed == 0
    finding = registry_knows_the_npis(root, DAY, CHECKS)
    assert not finding.holds
    assert "of 200 answers (100.00%, limit 90.00%)" in finding.line
    assert "NPI_REGISTRY_URL" in finding.line
    assert "NPI_NOT_FOUND_SHARE_LIMIT=1" in finding.line

    moody.memory.know(*NPIS)
    assert record(root, moody, NPIS).asked == len(NPIS)
    assert registry_knows_the_npis(root, DAY, CHECKS).holds


def test_an_operator_who_says_that_the_list_is_so_is_believed(root: LocalRoot, moody: MoodyRegistry) -> None:
    record(root, moody, NPIS)
    assert record(root, moody, NPIS, checks=SAID_SO).asked == 0
    assert registry_knows_the_npis(root, DAY, SAID_SO).holds
    moody.memory.asked.clear()
    recorded_with_everybody_known(root, moody)
    assert record(root, moody, OTHERS, TOMORROW, checks=SAID_SO).probed == 0


def test_nine_of_ten_npis_may_be_unknown_without_a_word_and_without_a_probe(
    root: LocalRoot, moody: MoodyRegistry
) -> None:
    moody.memory.know(NPIS[3])
    assert record(root, moody, NPIS[:10]).probed == 0
    assert registry_knows_the_npis(root, DAY, CHECKS).holds
    assert not_found_is_like_recent_days(root, DAY, CHECKS).holds


def test_a_normal_day_costs_no_request_more_than_its_npis(root: LocalRoot, moody: MoodyRegistry) -> None:
    recorded_with_everybody_known(root, moody)
    recorded = record(root, moody, [*NPIS, *OTHERS[:20]])
    assert (recorded.asked, recorded.probed) == (220, 0)
    assert len(moody.memory.asked) == 220


def test_the_answers_of_a_day_that_is_not_believed_serve_no_other_day(root: LocalRoot, moody: MoodyRegistry) -> None:
    record(root, moody, NPIS)
    moody.memory.know(*NPIS)
    recorded = record(root, moody, NPIS, TOMORROW, reuse_hours=12)
    assert (recorded.reused, recorded.asked) == (0, len(NPIS))
    assert record(root, moody, NPIS, YESTERDAY, reuse_hours=12).reused == len(NPIS)


def test_the_answers_of_a_day_that_a_probe_spoke_for_serve_another_day(root: LocalRoot, moody: MoodyRegistry) -> None:
    recorded_with_everybody_known(root, moody)
    record(root, moody, OTHERS)
    recorded = record(root, moody, OTHERS, TOMORROW, reuse_hours=12)
    assert (recorded.reused, recorded.asked) == (len(OTHERS), 0)
    assert registry_knows_the_npis(root, TOMORROW, CHECKS).holds


def test_mode_not_found_asks_again_for_what_was_not_found_deactivated_or_failed(
    root: LocalRoot, moody: MoodyRegistry
) -> None:
    moody.memory.know(*NPIS[:150])
    moody.memory.update({NPIS[150]: DEACTIVATED, NPIS[151]: b'{"Errors":[{"number":"04"}]}'})
    record(root, moody, NPIS)
    assert outcomes(root) == {"found": 150, "deactivated": 1, "failed": 1, "not_found": 48}
    assert record(root, moody, NPIS).asked == 0
    moody.memory.know(*NPIS)
    assert record(root, moody, NPIS, fetch_mode="not_found").asked == 50
    assert outcomes(root) == {"found": len(NPIS)}


def test_a_share_of_unknown_npis_far_above_that_of_recent_days_is_remarked_on(
    root: LocalRoot, moody: MoodyRegistry
) -> None:
    for ago in (3, 2, 1):
        recorded_with_everybody_known(root, moody, DAY - dt.timedelta(days=ago))
    record(root, moody, [*NPIS, *OTHERS[:4]])
    assert not_found_is_like_recent_days(root, DAY, CHECKS).holds
    record(root, moody, [*NPIS, *OTHERS[:5]])
    finding = not_found_is_like_recent_days(root, DAY, CHECKS)
    assert not finding.holds
    assert "5 of 205 answers are not_found (2.44%), the median of 3 recent days is 0.00%" in finding.line
    assert "NPI_FETCH_MODE=not_found" in finding.line
    assert not_found_is_like_recent_days(root, DAY, CheckSettings(not_found_change_limit=0.03)).holds


def practices(*npis: str) -> dict[str, bytes]:
    return {npi: json.dumps({"affiliatedPractices": {"items": [{"name": npi}]}}).encode() for npi in npis}


def test_a_registry_that_gives_everybody_one_record_is_broken(root: LocalRoot) -> None:
    with moody_registry("affiliated_practices") as moody:
        moody.memory.says = ONE_RECORD
        moody.memory.update(practices(*NPIS))
        record(root, moody, NPIS, YESTERDAY)
        moody.memory.lost = range(len(NPIS), sys.maxsize)
        with pytest.raises(RegistryDownError, match="gives one and the same record for many NPIs"):
            record(root, moody, NPIS)
        moody.memory.lost = range(0)
        assert record(root, moody, NPIS).asked == len(NPIS)
        assert records_tell_npis_apart(root, DAY, CHECKS).holds


def test_many_records_that_are_alike_are_believed_when_others_are_not(root: LocalRoot) -> None:
    with moody_registry("affiliated_practices") as moody:
        moody.memory.says = ONE_RECORD
        moody.memory.update(practices(*NPIS))
        record(root, moody, NPIS, YESTERDAY)
        record(root, moody, OTHERS)
        finding = records_tell_npis_apart(root, DAY, CHECKS)
        assert finding.holds, finding.line


def test_a_first_day_on_which_all_records_are_alike_is_not_published(root: LocalRoot) -> None:
    with moody_registry("affiliated_practices") as moody:
        moody.memory.says = ONE_RECORD
        record(root, moody, NPIS)
        finding = records_tell_npis_apart(root, DAY, CHECKS)
        assert not finding.holds
        assert "200 of 200 NPIs have one and the same record" in finding.line
        assert records_tell_npis_apart(root, DAY, SAID_SO).holds
        assert record(root, moody, NPIS, TOMORROW, reuse_hours=12).reused == 0
        record(root, moody, NPIS[:10], TOMORROW)
        assert records_tell_npis_apart(root, TOMORROW, CHECKS).holds, "ten inactive providers may well be alike"


def test_evidence_that_cannot_be_understood_counts_for_nothing(
    root: LocalRoot, moody: MoodyRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    recorded_with_everybody_known(root, moody)
    record(root, moody, OTHERS)
    root.write(f"journal/day={DAY}/probes.json", b"{")
    assert not registry_knows_the_npis(root, DAY, CHECKS).holds
    assert "probes.json cannot be understood" in caplog.text
    record(root, moody, OTHERS)
    assert registry_knows_the_npis(root, DAY, CHECKS).holds
