"""Days with wrong answers: of a registry that knows nobody, of a clock that is ahead, of another day's journal."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from npi_pipeline import clock
from npi_pipeline.days.paths import journal_folder
from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.npi_records.moody_registry import MoodyRegistry, moody_registry
from npi_pipeline_tests.pipeline import DAY, Pipeline

NPIS = sorted(npi_numbers(30, seed=3))
NEXT_DAY = DAY + dt.timedelta(days=1)


@pytest.fixture
def moody() -> Iterator[MoodyRegistry]:
    with moody_registry() as registry:
        yield registry


@pytest.fixture
def pipeline(s3: LocalS3, bucket: str, moody: MoodyRegistry, tmp_path: Path) -> Pipeline:
    s3.put_list(bucket, "npi_list.txt", NPIS)
    return Pipeline(tmp_path / "npi-data", list_bucket=bucket, registry_url=moody.registry.url)


def test_a_first_day_on_which_nobody_is_known_is_not_published_until_the_registry_knows_or_someone_says_so(
    pipeline: Pipeline, moody: MoodyRegistry
) -> None:
    run = pipeline.run()
    assert not run.ok
    (problem,) = run.problems
    assert "registry_knows_the_npis" in problem
    assert "30 not_found and 0 deactivated of 30 answers (100.00%, limit 90.00%)" in problem
    assert not (pipeline.folder() / "manifest.json").exists()
    assert not pipeline.run(NEXT_DAY).ok, "another day takes none of it over"

    moody.memory.know(*NPIS)
    assert pipeline.run().ok
    assert pipeline.manifest()["outcomes"]["found"] == len(NPIS)


def test_a_first_day_on_which_nobody_is_known_is_published_when_someone_says_that_the_list_is_so(
    pipeline: Pipeline, moody: MoodyRegistry
) -> None:
    assert not pipeline.run().ok
    told = Pipeline(
        pipeline.data_root,
        list_bucket=pipeline.settings.npi_list.list_bucket,
        registry_url=moody.registry.url,
        not_found_share_limit=1,
    )
    asked = len(moody.memory.asked)
    assert told.run().ok
    assert len(moody.memory.asked) == asked, "it is not asked again"


def test_a_copy_of_another_days_journal_is_refused_in_one_line_and_not_tried_again(
    pipeline: Pipeline, moody: MoodyRegistry
) -> None:
    moody.memory.know(*NPIS)
    assert pipeline.run().ok
    of_day, of_next_day = (pipeline.data_root / journal_folder(day) for day in (DAY, NEXT_DAY))
    shutil.copytree(of_day, of_next_day)
    run = pipeline.run(NEXT_DAY)
    (problem,) = run.problems
    assert f"journal.json is of {DAY} and not of {NEXT_DAY}" in problem
    assert len(moody.memory.asked) == len(NPIS)
    shutil.move(of_next_day, of_next_day.with_name("aside"))
    assert pipeline.run(NEXT_DAY).ok, "the remedy works"


@pytest.mark.parametrize("ahead", [dt.timedelta(hours=2), pytest.param(dt.timedelta(days=300), marks=pytest.mark.long)])
def test_answers_dated_in_the_future_are_remarked_on_serve_no_other_day_and_can_be_dated_anew(
    pipeline: Pipeline, moody: MoodyRegistry, ahead: dt.timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    moody.memory.know(*NPIS)
    with monkeypatch.context() as patch:
        wrong = clock.utc_now() + ahead
        patch.setattr(clock, "utc_now", lambda: wrong)
        assert pipeline.run().ok
    run = pipeline.run()
    assert run.ok, "a warning keeps nothing from being published"
    (warning,) = (line for line in run.warnings if "answers_are_not_of_the_future" in line)
    assert "30 answers are dated in the future" in warning
    assert f"e.g. {NPIS[0]} {wrong:%Y-%m-%d}" in warning
    assert "NPI_FETCH_MODE=all" in warning
    assert len(moody.memory.asked) == len(NPIS)

    assert pipeline.run(NEXT_DAY).ok
    assert len(moody.memory.asked) == 2 * len(NPIS)
    afresh = Pipeline(
        pipeline.data_root,
        list_bucket=pipeline.settings.npi_list.list_bucket,
        registry_url=moody.registry.url,
        fetch_mode="all",
    )
    assert not [line for line in afresh.run().warnings if "future" in line]
