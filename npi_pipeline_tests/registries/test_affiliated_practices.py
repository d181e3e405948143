"""What an answer of the gateway says about the NPI that was asked for."""

from __future__ import annotations

import json

import pytest

from npi_pipeline.outcomes import Outcome, Verdict
from npi_pipeline.registries import FORMATS
from npi_pipeline.testing.providers import affiliated_practices_answer

NPI = "1770626038"
judge = FORMATS["affiliated_practices"].judge


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "answer",
    [
        body(active=True, affiliatedPractices={"items": [{"address": {"state": "TX"}}]}),
        body(active=False, affiliatedPractices={"items": [{"address": {"state": "TX"}}]}),
        body(affiliatedPractices={"items": None}),
        body(affiliatedPractices={"items": []}),
        body(affiliatedPractices=None),
        body(affiliatedPractices=None, npi=NPI),
        body(affiliatedPractices=None, npi=int(NPI)),
        body(affiliatedPractices=None, number="12 B", npi=None),
        b"\xef\xbb\xbf" + body(affiliatedPractices=None),
        affiliated_practices_answer(NPI),
    ],
)
def test_a_provider_is_found_active_or_not_with_practices_or_without(answer: bytes) -> None:
    assert judge(NPI, answer) == Verdict(Outcome.found)


@pytest.mark.parametrize("active", [True, False])
def test_a_record_without_practices_fails_for_good_and_says_so(active: bool) -> None:
    """The script printed it and lost the NPI."""
    assert judge(NPI, body(active=active)) == Verdict(Outcome.failed, "the record has no affiliatedPractices")


@pytest.mark.parametrize("answer", [body(message="Internal server error"), b"{}"])
def test_an_answer_that_is_no_record_at_all_may_pass(answer: bytes) -> None:
    assert judge(NPI, answer) == Verdict(Outcome.failed, "the answer holds no record", retryable=True)


@pytest.mark.parametrize("key", ["npi", "NPI", "number"])
@pytest.mark.parametrize("other", ["1234567893", 1234567893])
def test_an_answer_about_another_npi_is_never_accepted(key: str, other: object) -> None:
    verdict = judge(NPI, body(affiliatedPractices=None, **{key: other}))
    assert verdict == Verdict(Outcome.failed, "the answer is about another NPI", retryable=True)


@pytest.mark.parametrize("answer", [b"", b"[]", b"null", b"<html>", b'{"affiliatedPractices":', b"\xff", b"[" * 2000])
def test_a_body_that_is_no_json_object_may_pass(answer: bytes) -> None:
    verdict = judge(NPI, answer)
    assert (verdict.outcome, verdict.retryable) == (Outcome.failed, True)


def test_the_gateway_has_no_public_address() -> None:
    assert FORMATS["affiliated_practices"].default_url == ""
