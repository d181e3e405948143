"""Answers that JSON allows and UTF-8 does not, from the registry to the state files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npi_pipeline.outcomes import Outcome
from npi_pipeline.testing.providers import affiliated_practices_answer, answer, npi_numbers, outcome_of
from npi_pipeline.testing.s3 import LocalS3
from npi_pipeline_tests.pipeline import Pipeline
from npi_pipeline_tests.scripted_registry import scripted_registry

Answering = Callable[[str], bytes]
Picking = Callable[[Any], dict[str, Any]]

NPIS = [npi for npi in npi_numbers(20) if outcome_of(npi) is Outcome.found][:2]


@pytest.mark.parametrize(
    ("registry_format", "answer_about", "odd"),
    [
        ("nppes", answer, lambda record: record["results"][0]["basic"]),
        ("affiliated_practices", affiliated_practices_answer, lambda record: record),
    ],
)
def test_half_a_character_is_replaced_and_breaks_no_later_step(
    s3: LocalS3, bucket: str, tmp_path: Path, registry_format: str, answer_about: Answering, odd: Picking
) -> None:
    s3.put_list(bucket, "npi_list.txt", NPIS)
    with scripted_registry() as registry:
        registry.answers = {npi: answer_about(npi) for npi in NPIS}
        record = json.loads(answer_about(NPIS[0]))
        odd(record).update({"first_name": "A\ud83d", "key\udc00": "\ud83d\ude00"})
        # As ASCII with escapes, which is how the json of Python and of JavaScript write it.
        registry.answers[NPIS[0]] = json.dumps(record).encode()
        pipeline = Pipeline(
            tmp_path / "npi-data",
            list_bucket=bucket,
            registry_format=registry_format,
            registry_url=registry.url,
            max_retries=0,
        )
        pipeline.run()

    files = pipeline.state_files()
    assert files["Failed"] == []
    rows = [row for state in files.values() for row in state if row["npi"] == NPIS[0]]
    assert rows
    for row in rows:
        cells = " ".join(map(str, row.items()))
        assert "A\ufffd" in cells
        assert "key\ufffd" in cells
        assert "😀" in cells or r"\ud83d\ude00" in cells
