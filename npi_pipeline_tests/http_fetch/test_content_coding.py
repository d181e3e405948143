"""What Content-Encoding says was done to a body, from real sockets, and what it may not swell to."""

from __future__ import annotations

import functools
import gzip
import zlib
from collections.abc import Callable

import pytest

from npi_pipeline.http_fetch.answer import Signal
from npi_pipeline.http_fetch.content_coding import BodyError, decoded
from npi_pipeline.outcomes import Outcome
from npi_pipeline_tests.http_fetch.asking import BODY, ask
from npi_pipeline_tests.scripted_server import Serve, always, http

MIB = 2**20
# Without the time of day, which would be part of a test's name.
gz = functools.partial(gzip.compress, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def plain(data: bytes) -> bytes:
    return data


def in_members(data: bytes) -> bytes:
    return b"".join(gz(data[start : start + 300]) for start in range(0, len(data), 300))


Coder = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("content_encoding", "coders"),
    [
        ("gzip", [gz]),
        ("x-gzip", [gz]),
        ("  GZip  ", [gz]),
        ("gzip, identity", [gz]),
        ("identity,gzip", [gz]),
        (", gzip,,", [gz]),
        ("gzip, gzip", [gz, gz]),
        ("gzip\r\nContent-Encoding: gzip", [gz, gz]),
        ("deflate", [zlib.compress]),
        ("deflate", [raw_deflate]),
        ("deflate, gzip", [zlib.compress, gz]),
        ("gzip, Deflate, x-gzip, identity", [gz, raw_deflate, gz]),
        ("gzip", [in_members]),
        ("gzip", [lambda body: gz(body) + b"\0" * 512]),
        # Compressed once more by somebody who did not say so.
        ("gzip", [gz, gz]),
        ("", [gz]),
        ("", []),
        ("identity", []),
        ("utf-8", []),
        ("none", []),
    ],
)
def test_an_answer_is_decompressed_as_its_head_says(serve: Serve, content_encoding: str, coders: list[Coder]) -> None:
    body = BODY
    for coder in coders:
        body = coder(body)
    answer = ask(serve(always(http("200 OK", f"Content-Encoding: {content_encoding}", body=body))).port)

    assert (answer.verdict.outcome, answer.verdict.reason) == (Outcome.found, None)
    assert answer.body == BODY.decode()


@pytest.mark.parametrize(
    ("content_encoding", "body", "reason"),
    [
        ("br", b"?", "the answer has a content coding that was not asked for, 'br'"),
        ("Zstd, gzip", gz(b"?"), "the answer has a content coding that was not asked for, 'zstd'"),
        ("gzip, br", b"?", "the answer has a content coding that was not asked for, 'br'"),
        ("?" * 3000, BODY, f"the answer has a content coding that was not asked for, '{'?' * 40}'"),
        ("g\x07\xe9zip", BODY, r"the answer has a content coding that was not asked for, 'g\x07ézip'"),
        (", ".join(["gzip"] * 6), BODY, "the answer has too many content codings"),
        ("gzip", BODY, "the answer cannot be decompressed"),
        ("deflate", BODY, "the answer cannot be decompressed"),
        ("gzip", gz(BODY)[:-1], "the answer cannot be decompressed: it is cut short"),
        ("gzip", in_members(BODY)[:-1], "the answer cannot be decompressed: it is cut short"),
        ("deflate", zlib.compress(BODY)[:-1], "the answer cannot be decompressed: it is cut short"),
        ("deflate", raw_deflate(BODY)[:-1], "the answer cannot be decompressed: it is cut short"),
        ("gzip", gz(BODY)[:-8] + b"12345678", "the answer cannot be decompressed"),
        ("gzip", b"", "the answer cannot be decompressed: it is cut short"),
        ("gzip", gz(b"") * 1001, "the answer cannot be decompressed: it is in too many pieces"),
    ],
)
def test_what_cannot_be_decompressed_is_a_passing_failure_that_says_why(
    serve: Serve, content_encoding: str, body: bytes, reason: str
) -> None:
    response = http("200 OK", body=body).replace(
        b"\r\n", f"\r\nContent-Encoding: {content_encoding}\r\n".encode("latin-1"), 1
    )
    answer = ask(serve(always(response)).port)

    assert (answer.verdict.reason, answer.verdict.retryable) == (reason, True)
    assert (answer.status, answer.signal) == (200, Signal.error)


@pytest.mark.parametrize(
    ("content_encoding", "coders"),
    [
        ("gzip", [gz]),
        ("deflate", [zlib.compress]),
        ("gzip, gzip", [gz, gz]),
        ("gzip, gzip, gzip", [gz] * 3),
        ("gzip", [lambda bomb: b"".join(gz(bomb[: len(bomb) // 50]) for _ in range(50))]),
        # What swells in the middle counts, though it may be small in the end.
        ("gzip, identity", [lambda bomb: gz(gz(b"{}") + bomb)]),
    ],
)
def test_a_bomb_swells_at_no_stage_to_more_than_is_allowed(content_encoding: str, coders: list[Coder]) -> None:
    bomb = bytes(50 * MIB)
    for coder in coders:
        bomb = coder(bomb)

    with pytest.raises(BodyError, match="larger than NPI_MAX_BODY_BYTES"):
        decoded(bomb, content_encoding, MIB)


def test_a_body_as_large_as_allowed_is_taken() -> None:
    body = b"x" * MIB
    assert decoded(gz(gz(body)), "gzip, gzip", MIB) == body
    with pytest.raises(BodyError):
        decoded(gz(body + b"x"), "gzip", MIB)
