"""What an answer of the NPI Registry says about the NPI that was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npi_pipeline.outcomes import Outcome, Verdict
from npi_pipeline.registries import FORMATS

REGISTRY = Path(__file__).parents[1] / "data" / "registry"
NPPES = FORMATS["nppes"]
NPI = "1770626038"


def answer(*numbers: object, count: object = None) -> bytes:
    records = [{"number": number} for number in numbers]
    return json.dumps({"result_count": len(records) if count is None else count, "results": records}).encode()


def errors(*numbers: object, description: str = "said") -> bytes:
    return json.dumps({"Errors": [{"number": number, "description": description} for number in numbers]}).encode()


def outcome(body: bytes, npi: str = NPI) -> tuple[Outcome, bool]:
    verdict = NPPES.judge(npi, body)
    assert (verdict.reason is None) == (verdict.outcome is Outcome.found)
    return verdict.outcome, verdict.retryable


def test_every_real_answer_is_found_and_about_no_other_npi() -> None:
    paths = sorted((REGISTRY / "responses").glob("*.json"))
    assert len(paths) == 135
    for path in paths:
        assert NPPES.judge(path.stem, path.read_bytes()) == Verdict(Outcome.found)
        assert outcome(path.read_bytes(), "1999999984") == (Outcome.failed, True)


def test_an_empty_result_is_not_found() -> None:
    assert outcome((REGISTRY / "special" / "unknown_npi.json").read_bytes()) == (Outcome.not_found, False)


def test_error_15_is_deactivated_for_the_reason_that_the_registry_gives() -> None:
    body = (REGISTRY / "special" / "deactivated_1669463816.json").read_bytes()
    verdict = NPPES.judge("1669463816", body)
    assert (verdict.outcome, verdict.retryable) == (Outcome.deactivated, False)
    assert verdict.reason is not None
    assert verdict.reason.startswith("CMS deactivated NPI 1669463816. The provider can no longer use this NPI.")
    assert outcome(body, "1669463824") == (Outcome.failed, True), "it is about another NPI"
    assert outcome(errors(15, description="")) == (Outcome.deactivated, False)
    assert outcome(errors("04", "15")) == (Outcome.deactivated, False)


@pytest.mark.parametrize("number", ["03", "04", "07", "09"])
def test_an_error_about_the_request_fails_for_good(number: str) -> None:
    assert outcome(errors(number)) == (Outcome.failed, False)


@pytest.mark.parametrize(
    "body", [errors("05"), errors("17"), errors("04", "99"), errors(None), b'{"Errors":[]}', b'{"Errors":"x"}']
)
def test_an_error_that_is_not_documented_may_pass(body: bytes) -> None:
    assert outcome(body) == (Outcome.failed, True)


def test_the_reason_of_a_refusal_names_the_error_on_one_line() -> None:
    verdict = NPPES.judge(NPI, errors("04", description="No valid\nsearch criteria"))
    assert verdict.reason == "the registry refuses the request: No valid search criteria (error 04)"


@pytest.mark.parametrize("number", [1770626038, "1770626038"])
def test_the_number_may_be_a_number_or_text(number: object) -> None:
    assert outcome(answer(number)) == (Outcome.found, False)


def test_a_byte_order_mark_does_not_matter() -> None:
    assert outcome(b"\xef\xbb\xbf" + answer(NPI)) == (Outcome.found, False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b"17",
        b'"text"',
        b"NaN",
        b"<html><body>503 Service Unavailable</body></html>",
        answer(NPI)[:-1],
        answer(NPI)[:30],
        answer(NPI) + b"x",
        answer(NPI).replace(b"1770626038", b"\xff\xfe"),
        answer(NPI).decode().encode("utf-16"),
        b'{"result_count":1,"results":[{"number":"1770626038","x":"\\ud800"}]}',
        b"{}",
        b'{"result_count":0}',
        b'{"results":[]}',
        answer("1234567893"),
        answer(1234567893),
        answer(True),
        answer(None),
        answer(1770626038.0),
        answer(int("9" * 4000)),
        answer(NPI, count=0),
        answer(count=1),
        answer(NPI, count=True),
        answer(NPI, count="1"),
        answer(NPI, NPI),
        answer(NPI, count=2),
        b'{"result_count":1,"results":{"number":"1770626038"}}',
        b'{"result_count":1,"results":["1770626038"]}',
        b'{"result_count":1,"results":[null]}',
        b"[" * 100_000,
        b'{"result_count":1,"results":[{"number":"1770626038","x":' + b"[" * 500 + b"]" * 500 + b"}]}",
    ],
)
def test_anything_else_fails_and_may_pass(body: bytes) -> None:
    assert outcome(body) == (Outcome.failed, True)


def test_the_public_registry_is_asked_over_https_by_number() -> None:
    assert NPPES.default_url.format(npi=NPI) == f"https://npiregistry.cms.hhs.gov/api/?version=2.1&number={NPI}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(NPI) | st.just("15"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Errors", "number", "result_count", "results", "description", "x"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@settings(max_examples=100)
@given(body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()), npi=st.just(NPI) | st.text(max_size=12))
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_no_body_whatever_makes_a_judge_raise(name: str, npi: str, body: bytes) -> None:
    verdict = FORMATS[name].judge(npi, body)
    assert isinstance(verdict, Verdict)
    assert verdict.reason is None or (verdict.reason and "\n" not in verdict.reason)


def test_whatever_is_found_can_be_flattened(tmp_path: Any) -> None:
    from npi_pipeline_tests.flattened import day, found

    body = b'{"result_count":1,"results":[{"number":"1770626038","x":' + b"[" * 90 + b"1" + b"]" * 90 + b"}]}"
    assert outcome(body) == (Outcome.found, False)
    assert day(tmp_path, found({NPI: body.decode()})).row(NPI)["unknown_fields"] == '{"x' + "[0]" * 90 + '":1}'
