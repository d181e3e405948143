"""The ten defects of the script that this product replaces, each with the right behaviour, from end to end.

The registry speaks ``affiliated_practices`` as the script's did; its answers are given here one by one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from npi_pipeline.testing.providers import npi_numbers
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.pipeline import DAY, Pipeline, npis_of
from npi_pipeline_tests.scripted_registry import ScriptedRegistry, scripted_registry

A, B, C, D = sorted(npi_numbers(4, seed=7))


def practice(state: str | None, **more: Any) -> dict[str, Any]:
    """One affiliated practice in ``state``."""
    return {"address": {"state": state}, **more}


def record(*practices: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An answer with these practices."""
    return {"active": True, "affiliatedPractices": {"items": list(practices)}, **more}


@pytest.fixture
def registry() -> Iterator[ScriptedRegistry]:
    with scripted_registry() as scripted:
        yield scripted


@pytest.fixture
def pipeline(s3: LocalS3, bucket: str, registry: ScriptedRegistry, tmp_path: Path) -> Pipeline:
    s3.put_list(bucket, "npi_list.txt", [A, B, C, D])
    registry.answers = {npi: record(practice("NY")) for npi in (A, B, C, D)}
    return Pipeline(
        tmp_path / "npi-data",
        list_bucket=bucket,
        registry_format="affiliated_practices",
        registry_url=registry.url,
        max_retries=1,
        wait=0.01,
        failed_share_limit=1.0,
    )


def test_1_rows_with_other_keys_than_the_first_stand_under_their_own_header(
    pipeline: Pipeline, registry: ScriptedRegistry
) -> None:
    registry.answers[A] = record(practice("NY", phone="1"))
    registry.answers[B] = record(practice("NY", fax="2"), practice("NJ", phone="3"))
    pipeline.run()

    rows = {row["npi"]: row for row in pipeline.state_files()["NY"]}
    phone, fax = "affiliatedPractices.items[0].phone", "affiliatedPractices.items[0].fax"
    assert (rows[A][phone], rows[A][fax]) == ("1", "")
    assert (rows[B][phone], rows[B][fax]) == ("", "2")
    assert rows[B]["affiliatedPractices.items[1].phone"] == "3"


def test_2_a_provider_with_no_practices_at_all_is_in_none(pipeline: Pipeline, registry: ScriptedRegistry) -> None:
    registry.answers[A] = record()
    registry.answers[B] = {"active": False, "affiliatedPractices": {"items": None}}
    pipeline.run()

    assert npis_of(pipeline.state_files()["None"]) == [A, B]


def test_3_states_outside_the_fifty_are_recognised_or_in_none_and_never_lost(
    pipeline: Pipeline, registry: ScriptedRegistry
) -> None:
    registry.answers[A] = record(practice("DC"), practice("pr"))
    registry.answers[B] = record(practice("GEORGIA"))
    registry.answers[C] = record(practice(" ca "))
    registry.answers[D] = record(practice("../../x"))
    pipeline.run()

    files = pipeline.state_files()
    assert {state: npis_of(rows) for state, rows in files.items() if rows} == {
        "DC": [A],
        "PR": [A],
        "GA": [B],
        "CA": [C],
        "None": [D],
    }
    below = {path.name for path in pipeline.data_root.rglob("*") if path.is_file() and path.suffix == ".csv"}
    assert below == {*(f"npi_data_{DAY}_{state}.csv" for state in files), f"provider_changes_{DAY}.csv"}


def test_4_an_exception_of_any_kind_ends_as_a_failed_npi_with_its_reason(
    pipeline: Pipeline, registry: ScriptedRegistry
) -> None:
    registry.answers |= {A: None, B: b"<html>maintenance</html>", C: {"active": True}, D: 500}
    run = pipeline.run()

    assert run.ok
    failed = {row["npi"]: row["reason"] for row in pipeline.state_files()["Failed"]}
    assert set(failed) == {A, B, C, D}
    assert "500" in failed[D]
    assert all(failed.values())


def test_5_a_record_of_several_states_is_once_in_each_file_however_often_the_day_runs(
    pipeline: Pipeline, registry: ScriptedRegistry
) -> None:
    registry.answers[A] = record(practice("NY"), practice("NJ"), practice("NY"))
    pipeline.run()
    pipeline.run()

    files = pipeline.state_files()
    assert npis_of(files["NY"]) == [A, B, C, D]
    assert npis_of(files["NJ"]) == [A]


def test_6_a_list_that_cannot_be_read_fails_the_run_with_a_reason(pipeline: Pipeline) -> None:
    elsewhere = Pipeline(
        pipeline.data_root, list_bucket="no-such-bucket", registry_url=pipeline.settings.registry.registry_url
    )
    run = elsewhere.run()

    assert not run.ok
    assert any("s3://no-such-bucket/npi_list.txt cannot be read" in problem for problem in run.problems)


def test_7_a_second_run_of_the_day_appends_nothing(pipeline: Pipeline, registry: ScriptedRegistry) -> None:
    registry.answers[D] = 404
    pipeline.run()
    first = pipeline.bytes_by_name()
    pipeline.run()

    assert pipeline.bytes_by_name() == first
    assert npis_of(pipeline.state_files()["Failed"]) == [D]


def test_8_the_day_in_every_name_is_the_partition_and_not_the_clock(pipeline: Pipeline) -> None:
    long_ago = dt.date(2026, 11, 2)
    pipeline.run(long_ago)

    assert {path.name.rpartition("_")[0] for path in pipeline.folder(long_ago).glob("*.csv")} == {"npi_data_2026-11-02"}
    assert pipeline.manifest(long_ago)["day"] == "2026-11-02"


def test_9_rows_are_sorted_whatever_order_the_answers_came_in(pipeline: Pipeline, s3: LocalS3) -> None:
    s3.put_list(pipeline.settings.npi_list.list_bucket, "npi_list.txt", [D, B, A, C])
    pipeline.run()

    assert npis_of(pipeline.state_files()["NY"]) == [A, B, C, D]


def test_10_a_list_without_a_header_keeps_its_first_npi_and_a_bad_one_is_named(pipeline: Pipeline, s3: LocalS3) -> None:
    s3.put_list(pipeline.settings.npi_list.list_bucket, "npi_list.txt", f"{A}\n{B}\n{B[:-1]}x\n")
    pipeline.run()

    files = pipeline.state_files()
    assert npis_of(files["NY"]) == [A, B]
    assert {row["npi"]: row["outcome"] for row in files["Failed"]} == {f"{B[:-1]}x": "invalid"}
